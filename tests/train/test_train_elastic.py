import sys

import pytest

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.models import CharGpt
from scalelab.models.gpt import ARCHITECTURE
from scalelab.train.elastic.checkpoint import Checkpoint, checkpoint_path, save_checkpoint
from scalelab.train.elastic.run import ElasticConfig, run_elastic

# 31 steps an epoch, shares of 2 and 3 windows: killed in the middle of the first epoch, ended in the second
TINY = {
    "batch_size": 5,
    "steps": 36,
    "save_every": 4,
    "characters": 2_500,
    "context": 16,
    "layers": 1,
    "heads": 2,
    "width": 16,
}
posix = pytest.mark.skipif(sys.platform == "win32", reason="only on systems with POSIX signals")


@pytest.mark.slow
@posix
def test_a_training_whose_rank_is_killed_ends_bit_for_bit_like_an_undisturbed_one(tmp_path):
    config = ElasticConfig(**TINY)
    whole = run_elastic(config, tmp_path / "whole")
    killed = run_elastic(config, tmp_path / "killed", function="rank_programs:train_and_die", max_restarts=1)
    assert (whole.restarts, whole.resumed_from, len(whole.losses)) == (0, 0, 36)
    assert (killed.restarts, killed.resumed_from, len(killed.losses)) == (1, 20, 16)
    assert len({*whole.checksums, *killed.checksums}) == 1
    assert killed.losses == whole.losses[20:]
    assert whole.losses[-1] < whole.losses[0]
    assert checkpoint_path(tmp_path / "killed", 36).exists()


@pytest.mark.slow
def test_a_loss_that_is_no_number_is_said_with_rank_and_step(tmp_path):
    config = ElasticConfig(**{**TINY, "learning_rate": 1e30})
    with pytest.raises(RunFailed, match=r"rank [01]: step \d+: the loss became nan") as caught:
        run_elastic(config, tmp_path, max_restarts=0)
    assert "learning rate" in caught.value.hint
    assert not list(tmp_path.glob("step_*"))  # nothing spoiled was saved


@pytest.mark.slow
def test_a_folder_of_another_model_is_refused_and_left_as_it_is(tmp_path):
    other = CharGpt(context=16, layers=1, heads=2, width=32)
    state = {"state": {}, "param_groups": []}
    path = checkpoint_path(tmp_path, 1)
    save_checkpoint(Checkpoint(1, ARCHITECTURE, other.config, other.state_dict(), state), path)
    before = path.read_bytes()
    with pytest.raises(RunFailed, match=r"rank [01]: .*holds .*width=32.*expected .*width=16"):
        run_elastic(ElasticConfig(**TINY), tmp_path, max_restarts=0)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_batch_smaller_than_the_group_is_refused():
    with pytest.raises(ConfigError, match="batch of 3 windows leaves 1 of 4 ranks without work") as caught:
        ElasticConfig(world_size=4, batch_size=3)
    assert "at least 4" in caught.value.hint


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"save_every": 0}, {"world_size": 0}, {"learning_rate": 0.0}], ids=str
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError, match=str(next(iter(wrong.values())))):
        ElasticConfig(**wrong)
