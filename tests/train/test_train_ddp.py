import json
import os
import signal
import sys

import pytest

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.core.processes import is_alive
from scalelab.train import DdpConfig, run_ddp
from scalelab.train.launch import progress_path

TINY = {"batch_size": 8, "steps": 4, "width": 8, "accumulate": 2, "timeout_s": 120.0}
posix = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")


@pytest.fixture(scope="module")
def report():
    return run_ddp(DdpConfig(**TINY))


@pytest.mark.slow
def test_all_ranks_end_with_the_same_parameters(report):
    assert report.world_size == len(report.checksums) == 2
    assert report.same_parameters
    assert len(set(report.checksums)) == 1


@pytest.mark.slow
def test_the_averaged_gradient_is_that_of_the_whole_batch(report):
    assert 0 < report.gradient_error < 1e-5


@pytest.mark.slow
def test_every_byte_that_is_exchanged_is_accounted_for(report):
    alone, ddp, no_sync = report.rows
    assert report.bytes_per_step == report.expected_bytes_per_step == 4 * report.parameters
    assert ddp.bytes_per_step == report.bytes_per_step
    assert alone.bytes_per_step == 0
    assert no_sync.bytes_per_step == ddp.bytes_per_step / 2


@pytest.mark.slow
def test_each_way_is_timed_in_every_round(report):
    assert report.steps == 4
    assert len(report.ratios) == len(report.ratios_no_sync) == 2
    assert all(row.images_per_s > 0 for row in report.rows)


@pytest.mark.slow
@posix
@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ("SIGKILL", r"rank 1 was killed by signal SIGKILL at step \d+"),
        ("SIGSTOP", r"rank 1 hangs at step \d+: it stands still"),
    ],
)
def test_a_rank_that_dies_or_hangs_is_named_and_nothing_is_left_running(tmp_path, sent, says):
    pids = set()

    def strike():
        for rank in (0, 1):
            path = progress_path(tmp_path, rank)
            if not path.exists():
                return
            progress = json.loads(path.read_text())
            pids.add(progress["pid"])
            if rank == 1 and progress["step"] > 0 and len(pids) == 2 and not struck:
                struck.append(progress["pid"])
                os.kill(progress["pid"], getattr(signal, sent))

    struck = []
    config = DdpConfig(**{**TINY, "steps": 1_000_000, "stall_s": 8.0})
    with pytest.raises(RunFailed, match=says):
        run_ddp(config, folder=tmp_path, on_poll=strike)
    assert len(pids) == 2
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.slow
def test_an_error_in_a_rank_comes_back_with_its_words(monkeypatch, tmp_path):
    monkeypatch.setenv("SCALELAB_DATASETS", str(tmp_path))
    with pytest.raises(RunFailed, match=r"rank [01]: .*manifest.toml is missing"):
        run_ddp(DdpConfig(**TINY))


def test_a_batch_that_cannot_be_shared_equally_is_refused():
    with pytest.raises(ConfigError, match="batch of 7 cannot be shared equally by 2") as caught:
        DdpConfig(batch_size=7)
    assert "multiple of 2" in caught.value.hint


@pytest.mark.parametrize("wrong", [{"processes": 1}, {"steps": 0}, {"width": -1}, {"accumulate": 0}], ids=str)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError, match=str(next(iter(wrong.values())))):
        DdpConfig(**wrong)
