"""Shapes of a load, and their text form."""

import numpy as np
import pytest

from scalelab.core.errors import ConfigError
from scalelab.loadtest import Profile, parse_profile
from scalelab.loadtest.arrivals import schedule
from scalelab.loadtest.profile import HOURS, SHAPES, Part


def parts(text, **given):
    return [(part.rate_per_s, part.seconds) for part in parse_profile(text, **given).parts]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("constant:200/30s", [(200, 30)]),
        ("poisson:200/1min", [(200, 60)]),
        ("step:100..500/5x10s", [(100, 10), (200, 10), (300, 10), (400, 10), (500, 10)]),
        ("step:90..30/3x500ms", [(90, 0.5), (60, 0.5), (30, 0.5)]),
        ("spike:100..1000/10s+2s+5s", [(100, 10), (1000, 2), (100, 5)]),
        ("trace:100,0,200/10s", [(100, 10), (0, 10), (200, 10)]),
    ],
)
def test_a_text_is_its_parts(text, wanted):
    assert parts(text) == wanted


@pytest.mark.parametrize("shape", ["poisson", "constant"])
def test_a_plain_shape_takes_rate_and_duration_from_outside(shape):
    assert parts(shape, rate_per_s=5, duration_s=2) == [(5, 2)]


def test_a_day_begins_and_ends_low_and_is_symmetric():
    rates = [rate for rate, _ in parts("diurnal:50..400/48s")]
    assert len(rates) == HOURS
    assert rates == pytest.approx(rates[::-1])
    assert min(rates) == rates[0] > 50
    assert max(rates) < 400
    assert np.mean(rates) == pytest.approx((50 + 400) / 2)
    assert parse_profile("diurnal:50..400/48s").duration_s == pytest.approx(48)


def test_even_spaces_the_arrivals_evenly():
    assert parse_profile("step:10..20/2x5s").gaps == "poisson"
    assert len(parse_profile("step:10..20/2x5s/even").times()) == 150


@pytest.mark.parametrize("seed", [0, 7])
def test_a_single_part_has_the_arrivals_of_the_plain_schedule(seed):
    times_s = parse_profile("poisson:100/3s").times(warmup_s=0.5, seed=seed)
    np.testing.assert_array_equal(times_s, schedule("poisson", 100, 3.5, seed=seed))


@pytest.mark.parametrize("text", ["step:50..400/4x2s", "spike:20..900/2s+1s+2s", "diurnal:10..300/12s"])
def test_each_part_has_the_arrivals_of_its_rate(text):
    profile = parse_profile(text)
    edges_s = profile.edges_s(1.0)
    counts, _ = np.histogram(profile.times(warmup_s=1.0, seed=3), edges_s)
    wanted = np.array([part.rate_per_s * part.seconds for part in profile.parts])
    assert (abs(counts - wanted) < 5 * np.sqrt(wanted) + 1).all()
    assert counts.sum() > 100


def test_arrivals_ascend_and_the_same_seed_gives_the_same():
    profile = parse_profile("spike:100..1000/1s+1s+1s")
    assert (np.diff(profile.times(seed=2)) >= 0).all()
    np.testing.assert_array_equal(profile.times(seed=2), profile.times(seed=2))


def test_a_trace_file_holds_each_rate_until_the_next_time(tmp_path):
    file = tmp_path / "day.csv"
    file.write_text("time_s,rate_per_s\n0,10\n5,200\n7,0\n")
    assert parts(f"trace:{file}") == [(10, 5), (200, 2), (0, 2)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has the columns nothing"),
        ("when,rate\n1,2\n3,4\n", "has the columns when, rate"),
        ("time_s,rate_per_s\n0,1\n", "has one line"),
        ("time_s,rate_per_s\n0,1\n1,many\n", "line 3: '1', 'many'"),
        ("time_s,rate_per_s\n0,1\n5,2\n4,2\n", "line 4: '4', '2'"),
        ("time_s,rate_per_s\n0,1\n5\n", "line 3: '5', None"),
        ("time_s,rate_per_s\n0,1\n5,-2\n", "a rate of -2.0"),
        ("time_s,rate_per_s\n0,nan\n5,2\n", "a rate of nan"),
    ],
)
def test_a_trace_that_cannot_be_read_is_named_by_its_line(tmp_path, content, said):
    file = tmp_path / "day.csv"
    file.write_text(content)
    with pytest.raises(ConfigError, match=said):
        parse_profile(f"trace:{file}")


def test_a_trace_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"'nowhere.csv' cannot be read: No such file"):
        parse_profile("trace:nowhere.csv")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("poison:5/1s", "did you mean 'poisson'"),
        ("steps:1..2/3x1s", "did you mean 'step'"),
        ("", "known: constant, diurnal"),
        ("poisson:5", "--duration"),
        ("poisson", "--rate"),
        ("poisson:five/1s", "poisson:200/30s"),
        ("step:100..500", "step:100..500/5x10s"),
        ("step:100..500/1x10s", "step:100..500/5x10s"),
        ("step:100-500/5x10s", "step:100..500/5x10s"),
        ("step:1..inf/3x1s", "step:100..500/5x10s"),
        ("step:1..2/2x3h", "step:100..500/5x10s"),
        ("spike:1..9/5s+1s", "spike:100..1000/10s+2s+10s"),
        ("diurnal", "diurnal:50..400/60s"),
        ("trace:", "trace:100,400,200/10s"),
        ("trace:1,,2/10s", "trace:100,400,200/10s"),
    ],
)
def test_a_text_that_cannot_be_read_comes_with_one_that_can(text, hint):
    with pytest.raises(ConfigError) as caught:
        parse_profile(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step:-5..5/3x1s", "a rate of -5.0"),
        ("poisson:5/0s", "duration of 0.0"),
        ("poisson:1e9/10s", "10,000,000,000 requests"),
    ],
)
def test_a_rate_or_time_that_cannot_be_run_is_named(text, said):
    with pytest.raises(ConfigError, match=said):
        parse_profile(text)


def test_a_load_of_no_parts_is_refused():
    with pytest.raises(ConfigError, match="no parts"):
        Profile(())


def test_the_mean_rate_weighs_parts_by_their_time():
    assert Profile((Part(100, 9), Part(1000, 1))).rate_per_s == pytest.approx(190)


def test_every_shape_has_an_example_that_reads():
    from scalelab.loadtest.profile import _EXAMPLES

    assert set(_EXAMPLES) == set(SHAPES)
    assert all(parse_profile(text.partition(" or ")[0]).parts for text in _EXAMPLES.values())
