"""Lab 12: its meanings and rules, its broken worker, and the measurement at its smallest."""

from __future__ import annotations

import importlib.util

import pytest
from labs_trials import LabUnderTest

pytest.importorskip("jupytext")
LAB = LabUnderTest("12")


def test_every_meaning_belongs_to_a_wrong_answer():
    meanings = LAB.checks["desk"].judge.__globals__["MEANINGS"]
    tried = {code for _, code in LAB.wrong}
    assert meanings
    assert set(meanings) - tried == set(), "a message that no trial answer shows"


def test_every_rule_has_a_meaning_and_a_wrong_answer():
    tables = LAB.checks["image"].judge.__globals__["RULES"].tables
    tried = {code for task, code in LAB.wrong if task == "image"}
    codes = {code for table in tables.values() for code in table}
    assert len(codes) > 20
    assert codes == tried


def test_the_colleagues_image_breaks_many_rules(given):
    from scalelab.grading.documents import instructions
    from scalelab.grading.expectations import ExpectationFailed

    rules = LAB.checks["image"].judge.__globals__["RULES"]
    lines = instructions(given.FIRST_IMAGE)
    broken = set()
    for code, rule in list(rules.tables["dockerfile"].items()):
        rules.tables["one"] = {code: rule}
        try:
            rules.check("one", lines)
        except ExpectationFailed as failed:
            broken.add(failed.code)
    rules.tables.pop("one")
    assert broken >= {"base-floats", "secret-inside", "carries-torch", "shell-form", "builds-all-again"}
    assert broken >= {"pins-missing", "keeps-the-cache", "runs-as-root", "no-health"}


def test_the_broken_worker_loses_answers_and_the_mended_one_does_not(given):
    assert given.survives_any_kill(given.worker_step)
    assert not given.survives_any_kill(given.common_step)


def test_the_small_broker_kills_where_it_is_told(given):
    broker = given.SmallBroker({"a": b"1"}, kill_at=1)
    with pytest.raises(given.Killed):
        given.worker_step(broker, given.read_lengths)
    assert broker.events == ["take"]
    given.worker_step(broker, given.read_lengths)
    assert broker.answers == {"a": 1}
    assert broker.acknowledged == ["a"]


def test_the_share_answered_counts_against_what_was_offered(given):
    from types import SimpleNamespace

    latency = SimpleNamespace(buckets=((0.01, 3), (0.5, 2), (4.0, 1)))
    burst = SimpleNamespace(latency=latency, offered=10)
    assert [given.answered_by(burst, seconds) for seconds in (0.001, 0.01, 1, 9)] == [0, 0.3, 0.5, 0.6]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_what_was_accepted_is_answered_though_the_worker_was_killed(names):
    """Counts alone: how many the naive app answers in time is a matter of the machine."""
    for package in ("onnxscript", "plotly", "uvicorn"):
        pytest.importorskip(package)
    if not importlib.util.find_spec("locust"):  # importing it would patch this process
        pytest.skip("locust is not installed")
    LAB.run_cell("def closed_rate", names)
    LAB.run_cell("def run_bursts", names)
    names["BURST_S"], names["FACTOR"], names["PATIENCE_S"] = 2.0, 1.5, 5.0
    with names["folder"]:
        found = names["run_bursts"]()
    decoupled = names["bursts"]["decoupled"]
    assert decoupled.accepted > 50
    assert (decoupled.answered, decoupled.lost) == (decoupled.accepted, 0)
    assert found.verdict.value in {"PASS", "INCONCLUSIVE"}
    assert "workers killed: 1" in found.detail
    assert found.alt


def test_the_readme_has_the_install_line_and_the_measured_margin():
    text = (LAB.folders.lab / "README.md").read_text(encoding="utf-8")
    assert "colab-badge.svg" in text
    assert 'pip install "scalelab[lab,serve,load]"' in text
    assert "answered" in text
