"""The order of points and rounds, and how long what is left takes: pure functions of a suite."""

import itertools
from pathlib import Path

import pytest

from scalelab.bench import Point, load_suite
from scalelab.bench.remaining import estimate, seconds_spent
from scalelab.bench.schedule import Visit, visits
from scalelab.core.errors import ConfigError
from scalelab.core.records import RunRecord, metric


@pytest.fixture
def load(tmp_path):
    """Load a suite of this text, whose points are all of one empty notebook."""
    (tmp_path / "a.ipynb").write_text("{}")

    def load(text, **options):
        (tmp_path / "s.toml").write_text(text, encoding="utf-8")
        return load_suite(tmp_path / "s.toml", **options)

    return load


def point(name, more=""):
    return f'[[point]]\nname = "{name}"\nnotebook = "a.ipynb"\n{more}\n'


def pair(a, b, more=""):
    return f'[[pair]]\na = "{a}"\nb = "{b}"\n{more}\n'


def order(suite):
    return [(visit.point.name, visit.round) for visit in visits(suite)]


def test_a_point_runs_all_its_rounds_before_the_next(load):
    suite = load(point("p", "rounds = 2") + point("q"))
    assert order(suite) == [("p", 0), ("p", 1), ("q", 0)]
    assert [visit.stem for visit in visits(suite)] == ["p", "p.r1", "q"]


@pytest.mark.parametrize("rounds", [1, 2, 5, 6])
def test_the_two_of_a_pair_take_turns(load, rounds):
    suite = load(point("x") + point("z") + point("y") + pair("y", "x", f"rounds = {rounds}"))
    assert len(order(suite)) == 2 * rounds + 1
    assert order(suite)[-1] == ("z", 0)
    in_time = [name for name, _ in order(suite)[:-1]]
    assert in_time == list(itertools.islice(itertools.cycle("yxxy"), 2 * rounds)), "y x x y y x ..."
    assert [number for _, number in order(suite)[:-1]] == [n for n in range(rounds) for _ in "xy"]


def test_a_pair_without_rounds_gets_as_many_as_tell_two_points_apart(load):
    assert len(visits(load(point("x") + point("y") + pair("x", "y")))) == 12


def test_a_pair_waits_for_what_its_second_needs(load):
    text = point("x") + point("z") + point("y", 'needs = ["z"]') + pair("x", "y", "rounds = 1")
    assert [name for name, _ in order(load(text))] == ["z", "x", "y"]


@pytest.mark.parametrize("way", [("x",), ("x", "m")], ids=str)
def test_a_pair_of_which_one_needs_the_other_cannot_take_turns(load, way):
    middle = point("m", 'needs = ["x"]')
    text = point("x") + middle + point("y", f'needs = ["{way[-1]}"]') + pair("x", "y")
    with pytest.raises(ConfigError, match=r"'x' and 'y' cannot take turns"):
        load(text)


def test_rounds_given_from_outside_replace_only_those_that_are_declared(load):
    text = point("x") + point("y") + point("p", "rounds = 3") + point("q") + pair("x", "y")
    suite = load(text, rounds=2)
    assert {point.name: point.rounds for point in suite.points} == {"x": 2, "y": 2, "p": 2, "q": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (pair("x", "x"), "'x' is paired with itself"),
        (pair("x", "z"), "a pair names 'z'"),
        (pair("x", "y") + pair("y", "x"), "stands in two pairs"),
        ('[[pair]]\na = "x"\n', "lacks its a or its b"),
        (pair("x", "y", "round = 3"), "unknown key 'round'"),
        (pair("x", "y", "rounds = 0"), "rounds = 0"),
        (pair("x", "y", "rounds = true"), "rounds = True"),
    ],
)
def test_a_wrong_pair_is_refused_with_its_value(load, text, message):
    with pytest.raises(ConfigError, match=message):
        load(point("x") + point("y") + text)


def test_a_need_may_name_a_whole_matrix(load):
    suite = load(point("p", "[point.matrix]\nn = [1, 2]") + point("q", 'needs = ["p"]'))
    assert suite.point("q").needs == ("p[n=1]", "p[n=2]")


@pytest.mark.parametrize(
    ("needs_of_p", "needs_of_q", "said"),
    [
        ("q", "p", "a cycle: p needs q needs p"),
        ("p", "p", "a cycle: p needs p"),
        ("q", None, "does not stand"),
    ],
)
def test_a_cycle_is_shown_and_a_wrong_order_is_told_from_it(load, needs_of_p, needs_of_q, said):
    q = point("q", f'needs = ["{needs_of_q}"]' if needs_of_q else "")
    with pytest.raises(ConfigError, match=said):
        load(point("p", f'needs = ["{needs_of_p}"]') + q)


