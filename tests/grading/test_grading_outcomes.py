"""Whatever an answer does, the check's result is an outcome and a sentence that a learner can act on."""

from __future__ import annotations

import logging
import sys
import threading
import types
from dataclasses import replace

import pytest

from scalelab.core.errors import LabFileError
from scalelab.grading import Answers, Outcome, attempt, check, expect, expect_close, inconclusive, run_check
from scalelab.grading.expectations import GENERAL


@check("weights", points=2, hints=("first hint", "second hint", "third hint"))
def weights_follow_tokens(answers: Answers) -> None:
    """Weigh every micro-batch by its share of the tokens."""
    counts = answers.rng.integers(5, 40, 3).tolist()
    counts[0] = 50
    weights = answers["weights"](counts)
    expect(len(weights) == 3, f"got {len(weights)} weights for 3 micro-batches", code="wrong-length")
    expect_close(
        weights, [n / sum(counts) for n in counts], what="weights", code="equal-shares", meaning="mean"
    )


short = replace(weights_follow_tokens, limit_s=0.02)
RIGHT = (
    "def weights(counts): return [n / sum(counts) for n in counts]",
    "import numpy as np\nweights = lambda counts: np.array(counts) / np.sum(counts)",
    "class weights(list):\n    def __init__(self, counts): super().__init__(n / sum(counts) for n in counts)",
)
NOT_ATTEMPTED = {
    "": "there is no `weights` yet: run the cell that defines it",
    "weight = 3": "(did you mean `weight`?)",
    "def wieghts(counts): pass": "(did you mean `wieghts`?)",
    "weights = ...": "`weights` is still `...`",
    "def weights(counts): raise NotImplementedError": "`weights` is still the stub",
    "def inner(): raise NotImplementedError\ndef weights(n): return inner()": "`inner` is still the stub",
}
FAILED = {
    "def weights(counts): return [1 / 3] * 3": ("equal-shares", "weights[0] is 0.333333, wanted 0."),
    "def weights(counts): return [0.5, 0.5]": ("wrong-length", "got 2 weights for 3 micro-batches"),
    "def weights(counts): pass": ("returned-none", "`weights` returned None"),
    "def weights(counts): yield 1": ("returned-generator", "`weights` returned a generator"),
    "def weights(counts): return [float('nan')] * 3": ("not-a-number", "weights[0] is NaN, wanted 0."),
    "def weights(counts): return 'abc'": ("wrong-type", "weights is 'abc' (str), wanted numbers"),
    "def weights(counts): return [[1, 2], [3], [4]]": ("wrong-type", "rows of different lengths"),
    "def weights(counts): return [1, None, 2]": ("returned-none", "weights[1] is None"),
    "weights = 7": ("unusable", "`weights` is 7 (int): the check cannot use that"),
}
CRASHED = {
    "def weights(counts):\n    return counts[9]": ("crashed", "line 2 of `weights`: `return counts[9]`"),
    "def weights(): pass": ("wrong-arguments", "`weights()` cannot be called with 1 value"),
    "def weights(a, b): pass": ("wrong-arguments", "missing a required argument: 'b'"),
    "def weights(n):\n    while True: pass": ("over-limit", "stopped after 300 ms", "line 2 of `weights`"),
    "import time\ndef weights(counts): time.sleep(60)": ("over-limit", "stopped after 300 ms"),
    "def weights(counts):\n    try:\n        while True: 0\n    except: pass": ("over-limit", "stopped"),
    "import sys\ndef weights(counts): sys.exit(0)": ("called-exit", "your code called exit"),
    "def weights(counts): return weights(counts)": ("endless-recursion", "calls itself without end"),
    "def weights(counts): raise MemoryError": ("crashed", "MemoryError"),
    "def weights(counts): return (1 / 0 for _ in counts).__next__()": ("crashed", "ZeroDivisionError"),
    "class weights:\n    def __init__(self, n): 0\n    def __len__(self): {}[1]": ("crashed", "KeyError"),
    "import numpy as np\ndef weights(n): return np.eye(3) @ np.eye(4)": ("crashed", "line 2 of `weights`"),
}  # fmt: skip


