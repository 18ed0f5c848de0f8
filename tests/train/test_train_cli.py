"""What the subcommands that start ranks say and keep; the ranks themselves are tested beside."""

import pytest
from click.testing import CliRunner

from scalelab.cli import main
from scalelab.core.records import RecordStore
from scalelab.core.stats import Verdict, paired_ratio
from scalelab.train.frameworks import FrameworksReport, Overhead
from scalelab.train.parallel.peak import PeakReport, PeakRow

SLOWER = paired_ratio([1.01, 1.02, 1.03], [1.0, 1.0, 1.0])


def run(*words):
    return CliRunner().invoke(main, ["train", *words])


@pytest.fixture
def fake_overhead(monkeypatch):
    """Take no step; what was asked for comes back as found."""
    asked = []

    def compare(config, **_):
        asked.append(config)
        rows = [Overhead(way, "raw DDP", SLOWER, 0.0, Verdict.INCONCLUSIVE) for way in config.ways]
        return FrameworksReport({}, tuple(rows), 1.0)

    monkeypatch.setattr("scalelab.train.frameworks.compare.compare_frameworks", compare)
    return asked


def test_a_ratio_is_shown_with_its_interval_and_kept_pair_by_pair(fake_overhead, tmp_path):
    done = run("overhead", "--blocks", "3", "--record", str(tmp_path / "r.jsonl"))
    assert done.exit_code == 0, done.output
    assert "1.02 [1.01, 1.03] times (n=3) as long as raw DDP" in done.output
    (record,) = RecordStore(tmp_path / "r.jsonl").read()
    assert record.subject == "train/overhead"
    assert record.parameters["blocks"] == 3
    assert record.metric("our buckets, time").values == (1.01, 1.02, 1.03)


def test_a_framework_that_is_not_installed_is_said_and_left_out(fake_overhead, monkeypatch):
    monkeypatch.setattr(
        "scalelab.train.frameworks.compare.is_installed", lambda module: module != "deepspeed"
    )
    done = run("overhead", "--frameworks")
    assert done.exit_code == 0, done.output
    assert "Lightning" in fake_overhead[0].ways
    assert "DeepSpeed" not in fake_overhead[0].ways
    assert "DeepSpeed      is not installed, so not compared: DS_BUILD_OPS=0 pip install" in done.output


def test_without_the_flag_only_our_own_loops_are_compared(fake_overhead):
    assert "installed" not in run("overhead").output
    assert fake_overhead[0].ways == ("ours alone", "ours over DDP", "our buckets")


def test_both_peaks_are_shown_and_kept(monkeypatch, tmp_path):
    rows = (PeakRow("DDP", 400, 1000, 500, 2.0), PeakRow("FSDP2", 200, 1000, 300, 2.0))
    monkeypatch.setattr(
        "scalelab.train.parallel.peak.compare_peaks", lambda config: PeakReport(rows, 0.5, 0.6, 0.0)
    )
    done = run("peak", "--record", str(tmp_path / "r.jsonl"))
    assert "FSDP2 holds 0.5000 of DDP's state, and 0.600 of its peak" in done.output
    (record,) = RecordStore(tmp_path / "r.jsonl").read()
    assert (record.metric("FSDP2, peak").values, record.metric("DDP, state").values) == ((300,), (400,))


def test_a_machine_other_than_the_first_says_where_the_numbers_are(monkeypatch):
    asked = {}
    monkeypatch.setattr("scalelab.train.ddp.run_ddp", lambda config, **more: asked.update(more))
    done = run("ddp", "--machines", "2", "--machine", "1", "--rendezvous", "10.0.0.1:29500")
    assert "machine 1 of 2 is done; machine 0 shows the numbers" in done.output
    assert (asked["machines"].number, asked["device"]) == (1, "auto")


def test_a_machines_number_without_machines_is_refused():
    done = run("ddp", "--rendezvous", "10.0.0.1:29500")
    assert done.exit_code == 2
    assert "--machine and --rendezvous are for several machines" in done.output
