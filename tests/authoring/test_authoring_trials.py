"""How answers are tried: what runs before them, and what is left behind. Runs our own answers, in process."""

from __future__ import annotations

import pytest

from scalelab.authoring.trials import SEEDS, run_trials

BUILD = "# %% [markdown]\n# ## Build\n"


def ended(trials, kind, label=""):
    return {
        (trial.check, trial.outcome, trial.code)
        for trial in trials
        if trial.kind == kind and trial.label == label
    }


def test_every_kind_of_answer_ends_as_it_must(lab):
    trials = run_trials(lab)
    both = ("rate", "rate-is-additive")
    assert ended(trials, "unsolved") == {(check, "not attempted", "") for check in both}
    assert ended(trials, "solved") == {(check, "passed", "") for check in both}
    for label in ("1", "2"):
        assert ended(trials, "right", label) == {(check, "passed", "") for check in both}
    assert ("rate", "failed", "inverted") in ended(trials, "wrong", "inverted")
    assert {outcome for _, outcome, _ in ended(trials, "crashing")} == {"crashed"}


def test_each_answer_meets_several_inputs(lab):
    trials = run_trials(lab)
    assert {trial.seed for trial in trials if trial.kind == "wrong"} == set(SEEDS)


def test_definitions_of_plain_cells_are_there_but_nothing_is_computed(lab, change):
    change(
        "source.py",
        BUILD,
        "# %%\nUNIT = 1\nt = open('x', 'w')\nrow = [t]\ndef scale(n): return n * UNIT\n\n" + BUILD,
    )
    change("source.py", "answered = sum(counts)", "answered = scale(sum(counts))")
    trials = run_trials(lab)
    assert {outcome for _, outcome, _ in ended(trials, "solved")} == {"passed"}
    assert all(trial.message == "" for trial in trials if trial.kind == "solved")


def test_what_an_answer_needs_else_is_in_its_context(lab, change):
    change("answers.py", "    return sum(seconds) / sum(counts)", "    return bottom_up(counts, seconds)")
    before = '"""def bottom_up(counts, seconds): return sum(seconds) / sum(counts)"""'
    change("answers.py", '        crashing="""', f'        context={before},\n        crashing="""')
    assert ("rate", "failed", "inverted") in ended(run_trials(lab), "wrong", "inverted")


def test_a_crash_where_the_answer_stands_is_a_crash(lab, change):
    change("answers.py", "    return counts / seconds", "    return 1\nraise ValueError('now')")
    trials = [trial for trial in run_trials(lab) if trial.kind == "crashing"]
    assert {trial.outcome for trial in trials} == {"crashed"}
    assert all("ValueError: now" in trial.message for trial in trials)


@pytest.mark.parametrize("code", ["raise SystemExit", "exit()"])
def test_an_answer_that_exits_does_not_end_the_trials(lab, change, code):
    change("answers.py", "    return sum(seconds) / sum(counts)", f"    {code}")
    trials = run_trials(lab)
    assert ("rate", "crashed", "called-exit") in ended(trials, "wrong", "inverted")
    assert any(trial.kind == "crashing" for trial in trials)


def test_an_endless_answer_is_stopped(lab, change):
    change("checks.py", "    points=2,", "    points=2,\n    limit_s=0.1,")
    change("hidden_checks.py", "    points=1,", "    points=1,\n    limit_s=0.1,")
    change("answers.py", "    return sum(seconds) / sum(counts)", "    while True: pass")
    assert ("rate", "crashed", "over-limit") in ended(run_trials(lab), "wrong", "inverted")