@pytest.mark.parametrize("source", RIGHT)
def test_a_right_answer_of_any_style_earns_all_points(source):
    result = attempt(weights_follow_tokens, source)
    assert (result.outcome, result.points, repr(result)) == (Outcome.PASSED, 2, "2"), str(result)


@pytest.mark.parametrize("source", NOT_ATTEMPTED)
def test_what_was_not_begun_is_not_attempted(source):
    result = attempt(weights_follow_tokens, source)
    assert (result.outcome, result.points, repr(result)) == (Outcome.NOT_ATTEMPTED, 0, "0")
    assert NOT_ATTEMPTED[source] in result.message


@pytest.mark.parametrize("brought", ["import weightless as weight", "from weightless import weight"])
def test_a_name_that_a_library_brought_is_not_proposed(brought, monkeypatch):
    library = types.ModuleType("weightless")
    exec("def weight(): pass", library.__dict__)
    monkeypatch.setitem(sys.modules, "weightless", library)
    assert "did you mean" not in attempt(weights_follow_tokens, brought).message


@check("pair", points=1, hints=("a", "b", "c"))
def judge_pair(answers: Answers) -> None:
    """Give a mean and its interval."""
    mean, interval = answers["pair"]()
    expect(len(interval) == 2, f"got {len(interval)} ends of the interval {mean}", code="no-interval")


PARTS = {
    "def pair(): return 1, None": (
        "returned-none",
        "`pair` returned (1, None) (tuple), with None in it",
    ),
    "def pair(): return 1, 2, 3": ("unusable", "`pair` returned (1, 2, 3) (tuple): wanted 2 values"),
    "def pair(): return 1, 2": ("unusable", "`pair` returned (1, 2) (tuple): the check cannot use that"),
    "def pair(): return 7": ("unusable", "`pair` returned 7 (int): the check cannot use that"),
}


@pytest.mark.parametrize("source", PARTS)
def test_what_breaks_in_the_check_is_not_said_in_the_checks_own_words(source):
    result = attempt(judge_pair, source)
    assert (result.code, result.message, result.hint) == (*PARTS[source], "")


def test_functions_in_errors_are_named_as_the_learner_named_them():
    source = """
def make():
    def inner(a): pass
    return inner
weights = lambda counts: make()()
"""
    message = attempt(weights_follow_tokens, source).message
    assert "TypeError: inner() missing 1 required positional argument: 'a', in line 5 of your cell" in message


@pytest.mark.parametrize("source", FAILED)
def test_a_wrong_answer_fails_with_its_code_and_what_came_back(source):
    code, message = FAILED[source]
    result = attempt(weights_follow_tokens, source)
    assert (result.outcome, result.points, result.code) == (Outcome.FAILED, 0, code), str(result)
    assert message in result.message
    assert "Error" not in result.message
    assert result.hint == ("" if result.meaning or code in GENERAL else "first hint")


@pytest.mark.parametrize("source", CRASHED)
def test_code_that_breaks_is_crashed_with_its_own_line(source):
    code, *parts = CRASHED[source]
    check = replace(weights_follow_tokens, limit_s=0.3) if code == "over-limit" else weights_follow_tokens
    result = attempt(check, source)
    assert (result.outcome, result.points, result.code) == (Outcome.CRASHED, 0, code), str(result)
    assert all(part in result.message for part in parts), result.message
    assert result.hint == ""


def test_a_name_that_a_restart_may_have_lost_says_what_to_run_again():
    result = attempt(weights_follow_tokens, "def weights(counts): return np.ones(3)")
    assert "name 'np' is not defined" in result.message
    assert "run the cells above again" in result.meaning
    local = attempt(weights_follow_tokens, "def weights(counts):\n    a = b\n    b = 1")
    assert "UnboundLocalError" in local.message
    assert local.meaning == ""


def test_the_limit_holds_in_a_thread_without_signals():
    found = []
    source = "def weights(counts):\n    while True: sum(counts)"
    thread = threading.Thread(target=lambda: found.append(attempt(short, source)))
    thread.start()
    thread.join(20)
    assert [result.code for result in found] == ["over-limit"]


