"""B against A: what is called better, worse or the same, on which basis, and what a gate makes of it."""

import json
import re
from dataclasses import replace

import pytest
from bench_rounds import HERE, THERE, only_row, results, rounds, times

from scalelab.bench.compare import Change, compare_pairs, compare_results
from scalelab.core.errors import ConfigError
from scalelab.core.records import RunRecord
from scalelab.core.stats import Verdict


@pytest.mark.parametrize(
    ("factor", "name", "unit", "change"),
    [
        (1.2, "latency_p50", "s", Change.WORSE),
        (0.8, "latency_p50", "s", Change.BETTER),
        (1.2, "throughput", "1/s", Change.BETTER),
        (0.8, "throughput", "1/s", Change.WORSE),
        (1.01, "latency_p50", "s", Change.SAME),
        (1.0, "throughput", "1/s", Change.SAME),
        (1.0, "pin_accuracy", "share", Change.SAME),
    ],
)
def test_the_whole_interval_decides_on_the_better_side(factor, name, unit, change):
    row = only_row(rounds(times(), name, unit), rounds(times(factor, shift=3), name, unit))
    assert row.change is change
    assert row.ratio.low < factor < row.ratio.high
    assert (row.pairs, row.basis, row.why) == (8, "raw", "")


def test_a_difference_below_the_margin_is_the_same_however_clear():
    a = rounds([1.0] * 8)
    assert only_row(a, rounds([1.03] * 8)).change is Change.SAME
    assert only_row(a, rounds([1.03] * 8), margin=0.02).change is Change.WORSE


def test_a_wide_interval_around_one_says_nothing_and_says_why():
    row = only_row(rounds(times()), rounds([1.3, 0.8] * 4))
    assert row.change is Change.INCONCLUSIVE
    assert "wider than 5 %" in row.why


@pytest.mark.parametrize("n", [1, 5])
def test_fewer_than_six_rounds_call_nothing(n):
    row = only_row(rounds(times(n=n)), rounds(times(9.0, n=n)))
    assert (row.change, row.why) == (Change.INCONCLUSIVE, f"needs 6 rounds, has {n}")


def test_many_values_of_a_round_count_as_one_their_median():
    a = rounds([[value, value, 99.0] for value in times()])
    assert only_row(a, rounds(times())).ratio.median == pytest.approx(1)
    assert only_row(rounds([[1.0] * 30]), rounds([[2.0] * 30])).change is Change.INCONCLUSIVE


def test_rounds_meet_by_their_number_where_one_is_missing():
    slow_later = [1.0, 1.0, 1.0, 1.0, 5.0, 5.0, 5.0, 5.0]
    a, b = rounds(slow_later), rounds(slow_later)
    row = only_row(a[:3] + a[4:], b)
    assert (row.pairs, row.ratio.low, row.ratio.high) == (7, 1.0, 1.0)


def test_a_metric_without_a_better_side_is_shown_and_never_judged():
    row = only_row(rounds(times(), "ours_p99"), rounds(times(3.0), "ours_p99"))
    assert (row.change, row.why) == (Change.INCONCLUSIVE, "no better side")
    assert row.ratio.median == pytest.approx(3)


@pytest.mark.parametrize(
    ("b", "change"),
    [([0] * 6, Change.SAME), ([3, 1, 2, 4, 1, 1], Change.WORSE), ([0, 1, 2, 0, 0, 0], Change.INCONCLUSIVE)],
)
def test_zeros_have_no_ratio_and_are_compared_as_equal_or_not(b, change):
    row = only_row(rounds([0] * 6, "errors", "requests"), rounds(b, "errors", "requests"))
    assert (row.change, row.basis) == (change, "none")


def test_a_unit_that_changed_compares_nothing():
    row = only_row(rounds(times()), rounds(times(), unit="ms"))
    assert (row.change, row.why) == (Change.INCONCLUSIVE, "in s before, in ms after")


# other machines


@pytest.mark.parametrize(("name", "unit", "factor"), [("latency_p50", "s", 0.5), ("throughput", "1/s", 2.0)])
def test_another_machine_twice_as_fast_is_no_gain(name, unit, factor):
    a = rounds(times(), name, unit, reference=0.4)
    b = rounds(times(factor, shift=1), name, unit, machine=THERE, reference=0.2)
    found = compare_results(results(a), results(b, name="b"))
    assert (found.rows[0].change, found.rows[0].basis) == (Change.SAME, "reference")
    assert not found.is_same_machine
    assert "here, 2 cores; there, 8 cores" in found.notes[0]


