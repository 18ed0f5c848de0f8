"""Schedules: seeded, ascending, of the asked rate."""

import numpy as np
import pytest

from scalelab.core.errors import ConfigError
from scalelab.loadtest.arrivals import KINDS, constant, poisson, schedule, steps


@pytest.mark.parametrize("kind", KINDS)
def test_arrivals_ascend_within_the_duration(kind):
    times_s = schedule(kind, 200.0, 5.0, seed=3)
    assert len(times_s) > 0
    assert (np.diff(times_s) >= 0).all()
    assert times_s[0] >= 0
    assert times_s[-1] < 5.0


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_schedule(kind):
    np.testing.assert_array_equal(schedule(kind, 50.0, 4.0, seed=7), schedule(kind, 50.0, 4.0, seed=7))


def test_another_seed_gives_another_poisson_schedule():
    assert not np.array_equal(poisson(50.0, 4.0, seed=1)[:10], poisson(50.0, 4.0, seed=2)[:10])


@pytest.mark.parametrize(("rate", "duration", "n"), [(30, 0.1, 3), (10, 1, 10), (0.5, 4, 2), (3, 1 / 3, 1)])
def test_constant_sends_rate_times_duration_requests(rate, duration, n):
    assert len(constant(rate, duration)) == n


def test_poisson_counts_have_the_variance_of_their_mean():
    counts = [len(poisson(100.0, 1.0, seed=seed)) for seed in range(400)]
    assert np.mean(counts) == pytest.approx(100, abs=3 * 10 / 20)
    assert np.var(counts) == pytest.approx(100, rel=0.3)


def test_poisson_gaps_are_exponential():
    gaps_s = np.diff(poisson(1000.0, 20.0, seed=0))
    assert np.mean(gaps_s) == pytest.approx(1e-3, rel=0.05)
    assert np.std(gaps_s) == pytest.approx(np.mean(gaps_s), rel=0.05)


def test_a_staircase_keeps_each_rate_in_its_step():
    times_s = steps([10, 40], 5.0, kind="constant")
    assert [int((times_s < 5).sum()), int((times_s >= 5).sum())] == [50, 200]


@pytest.mark.parametrize("rate", [0, -3, float("nan"), float("inf"), "5"])
def test_a_rate_that_cannot_be_run_is_named(rate):
    with pytest.raises(ConfigError, match=f"a rate of {rate!r} cannot be run"):
        schedule("poisson", rate, 1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_duration_of_zero_is_named(kind):
    with pytest.raises(ConfigError, match="a duration of 0 cannot be run"):
        schedule(kind, 10, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_more_arrivals_than_memory_holds_are_refused(kind):
    with pytest.raises(ConfigError, match="10,000,000,000 requests"):
        schedule(kind, 1e9, 10)


def test_a_misspelt_schedule_is_corrected():
    with pytest.raises(ConfigError, match="did you mean 'poisson'"):
        schedule("poison", 10, 1)


def test_a_staircase_needs_a_step():
    with pytest.raises(ConfigError, match="no rates"):
        steps([], 1.0)


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match="a seed of -1"):
        poisson(10, 1, seed=-1)