@pytest.mark.slow
@pytest.mark.parametrize("in_thread", [False, True])
def test_an_answer_that_ends_about_when_the_limit_does_leaves_no_timer_behind(in_thread):
    source = (
        "import time\ndef weights(n):\n    end = time.monotonic() + {}\n    while time.monotonic() < end: 0"
    )
    outcomes = []

    def run():
        for late_s in (-0.002, -0.0005, 0.0, 0.0005) * 3:
            outcomes.append(attempt(short, source.format(0.02 + late_s)).code)

    thread = threading.Thread(target=run) if in_thread else None
    if thread is None:
        run()
    else:
        thread.start()
        thread.join(60)
    assert len(outcomes) == 12
    assert set(outcomes) <= {"over-limit", "returned-none"}
    watchers = [each for each in threading.enumerate() if each.name == "time-limit"]
    for watcher in watchers:
        watcher.join(30)
    assert not any(watcher.is_alive() for watcher in watchers)


def test_the_timer_of_whoever_runs_us_goes_on():
    signal = pytest.importorskip("signal")
    if not hasattr(signal, "setitimer"):
        pytest.skip("only on systems with timer signals")
    before = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0]
    signal.setitimer(signal.ITIMER_REAL, 200)
    try:
        attempt(weights_follow_tokens, RIGHT[0])
        left_s = signal.getitimer(signal.ITIMER_REAL)[0]
        assert signal.getsignal(signal.SIGALRM) == before[0]
        assert 100 < left_s <= 200
    finally:
        signal.setitimer(signal.ITIMER_REAL, before[1])


def test_what_an_answer_prints_is_kept_and_does_not_reach_the_cell(capsys):
    body = "print('seen'); print('x' * 9000, file=sys.stderr); print('end')"
    source = f"import sys\ndef weights(counts):\n    {body}"
    result = attempt(weights_follow_tokens, source)
    assert capsys.readouterr() == ("", "")
    assert result.output.endswith("end\n")
    assert len(result.output) <= 4000


def test_what_an_answer_logs_does_not_reach_the_cell_either(capsys):
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)
    try:
        result = attempt(
            weights_follow_tokens, "import logging\ndef weights(n): logging.getLogger().error('careful')"
        )
        assert capsys.readouterr() == ("", "")
        assert "careful" in result.output
        logging.getLogger().error("as before")
        assert capsys.readouterr().err == "as before\n"
    finally:
        logging.getLogger().removeHandler(handler)


def test_ctrl_c_is_the_learners_and_passes_through():
    with pytest.raises(KeyboardInterrupt):
        attempt(weights_follow_tokens, "def weights(counts): raise KeyboardInterrupt")


def test_a_measured_check_may_be_inconclusive_and_gives_no_points():
    @check("speed", points=1, hints=("a", "b", "c"), measured=True)
    def speed(answers: Answers) -> None:
        """Be fast."""
        inconclusive("two runs of the same code differ by 40 %")

    result = run_check(speed, {})
    assert (result.outcome, result.points) == (Outcome.INCONCLUSIVE, 0)
    assert "40 %" in result.message


def test_a_check_that_breaks_by_itself_is_the_authors_error():
    @check("broken", points=1, hints=("a", "b", "c"))
    def broken(answers: Answers) -> None:
        """Whatever."""
        raise ValueError("oops")

    with pytest.raises(LabFileError, match="'broken' is broken: ValueError: oops"):
        run_check(broken, {})


def test_equal_seeds_draw_equal_inputs_and_fresh_ones_differ():
    drawn = []

    @check("draw", points=1, hints=("a", "b", "c"))
    def draw(answers: Answers) -> None:
        """Draw."""
        drawn.append(answers.rng.integers(0, 2**40))

    seeds = [run_check(draw, {}, seed=seed).seed for seed in (7, 7, None, None)]
    assert seeds[:2] == [7, 7]
    assert drawn[0] == drawn[1]
    assert len({*drawn}) == 3


def test_the_sentence_holds_points_message_meaning_and_hint():
    text = str(attempt(weights_follow_tokens, "def weights(counts): return [1/3] * 3", seed=1))
    assert text.startswith("weights: failed (0/2)  weights[0] is 0.333333")
    assert text.endswith("(mean)")
    assert str(replace(attempt(weights_follow_tokens, "weights = 3"), hint="first hint")).endswith(
        "  hint: first hint"
    )
