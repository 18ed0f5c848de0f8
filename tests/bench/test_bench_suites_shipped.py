"""The suites that ship: they load in each tier, say what may be set, and their smallest runs by papermill."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from scalelab.bench import load_suite
from scalelab.bench.parameters import check_parameters, read_parameters
from scalelab.bench.road import read_claims
from scalelab.core.paths import shipped
from scalelab.core.records import RecordStore

SUITES = sorted(shipped("benchmarks").glob("*.toml"))
NOTEBOOKS = sorted(shipped("benchmarks").glob("*.ipynb"))
TIERS = [(path, tier) for path in SUITES for tier in ("", *load_suite(path).tiers)]


def test_there_is_a_suite_for_each_subject():
    assert {path.stem for path in SUITES} >= {
        "road", "training", "runtimes", "ladder", "serving", "serving_levers", "data_engines", "cost"
    }  # fmt: skip


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_suite_has_a_size_for_ci_and_one_for_a_laptop(path):
    suite = load_suite(path)
    assert {"ci", "laptop"} <= set(suite.tiers)
    assert suite.name == path.stem


@pytest.mark.parametrize(("path", "tier"), TIERS, ids=lambda value: getattr(value, "stem", value) or "none")
def test_a_suite_loads_in_each_of_its_tiers_and_every_parameter_is_declared(path, tier):
    points = load_suite(path, tier=tier).points
    assert points
    for point in points:
        check_parameters(point.notebook, point.parameters)


def test_only_many_gpus_have_the_point_for_them():
    path = shipped("benchmarks") / "training.toml"
    gpus = [{p.name for p in load_suite(path, tier=t).points if p.parameters.get("device") == "cuda"}
            for t in ("ci", "laptop", "multi-gpu")]  # fmt: skip
    assert gpus == [set(), set(), {"gpus[processes=2]"}]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_parameter_has_a_type_a_default_and_a_meaning(path):
    declared = read_parameters(path)
    assert "record_path" in declared
    for parameter in declared.values():
        assert parameter.type_name in ("int", "float", "str", "bool"), parameter
        assert parameter.default, parameter
    silent = {name for name, parameter in declared.items() if not parameter.help}
    assert silent <= {"seed"}, "say what it means, and its unit"


def test_every_notebook_is_run_by_a_suite():
    used = {point.notebook.name for path, tier in TIERS for point in load_suite(path, tier=tier).points}
    assert used == {path.name for path in NOTEBOOKS}


def run_ci(name, folder, *, counted=("",)):
    """Run a suite as CI does; return its records by point, after a look at the claims that count something.

    Its wall time is printed, not judged: that belongs to a quiet machine, as do claims about times.
    """
    started_s = time.monotonic()
    command = [sys.executable, "-m", "scalelab", "bench", "run", str(shipped("benchmarks") / f"{name}.toml")]
    asked = [*command, "--tier", "ci", "--rounds", "1", "--out", str(folder)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stdout + done.stderr
    sys.stdout.write(f"{name}, tier ci: {time.monotonic() - started_s:.0f} s\n")
    records = RecordStore(folder / "records.jsonl").read()
    claims = [each for each in read_claims(records) if any(word in each["claim"] for word in counted)]
    assert len(claims) >= len(counted)
    assert [claim for claim in claims if claim["verdict"] != "PASS"] == []
    return {record.subject.partition("/")[2]: record for record in records}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_data_engines_answer_alike_and_one_that_needs_too_much_is_named(tmp_path):
    found = run_ci("data_engines", tmp_path)
    assert set(found) == {"small", "large", "limited"}
    for record in found.values():
        assert set(record.notes["absent"]) <= {"spark"}
    assert found["small"].metric("engines_within_limits").values[0] >= 4
    assert "memory" in found["limited"].notes["broke_a_limit"]["pandas"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_cost_names_the_source_and_date_of_its_price(tmp_path):
    found = run_ci("cost", tmp_path)
    assert set(found) == {"model", "fp32", "int8"}
    for name in ("fp32", "int8"):
        rows = found[name].notes["table"].splitlines()[2:]
        assert len(rows) > 5
        assert all("cloudprice" in row and "2026-" in row for row in rows)
        rate, inr = (found[name].metric(wanted).values for wanted in ("throughput", "inr_per_million"))
        per_hour = {cost * one * 3600 / 1e6 for cost, one in zip(inr, rate, strict=True)}
        assert max(per_hour) == pytest.approx(min(per_hour)), (
            "the cost is an hour's price over its predictions"
        )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_lever_of_the_service_is_pulled_and_no_request_is_lost(tmp_path):
    if sys.platform == "win32":
        pytest.skip("only on systems with a Valkey wheel")
    found = run_ci("serving_levers", tmp_path)
    changed = {name: record.parameters for name, record in found.items()}
    assert changed["naive"]["design"] == "naive"
    assert changed["window[window_s=0.01]"]["window_s"] == 0.01
    assert changed["workers[workers=2]"]["workers"] == 2
    assert changed["broker[broker=embedded:]"]["broker"] == "embedded:"
    assert "worker-2" in found["workers[workers=2]"].notes["memory_bytes"]
    assert "broker" in found["broker[broker=embedded:]"].notes["memory_bytes"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_ladder_makes_a_student_that_is_small_and_still_reads(tmp_path):
    found = run_ci("ladder", tmp_path, counted=("times smaller", "digit accuracy are lost"))
    assert set(found) == {"prototype", "ladder", "threshold"}
