"""The accuracy guard: paired, with an interval, and inconclusive where the images are too few."""

from __future__ import annotations

import numpy as np
import pytest

from scalelab.compress.guard import guard_accuracy, guard_logits, lost_over_seeds, mcnemar_exact
from scalelab.core.errors import ConfigError, DataError
from scalelab.core.stats import Verdict

N = 4000
LABELS = np.random.default_rng(0).integers(0, 10, (N, 6))


def reading(wrong_images, digits=1):
    """Return logits that read all but the first `digits` digits of the given images."""
    logits = np.eye(10, dtype=np.float32)[LABELS]
    for digit in range(digits):
        logits[wrong_images, digit] = np.roll(logits[wrong_images, digit], 1, axis=-1)
    return logits


def test_a_model_compared_with_itself_lost_nothing():
    report = guard_logits(reading(slice(0, 60)), reading(slice(0, 60)), LABELS)
    assert (report.lost.median, report.lost.low, report.lost.high) == (0, 0, 0)
    assert (report.pins_lost, report.pins_gained, report.p_value) == (0, 0, 1)
    assert report.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("wrong", "verdict"),
    [(slice(0, 0), Verdict.PASS), (slice(0, 120), Verdict.INCONCLUSIVE), (slice(0, 240), Verdict.FAIL)],
)
def test_the_verdict_follows_the_interval(wrong, verdict):
    report = guard_logits(reading(slice(0, 0)), reading(wrong), LABELS)
    assert report.verdict is verdict
    assert report.lost.median == pytest.approx((wrong.stop - wrong.start) / (6 * N))
    assert f"{verdict.value}: " in str(report)


def test_the_interval_has_the_width_that_the_binomial_law_gives():
    report = guard_logits(reading(slice(0, 0)), reading(slice(0, 200)), LABELS)
    half = 1.96 * np.sqrt(0.05 * 0.95 / N) / 6
    assert report.lost.high - report.lost.median == pytest.approx(half, rel=0.1)
    assert report.lost.median - report.lost.low == pytest.approx(half, rel=0.1)


def test_digits_lost_in_one_image_are_one_event_and_not_six():
    spread = guard_logits(reading(slice(0, 0)), reading(slice(0, 240)), LABELS)
    lumped = guard_logits(reading(slice(0, 0)), reading(slice(0, 40), digits=6), LABELS)
    assert lumped.lost.median == pytest.approx(spread.lost.median)
    assert lumped.lost.relative_width > 2 * spread.lost.relative_width


def test_errors_that_both_make_cancel():
    alone = guard_logits(reading(slice(0, 0)), reading(slice(0, 100)), LABELS)
    shared = guard_logits(reading(slice(100, 900)), reading(slice(0, 900)), LABELS)
    assert shared.lost == alone.lost
    assert shared.pins_lost == alone.pins_lost == 100


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (0, 10, 2 / 1024), (2, 8, 2 * 56 / 1024), (7, 7, 1.0)],
)
def test_mcnemars_test_is_the_binomial_one(only_a, only_b, p):
    assert mcnemar_exact(only_a, only_b) == pytest.approx(p)
    assert mcnemar_exact(only_b, only_a) == mcnemar_exact(only_a, only_b)


def test_many_disagreements_go_on_where_the_exact_test_ends():
    assert mcnemar_exact(530, 470) == pytest.approx(mcnemar_exact(529, 470), rel=0.15)
    assert mcnemar_exact(500, 500) == 1


def test_sessions_are_guarded_by_what_they_predict():
    images = np.zeros((N, 28, 168), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(N), 256)

    class Reading:
        def __init__(self, logits):
            self.logits = logits

        def predict(self, images):
            return self.logits[images[:, 0, 0].astype(int) * 256 + images[:, 0, 1]]

    report = guard_accuracy(Reading(reading(slice(0, 0))), Reading(reading(slice(0, 240))), images, LABELS)
    assert report == guard_logits(reading(slice(0, 0)), reading(slice(0, 240)), LABELS)


def test_seeds_are_averaged_image_by_image():
    right, seeds = reading(slice(0, 0)), [reading(slice(0, 200)), reading(slice(200, 400))]
    lost = lost_over_seeds(right, seeds, LABELS)
    assert lost.median == pytest.approx(200 / (6 * N))
    assert lost_over_seeds(right, seeds[:1], LABELS) == guard_logits(right, seeds[0], LABELS).lost
    one = lost_over_seeds(right, seeds[:1], LABELS)
    assert lost.high - lost.low < 0.8 * (one.high - one.low), "other images: their errors average out"
    for candidates in ([], [right[:5]]):
        with pytest.raises(DataError, match="lose nothing that can be counted"):
            lost_over_seeds(right, candidates, LABELS)


def test_what_cannot_be_judged_is_refused():
    right = reading(slice(0, 0))
    with pytest.raises(DataError, match="cannot be scored"):
        guard_logits(right, right[:5], LABELS)
    with pytest.raises(DataError, match="NaN"):
        guard_logits(right, right * np.nan, LABELS)
    with pytest.raises(ConfigError, match="at most 5"):
        guard_logits(right, right, LABELS, at_most=5)
    with pytest.raises(DataError, match="-1"):
        mcnemar_exact(-1, 3)