def test_a_tier_has_its_own_matrix_and_its_own_points(load):
    text = 'tiers = ["ci", "big"]\n' + point(
        "p", "[point.matrix]\nn = [1, 2]\nm = [5]\n[point.tiers.ci.matrix]\nn = [9]"
    )
    text += point("q", 'only = ["big"]') + point("r") + pair("q", "r", "rounds = 2")
    assert [point.name for point in load(text, tier="ci").points] == ["p[n=9,m=5]", "r"]
    assert [point.name for point in load(text, tier="big").points] == ["p[n=1,m=5]", "p[n=2,m=5]", "q", "r"]
    assert [point.name for point in load(text).points] == ["p[n=1,m=5]", "p[n=2,m=5]", "r"]
    assert load(text, tier="ci").point("r").rounds == 1, "its partner is not there"


def test_a_need_that_the_tier_does_not_have_is_told(load):
    text = 'tiers = ["ci", "big"]\n' + point("q", 'only = ["big"]') + point("r", 'needs = ["q"]')
    assert load(text, tier="big").point("r").needs == ("q",)
    with pytest.raises(ConfigError, match="which this tier does not have"):
        load(text, tier="ci")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (point("a b") + point("a_b"), r"both write notebooks/a_b\.ipynb"),
        (point("p", 'produces = ["f"]') + point("q", 'produces = ["f"]'), "'p' and 'q' both write f"),
        (point("p", 'produces = ["../f"]'), "produces ="),
        (point("p", 'produces = ["/f"]'), "produces ="),
        (point("p", "rounds = 1.5"), "rounds = 1.5"),
        (point("p", 'only = ["ci"]'), "tier 'ci' is not declared"),
        ('tiers = ["ci"]\n' + point("p", 'only = ["ci"]'), "no points for a run without a tier"),
        ('tiers = ["ci"]\n' + point("p", "[point.tiers.ci.matrix]\nn = []"), "no values for 'n'"),
    ],
)
def test_what_could_not_run_as_written_is_refused(load, text, message):
    with pytest.raises(ConfigError, match=message):
        load(text)


def test_a_long_name_makes_a_file_name_that_fits(load):
    suite = load(point("p", f'[point.matrix]\nn = ["{"x" * 300}", "{"x" * 301}"]'))
    stems = {point.stem for point in suite.points}
    assert len(stems) == 2
    assert max(map(len, stems)) < 120


# --- how long the rest takes ---


def some(name, timeout_s=100.0, rounds=1):
    one = Point(
        name, name, Path("a.ipynb"), {}, timeout_s=timeout_s, rounds=rounds, family=name.partition("[")[0]
    )
    return [Visit(one, number) for number in range(rounds)]


def test_what_was_never_timed_counts_from_nothing_to_its_limit():
    found = estimate(some("p") + some("q", timeout_s=50), {})
    assert (found.low_s, found.high_s, found.unknown) == (0.0, 150.0, 2)


def test_what_was_timed_counts_as_what_it_took_with_some_air():
    found = estimate(some("p", rounds=2), {"p": [10.0, 20.0]})
    assert found.low_s < 20.0 < 40.0 < found.high_s
    assert found.unknown == 0


def test_a_point_of_a_matrix_is_judged_by_its_siblings_but_never_above_its_limit():
    found = estimate(some("p[n=2]"), {"p[n=1]": [90.0]})
    assert 0 < found.low_s < 90.0
    assert (found.high_s, found.unknown) == (100.0, 0)


def test_two_machines_halve_the_least_but_a_long_point_may_come_last():
    alone, shared = (estimate(some("p") + some("q"), {"p": [10.0], "q": [10.0]}, slots=n) for n in (1, 2))
    assert shared.low_s == alone.low_s / 2
    assert alone.high_s / 2 < shared.high_s <= alone.high_s


def test_only_runs_with_the_same_parameters_tell_how_long_a_point_takes():
    own = Point("p", "p", Path("a.ipynb"), {"n": 1})
    records = [
        RunRecord(
            "s/p", {"n": n}, (metric("point_seconds", "s", 5.0 * n),), status=status, machine={}, git=""
        )
        for n, status in [(1, "done"), (2, "done"), (1, "failed")]
    ]
    assert seconds_spent(records, [own], "s") == {"p": [5.0]}
