import os
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from scalelab.core.errors import ConfigError, DataError
from scalelab.models import CharGpt
from scalelab.train.data_parallel import ShardedSampler
from scalelab.train.elastic.checkpoint import (
    Checkpoint,
    TornCheckpointWarning,
    checkpoint_path,
    drop_old_checkpoints,
    load_checkpoint,
    newest_checkpoint,
    restore,
    save_checkpoint,
)

SIZES = {"vocabulary": 11, "context": 8, "layers": 1, "heads": 2, "width": 16, "dropout": 0.1}
KIND = {"architecture": "a GPT", "config": SIZES}


class Training:
    """Model, optimizer, sampler and dropout's random state; each step depends on all of them."""

    def __init__(self):
        torch.manual_seed(0)
        self.model = CharGpt(**SIZES)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-2, betas=(0.8, 0.95))
        self.sampler = ShardedSampler(20, 3, rank=0, world_size=1)
        self.data = torch.randint(11, (20, 9), generator=torch.Generator().manual_seed(1))
        self.steps = 0

    def train(self, steps):
        while steps:
            for share in self.sampler:
                rows = self.data[share]
                loss = self.model(rows[:, :-1]).flatten(0, 1)
                torch.nn.functional.cross_entropy(loss, rows[:, 1:].flatten()).backward()
                self.optimizer.step()
                self.optimizer.zero_grad()
                self.steps, steps = self.steps + 1, steps - 1
                if not steps:
                    break
        return self

    def checkpoint(self):
        return Checkpoint(
            self.steps,
            **KIND,
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            sampler=self.sampler.state(),
            random_states=(torch.get_rng_state(),),
        )

    def weights(self):
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])


@pytest.fixture
def saved(tmp_path):
    return save_checkpoint(Training().train(2).checkpoint(), checkpoint_path(tmp_path, 2))


@pytest.mark.parametrize("stop", [1, 7, 10])
def test_a_training_that_goes_on_ends_bit_for_bit_where_the_whole_one_does(tmp_path, stop):
    wanted = Training().train(17).weights()
    save_checkpoint(Training().train(stop).checkpoint(), tmp_path / "c.safetensors")
    again = Training()
    torch.manual_seed(99)  # another process would have another state
    found = load_checkpoint(tmp_path / "c.safetensors", **KIND)
    restore(found, again.model, again.optimizer, again.sampler, rank=0)
    assert found.step == stop
    assert torch.equal(again.train(17 - stop).weights(), wanted)
    assert again.optimizer.param_groups[0]["lr"] == 1e-2


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_file_cut_short_is_called_torn(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match="is torn"):
        load_checkpoint(saved, **KIND)


def test_one_changed_bit_is_found(saved):
    content = bytearray(saved.read_bytes())
    content[-1000] ^= 1
    saved.write_bytes(content)
    with pytest.raises(
        DataError, match=r"is damaged: its content has sha256 [0-9a-f]{16}\.\.\., written was"
    ):
        load_checkpoint(saved, **KIND)


def test_a_changed_word_in_the_header_is_found(saved):
    saved.write_bytes(saved.read_bytes().replace(b'"step":"2"', b'"step":"3"'))
    with pytest.raises(DataError, match="is damaged"):
        load_checkpoint(saved, **KIND)


def test_another_model_is_refused_and_both_are_named(saved):
    before = saved.read_bytes()
    with pytest.raises(DataError, match=r"holds a GPT\(.*width=16.*expected a GPT\(.*width=32"):
        load_checkpoint(saved, architecture="a GPT", config={**SIZES, "width": 32})
    with pytest.raises(DataError, match=r"holds a GPT\(.*expected a reader\("):
        newest_checkpoint(saved.parent, architecture="a reader", config={})
    assert saved.read_bytes() == before


def test_a_file_of_something_else_is_refused(tmp_path):
    save_file({"x": torch.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(DataError, match=r"is of format None, expected 'scalelab\.checkpoint/1'"):
        load_checkpoint(tmp_path / "x.safetensors", **KIND)
    with pytest.raises(DataError, match="there is no checkpoint"):
        load_checkpoint(tmp_path / "none.safetensors", **KIND)


def test_the_newest_whole_checkpoint_is_taken_and_the_torn_one_is_said(tmp_path):
    training = Training()
    for step in (1, 2, 3):
        save_checkpoint(training.train(1).checkpoint(), checkpoint_path(tmp_path, step))
    assert newest_checkpoint(tmp_path, **KIND).step == 3
    checkpoint_path(tmp_path, 3).write_bytes(b"torn")
    with pytest.warns(TornCheckpointWarning, match="step_00000003.*is torn.*the one before it is taken"):
        assert newest_checkpoint(tmp_path, **KIND).step == 2


def test_a_folder_of_nothing_but_torn_checkpoints_is_no_fresh_start(tmp_path):
    assert newest_checkpoint(tmp_path, **KIND) is None
    checkpoint_path(tmp_path, 1).write_bytes(b"torn")
    with pytest.raises(DataError, match="is torn"):
        newest_checkpoint(tmp_path, **KIND)


def test_old_checkpoints_go_and_other_files_stay(tmp_path):
    for step in (1, 2, 10):
        checkpoint_path(tmp_path, step).touch()
    (tmp_path / "step_notes.safetensors").touch()
    drop_old_checkpoints(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step_00000002.safetensors",
        "step_00000010.safetensors",
        "step_notes.safetensors",
    ]


def test_a_failed_save_keeps_the_old_file_and_leaves_nothing_beside_it(saved, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    before = saved.read_bytes()
    monkeypatch.setattr("scalelab.models.checkpoint.os.fsync", refuse)
    with pytest.raises(DataError, match=r"cannot write .*: No space left on device"):
        save_checkpoint(Training().checkpoint(), saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_an_optimizer_over_other_parameters_is_refused(saved):
    training = Training()
    other = torch.optim.AdamW(list(training.model.parameters())[:3])
    with pytest.raises(DataError, match="checkpoint of step 2 does not fit"):
        restore(load_checkpoint(saved, **KIND), training.model, other, training.sampler, rank=0)


def test_a_sampler_over_other_data_is_refused(saved):
    training = Training()
    other = ShardedSampler(21, 3, rank=0, world_size=1)
    with pytest.raises(ConfigError, match="samples 20, not 21"):
        restore(load_checkpoint(saved, **KIND), training.model, training.optimizer, other, rank=0)


WRITER = """
import sys, torch
from scalelab.train.elastic.checkpoint import Checkpoint, save_checkpoint
step = 0
while True:
    step += 1
    model = {"w": torch.full((200_000,), float(step))}
    save_checkpoint(Checkpoint(step, "w", {}, model, {"state": {}, "param_groups": []}), sys.argv[1])
    print(step, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="only on systems with POSIX signals")
def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path):
    path = tmp_path / "c.safetensors"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(5):
            said = int(writer.stdout.readline())
    finally:  # it is at work on the next one
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    found = load_checkpoint(path, architecture="w", config={})
    assert found.step >= said
    assert (found.model["w"] == found.step).all()
    writer.stdout.close()
