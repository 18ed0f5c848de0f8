"""A bundle's points run again: what holds here, what does not, what could not be told, what is not run."""

import re

import pytest
from click.testing import CliRunner

from scalelab.bench.replay import judge_replay, replay
from scalelab.bench.replay_plan import plan_replay
from scalelab.bench.results import Results
from scalelab.bench.sealed import seal, unseal
from scalelab.cli import main
from scalelab.core.errors import ConfigError, DataError
from scalelab.core.machine import fingerprint
from scalelab.core.records import RunRecord, metric
from scalelab.core.stats import Verdict

HERE = fingerprint()


def results(*, speed=1.0, rounds=6, verdicts=("PASS",), machine=HERE, reference_s=0.3, noise=0.0):
    """Give rounds of one point: a rate, and a claim for each verdict."""
    claims = [{"claim": f"claim {i}", "verdict": v, "detail": ""} for i, v in enumerate(verdicts)]
    rates = [100.0 * speed * (1 + noise * (-1) ** number) for number in range(rounds)]
    records = [
        RunRecord(
            "s/p", {}, (metric("throughput", "1/s", rate),), {"claims": claims}, machine=machine, git="",
            reference_s=(reference_s,), run={"key": "k", "round": number, "reference": "reference-1"},
        )
        for number, rate in enumerate(rates)
    ]  # fmt: skip
    return Results(None, tuple(records))


def verdict(there, here, **settings):
    return judge_replay(there, here, **settings).verdict


def test_what_comes_out_alike_holds():
    assert verdict(results(), results(speed=0.95)) is Verdict.PASS
    assert verdict(results(), results(speed=2.0)) is Verdict.PASS, "better is no broken promise"


def test_a_headline_number_that_is_worse_in_every_round_does_not_hold():
    assert verdict(results(), results(speed=0.8)) is Verdict.FAIL
    assert verdict(results(), results(speed=0.8), within=0.25) is Verdict.PASS


def test_a_number_that_scatters_over_the_limit_could_not_be_told():
    assert verdict(results(), results(speed=0.9, noise=0.2)) is Verdict.INCONCLUSIVE


def test_on_another_machine_numbers_are_multiples_of_the_reference():
    slow = HERE | {"cpu": "another"}
    there = results(verdicts=())
    assert verdict(there, results(speed=0.5, machine=slow, reference_s=0.6, verdicts=())) is Verdict.PASS
    assert verdict(there, results(speed=0.5, machine=slow, reference_s=0.3, verdicts=())) is Verdict.FAIL


def test_numbers_of_few_rounds_have_no_vote_and_it_is_said():
    found = judge_replay(results(rounds=1), results(rounds=1, speed=0.1))
    assert found.verdict is Verdict.PASS, "by its claim"
    assert "1 of 1 headline numbers have no vote" in found.notes[0]
    assert [(row.metric, vote) for row, vote in found.numbers] == [("throughput", None)]
    assert verdict(results(rounds=1, verdicts=()), results(rounds=1, verdicts=())) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(("there", "here", "wanted"), [
    ("PASS", "PASS", "PASS"), ("PASS", "FAIL", "FAIL"), ("PASS", "INCONCLUSIVE", "INCONCLUSIVE"),
    ("FAIL", "PASS", "INCONCLUSIVE"), ("INCONCLUSIVE", "FAIL", "INCONCLUSIVE"),
])  # fmt: skip
def test_a_claim_that_passed_there_must_pass_here_and_no_other_promises_anything(there, here, wanted):
    found = judge_replay(results(rounds=1, verdicts=[there]), results(rounds=1, verdicts=[here]))
    assert found.verdict.value == wanted
    assert [(claim.there.value, claim.here.value) for claim in found.claims] == [(there, here)]


def test_a_claim_that_is_not_made_here_could_not_be_told():
    found = judge_replay(results(rounds=1, verdicts=["PASS", "PASS"]), results(rounds=1, verdicts=["PASS"]))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.claims[1].detail == "not judged here"


def test_rounds_that_disagree_on_a_claim_could_not_tell():
    passed, failed = results(rounds=1), results(rounds=2, verdicts=["FAIL"])
    mixed = Results(None, (*passed.records, failed.records[1]))
    found = judge_replay(passed, mixed)
    assert found.claims[0].here is Verdict.INCONCLUSIVE
    assert found.claims[0].detail.startswith("1 of 2 rounds pass")


def test_a_point_that_fails_here_could_not_be_told():
    failed = RunRecord("s/p", {}, (), {"error": "no room"}, status="failed")
    found = judge_replay(results(), Results(None, (failed,)))
    assert (found.verdict, found.comparison) == (Verdict.INCONCLUSIVE, None)
    assert found.notes == ("s/p failed here: no room",)


@pytest.mark.slow
def test_a_sample_is_drawn_by_seed_with_what_it_needs(small_bundle, tmp_path):
    plans = [plan_replay(small_bundle, sample=1, seed=seed, folder=tmp_path) for seed in range(10)]
    drawn = {plan.sampled for plan in plans}
    assert drawn == {("small/make",), ("small/use[x=2]",), ("small/use[x=3]",)}
    assert plan_replay(small_bundle, sample=1, seed=3, folder=tmp_path).sampled == plans[3].sampled
    last = next(plan for plan in plans if plan.sampled == ("small/use[x=3]",))
    assert [point.name for point in last.suite.points] == ["make", "use[x=3]"]
    everything = plan_replay(small_bundle, sample=9, seed=0, folder=tmp_path)
    assert len(everything.sampled) == 3
    with pytest.raises(ConfigError, match="a sample of 0 points"):
        plan_replay(small_bundle, sample=0, seed=0, folder=tmp_path)