def test_each_round_goes_by_the_reference_beside_it():
    a, b = rounds(times()), []
    for number, slower in enumerate((1, 1, 2, 1, 3, 1, 1, 1)):
        found = rounds(times(slower), machine=THERE, reference=0.3 * slower)
        b.append(found[number])
    row = only_row(a, b)
    assert (row.ratio.low, row.ratio.high) == pytest.approx((1, 1))


def test_an_accuracy_is_the_same_on_any_machine_and_memory_is_not():
    b = {"machine": THERE, "reference": 0.1}
    exact = only_row(
        rounds([0.9] * 6, "pin_accuracy", "share"), rounds([0.9] * 6, "pin_accuracy", "share", **b)
    )
    assert (exact.change, exact.basis) == (Change.SAME, "raw")
    memory = only_row(rounds([5e6] * 6, "peak_memory", "B"), rounds([5e6] * 6, "peak_memory", "B", **b))
    assert (memory.change, memory.why) == (Change.INCONCLUSIVE, "not comparable between machines")


@pytest.mark.parametrize("reference", [(None, 0.3), (0.3, None), (None, None)])
def test_without_the_reference_workload_machines_cannot_be_compared(reference):
    a = rounds(times(), reference=reference[0])
    row = only_row(a, rounds(times(), machine=THERE, reference=reference[1]))
    assert row.change is Change.INCONCLUSIVE
    assert row.why.startswith("not comparable between machines")
    assert "run it again with this version" in row.why


def test_times_of_another_reference_workload_are_none():
    b = rounds(times(), machine=THERE)
    b = [replace(each, run={**each.run, "reference": "reference-0"}) for each in b]
    assert "run it again" in only_row(rounds(times()), b).why


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (
            {"ram_bytes": 8 * 2**30},
            {"ram_bytes": 16 * 2**30},
            r"here, 2 cores, 8.00 GiB; here, 2 cores, 16.0 GiB\)",
        ),
        ({"flags": []}, {"flags": ["amx_int8"]}, r"\(here, 2 cores, \w{6}; here, 2 cores, \w{6}\)"),
    ],
)
def test_a_note_shows_in_what_two_machines_differ(one, other, said):
    sides = [results(rounds(times(), machine={**HERE, **facts})) for facts in (one, other)]
    assert re.search(said, compare_results(*sides).notes[0])


@pytest.mark.parametrize(("slower", "is_same"), [(1.08, True), (1.2, False), (1 / 1.2, False)])
def test_machines_of_one_kind_are_told_apart_by_the_reference(slower, is_same):
    found = compare_results(
        results(rounds(times())), results(rounds(times(), reference=0.3 * slower), name="b")
    )
    assert found.is_same_machine is is_same
    assert any("machines of one kind" in note for note in found.notes) is not is_same
    assert found.rows[0].basis == ("raw" if is_same else "reference")


# what is not compared


def test_other_parameters_make_no_row_and_a_note_names_them():
    a, b = rounds(times(), parameters={"n": 64}), rounds(times(), parameters={"n": 256, "fast": True})
    found = compare_results(results(a), results(b, name="b"))
    assert found.rows == ()
    assert "s/p ran with other parameters" in found.notes[0]
    assert "n = 64 in A, 256 in B; fast = absent in A, True in B" in found.notes[0]


def test_nothing_in_common_names_the_points_of_both():
    with pytest.raises(ConfigError, match="no point in common: s/p; and t/q"):
        compare_results(results(rounds(times())), results(rounds(times(), subject="t/q"), name="b"))


def test_points_of_one_side_are_listed():
    a = results(rounds(times()), rounds(times(), subject="s/old"))
    b = results(rounds(times()), rounds(times(), subject="s/new"), name="b")
    found = compare_results(a, b)
    assert (found.only_a, found.only_b) == (("s/old",), ("s/new",))


def test_metrics_of_one_side_are_named():
    found = compare_results(
        results(rounds(times()), rounds(times(), subject="s/q")),
        results(rounds(times()), rounds(times(), "latency_p95", subject="s/q"), name="b"),
    )
    assert "only A has s/q: latency_p50" in found.notes
    assert "only B has s/q: latency_p95" in found.notes


def test_a_point_that_broke_in_b_is_no_pass():
    failed = RunRecord("s/q", {}, (), {"error": "ZeroDivisionError"}, status="failed", machine=HERE, git="")
    a = results(rounds(times()), rounds(times(), subject="s/q"))
    found = compare_results(a, results(rounds(times()), [failed], name="b"))
    assert found.broken == ("s/q",)
    assert "s/q failed in B: ZeroDivisionError" in found.notes
    assert found.gate(0.1) is Verdict.INCONCLUSIVE


def test_a_point_without_a_common_round_is_said():
    a, b = rounds(times())[:4], rounds(times())[4:]
    found = compare_results(results(a), results(b, name="b"))
    assert (found.rows, found.notes) == ((), ("s/p: no round is in both A and B",))


