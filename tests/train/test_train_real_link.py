"""A cable between two network namespaces."""

import subprocess
import sys

import pytest

from scalelab.core.errors import ConfigError, MissingDependency, ResourceError, RunFailed
from scalelab.train.data_parallel import cable
from scalelab.train.data_parallel.real_link import EACH, RARE, RealLinkConfig, compare_over_real_link

TINY = {"batch_size": 8, "accumulate": 4, "turns": 2, "width": 64}


@pytest.fixture
def can_lay():
    """Skip where no cable can be laid; a program that is missing is a failure of the set-up."""
    try:
        cable.need_cable()
    except ResourceError as error:
        pytest.skip(f"only on systems where a process may have a network of its own: {error.message}")


def cables():
    """What this machine's own namespace has of ours."""
    shown = subprocess.run(["ip", "-o", "link"], env={"PATH": cable._PATH}, capture_output=True, text=True)
    return [line for line in shown.stdout.splitlines() if f" {cable.DEVICE}@" in line]


@pytest.mark.slow
def test_no_sync_sends_exactly_its_share_and_both_ways_end_with_the_same_weights(can_lay):
    report = compare_over_real_link(RealLinkConfig(bytes_per_s=12.5e6, **TINY))
    handed = {row.way: row.handed_bytes for row in report.rows}
    wire = {row.way: row.wire_bytes for row in report.rows}
    assert handed[EACH] == report.gradient_bytes
    assert report.handed_share == 1 / 4
    # two ranks send their gradients once; on top of them come headers and acknowledgements
    assert report.gradient_bytes <= wire[EACH] < 1.1 * report.gradient_bytes
    assert wire[RARE] < 0.3 * wire[EACH]
    assert 0 < report.difference < 1e-3
    assert report.label == "real link: two network namespaces, a cable of 100 Mbit/s"
    assert cables() == []


@pytest.mark.slow
def test_the_cable_lets_no_more_through_than_it_was_told(can_lay):
    slow = compare_over_real_link(RealLinkConfig(bytes_per_s=2.5e6, **TINY))
    assert slow.cable_bytes_per_s < 1.1 * 2.5e6


@pytest.mark.slow
def test_an_error_of_a_rank_comes_back_and_nothing_is_left(can_lay):
    with pytest.raises(RunFailed, match="rank 1: the loss became nan") as caught:
        cable.run_over_cable("rank_programs:fail_on_one", {"number": 1}, bytes_per_s=125e6, timeout_s=120)
    assert caught.value.hint == "lower the learning rate"
    assert cables() == []


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_sent_to_the_injected_link(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(ResourceError, match=f"needs Linux, this is {platform}") as caught:
        cable.need_cable()
    assert "scalelab train link" in caught.value.hint


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")
def test_a_missing_program_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(cable, "_PATH", "/nowhere")
    with pytest.raises(MissingDependency, match="'ip' is not installed") as caught:
        cable.need_cable()
    assert "apt-get install iproute2" in caught.value.hint
    assert "scalelab train link" in caught.value.hint


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")
def test_a_machine_that_refuses_says_what_to_do_instead(monkeypatch):
    monkeypatch.setattr(cable.shutil, "which", lambda program, path: program)
    refusal = subprocess.CompletedProcess([], 1, "", "unshare: unshare failed: Operation not permitted\n")
    monkeypatch.setattr(cable.subprocess, "run", lambda *_, **__: refusal)
    with pytest.raises(ResourceError, match=r"refuses a network of our own: .*not permitted") as caught:
        cable.need_cable()
    assert "scalelab train link" in caught.value.hint


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"turns": 0}, "turns is 0"),
        ({"accumulate": 0}, "accumulate is 0"),
        ({"batch_size": 7}, "batch of 7 cannot be shared"),
        ({"bytes_per_s": 0.0}, "a cable of 0.0"),
        ({"bytes_per_s": float("nan")}, "a cable of nan"),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(wrong, says):
    with pytest.raises(ConfigError, match=says):
        RealLinkConfig(**{**TINY, **wrong})