def run(path, folder, *words):
    return CliRunner().invoke(
        main, ["bench", "replay", str(path), "--out", str(folder), "--sample", "9", *words]
    )


@pytest.mark.slow
def test_foreign_programs_are_shown_and_not_run(small_bundle, tmp_path, watcher):
    done = run(small_bundle, tmp_path / "out")
    assert done.exit_code == 2
    assert "nothing was run: suite.toml, arithmetic.py, n.ipynb in small.bench.zip do not ship" in done.output
    assert 'use[x=2]: n.ipynb, 1 x at most 200 s, {"x": 2}' in done.output
    assert f"read them in {tmp_path / 'out' / 'sources'}" in done.output
    assert not (tmp_path / "out" / "results").exists()
    source = tmp_path / "out" / "sources" / "n.ipynb"
    assert source.read_bytes() == unseal(small_bundle).members["sources/n.ipynb"]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_real_bundle_holds_here_and_a_second_replay_keeps_what_is_done(small_bundle, tmp_path, watcher):
    done = run(small_bundle, tmp_path / "out", "--trust")
    assert done.exit_code == 0, done.output
    assert "It holds here." in done.output
    again = replay(small_bundle, sample=9, folder=tmp_path / "out", watcher=watcher, trust=True)
    assert set(watcher.ended_as.values()) == {"kept"}
    assert again.verdict is Verdict.PASS
    told = {(claim.subject, claim.text): (claim.there.value, claim.here.value) for claim in again.claims}
    assert told["small/use[x=2]", "it is fast"] == ("PASS", "PASS")
    assert told["small/use[x=2]", "x is large"] == ("FAIL", "FAIL")
    assert len(told) == 9


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_real_bundle_does_not_hold_where_the_program_is_slow(small_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("SMALL_SUITE_SPEED", "0.5")
    done = run(small_bundle, tmp_path / "out", "--trust", "--sample", "1")
    assert done.exit_code == 1, done.output
    assert "It does not hold here." in done.output
    assert re.search(r"it is fast +PASS +FAIL +speed 0.5", done.output), done.output


@pytest.fixture
def as_shipped(small_results, monkeypatch):
    """Let the small suite be among those that ship."""
    monkeypatch.setenv("SCALELAB_BENCHMARKS", str(small_results.parent / "suite"))


@pytest.mark.slow
def test_what_ships_with_this_version_runs_where_it_lies(small_bundle, small_results, tmp_path, as_shipped):
    plan = plan_replay(small_bundle, sample=1, seed=0, folder=tmp_path)
    assert plan.foreign == ()
    assert plan.suite.path == small_results.parent / "suite" / "small.toml"
    assert not (tmp_path / "sources").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["suite.toml", "sources/arithmetic.py", "sources/n.ipynb", "sources/numpy.py"]
)
def test_one_byte_or_module_more_makes_it_foreign(bundle, tmp_path, as_shipped, name):
    members = dict(unseal(bundle).members)
    members[name] = members.get(name, b"") + b"\n"
    plan = plan_replay(seal(members, bundle), sample=1, seed=0, folder=tmp_path / "out")
    assert plan.foreign == (name.removeprefix("sources/"),)
    assert plan.suite.path == tmp_path / "out" / "sources" / "suite.toml"


@pytest.mark.slow
@pytest.mark.parametrize(("old", "new", "why"), [
    (b'notebook = "n.ipynb"', b'notebook = "../../etc/n.ipynb"', "lacks the notebook '../../etc/n.ipynb'"),
    (b"x = [1, 2, 3]", b"x = [%s]" % b",".join([b"1"] * 100_001), "more than 100000 runs"),
    (b'name = "make"', b'name = "make"\nrounds = 1000000000', "more than 100000 runs"),
    (b'title = "A small suite"', b'pair = [{rounds = 999999}]', "more than 100000 runs"),
    (b"[[point]]", b"[[point", "is not TOML"),
], ids=["notebook outside", "matrix", "rounds", "pair", "no TOML"])  # fmt: skip
def test_a_strangers_suite_that_is_trouble_is_refused(bundle, tmp_path, old, new, why):
    members = dict(unseal(bundle).members)
    assert old in members["suite.toml"]
    members["suite.toml"] = members["suite.toml"].replace(old, new, 1)
    with pytest.raises(DataError, match=why):
        plan_replay(seal(members, bundle), sample=1, seed=0, folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_folder_of_something_else_is_not_touched(small_bundle, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds something else"):
        plan_replay(small_bundle, sample=1, seed=0, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
def test_a_changed_bundle_is_not_replayed(bundle, tmp_path):
    bundle.write_bytes(bundle.read_bytes().replace(b"def double", b"def dOuble", 1))
    done = run(bundle, tmp_path / "out", "--trust")
    assert done.exit_code == 2
    assert "has changed since it was packed: sources/arithmetic.py" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_bundle_without_a_suite_has_nothing_to_run(bundle, tmp_path):
    members = dict(unseal(bundle).members)
    del members["suite.toml"]
    with pytest.raises(ConfigError, match="has no suite: nothing can be replayed"):
        plan_replay(seal(members, bundle), sample=1, seed=0, folder=tmp_path / "out")


@pytest.mark.slow
def test_colours_in_a_strangers_texts_do_not_reach_the_terminal(bundle, tmp_path):
    members = dict(unseal(bundle).members)
    members["suite.toml"] = members["suite.toml"].replace(b"timeout_s = 200", b'title = "\\u001b[31mred"', 1)
    done = run(seal(members, bundle), tmp_path / "out")
    assert done.exit_code == 2
    assert "[31mred: n.ipynb" in done.output
    assert "\x1b" not in done.output