def test_sides_that_did_not_run_in_turn_are_said():
    later = [replace(each, when="2026-02-01T00:00:00+00:00") for each in rounds(times())]
    told = [
        compare_results(results(rounds(times())), results(b, name="b")).notes
        for b in (later, rounds(times()))
    ]
    assert "not run in turn" in " ".join(told[0])
    assert "not run in turn" not in " ".join(told[1])


# the gate


# pairs within one folder


def paired(factor=1.2, worker="", **options):
    """The suite names ``x`` first: x y y x x y y x, so the place of x is lower in even rounds."""
    x = rounds(times(), subject="s/x", **options)
    y = rounds(times(factor, shift=3), subject="s/y", **options)
    for number in range(8):
        is_even = number % 2 == 0
        for side, partner, place in ((x, "y", not is_even), (y, "x", is_even)):
            run = {**side[number].run, "pair": partner, "place": 2 * number + place, "id": "1"}
            side[number] = replace(side[number], run={**run, "worker": worker})
    return x, y


@pytest.mark.parametrize("is_swapped", [False, True])
def test_the_pairs_of_a_suite_compare_the_second_named_with_the_first(is_swapped):
    x, y = paired()
    found = compare_pairs(results(y, x) if is_swapped else results(x, y))
    (row,) = found.rows
    assert (row.subject, row.change) == ("s/y against x", Change.WORSE)
    assert found.is_same_machine


def test_a_repeated_first_round_does_not_turn_a_pair_around():
    x, y = paired()
    again = replace(x[0], run={**x[0].run, "id": "2", "place": 5})
    assert compare_pairs(results(x, y, [again])).rows[0].change is Change.WORSE


def test_rounds_of_a_pair_from_different_calls_are_said():
    x, y = paired()
    y[2] = replace(y[2], run={**y[2].run, "id": "2"})
    assert "s/y against x: some rounds were not taken in turn" in compare_pairs(results(x, y)).notes[0]
    assert compare_pairs(results(*paired())).notes == ()


def test_a_pair_that_was_spread_over_workers_is_no_pair_of_one_machine():
    x, _ = paired(worker="one")
    _, y = paired(worker="two")
    found = compare_pairs(results(x, y))
    assert not found.is_same_machine
    assert found.rows[0].basis == "reference"


def test_a_pair_of_which_one_side_failed_has_no_row_and_is_said():
    x, y = paired()
    found = compare_pairs(results(x, [replace(each, status="failed", metrics=()) for each in y]))
    assert (found.rows, found.notes) == (
        (),
        ("s/y stands in a pair and never succeeded: nothing to compare",),
    )


def test_a_pair_that_moved_to_another_worker_as_a_whole_is_still_compared_raw():
    sides = paired()
    for side in sides:
        for number in (4, 5, 6, 7):
            side[number] = replace(side[number], machine=THERE, run={**side[number].run, "worker": "two"})
    found = compare_pairs(results(*sides))
    assert (found.is_same_machine, found.rows[0].basis) == (True, "raw")


def test_a_folder_without_pairs_says_so():
    with pytest.raises(ConfigError, match="no pair of points"):
        compare_pairs(results(rounds(times())))


# as JSON and text


def test_json_holds_no_nan():
    a, b = rounds([0] * 6, "errors", "requests"), rounds([0] * 6, "errors", "requests")
    found = json.loads(json.dumps(compare_results(results(a), results(b)).to_json(), allow_nan=False))
    assert found["rows"][0]["ratio"] == {"median": None, "low": None, "high": None, "n": 6}
    assert found["rows"][0]["change"] == "same"


def test_markdown_shows_the_headline_folds_the_rest_and_defuses_notes():
    failed = RunRecord("s/q", {}, (), {"error": "<b>@everyone\n# x"}, status="failed", machine=HERE, git="")
    a = results(rounds(times()), rounds(times(), "latency_p99", subject="s/r"), rounds([1], subject="s/q"))
    b = results(rounds(times(1.3)), rounds(times(), "latency_p99", subject="s/r"), [failed], name="b")
    text = compare_results(a, b).markdown("Pull request")
    headline, folded = text.split("<details>")
    assert "1 worse of 1 headline metrics" in headline
    assert "| s/p | latency p50 | 1.002 s | 1.303 s | 1.300 [" in headline
    assert "latency p99" in folded
    assert "latency p99" not in headline
    assert "- s/q failed in B: &lt;b>&#64;everyone # x" in headline


def test_a_multiple_of_the_reference_is_starred():
    b = rounds(times(), machine=THERE)
    found = compare_results(results(rounds(times())), results(b, name="b"))
    assert "* of multiples of the reference workload's time" in found.markdown("")
    assert "*" in found.table().rows[0][4]
