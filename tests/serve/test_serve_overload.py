import pytest

from scalelab.serve.overload import DrainRate


def test_retry_after_is_the_time_to_drain_half_of_the_queue():
    now_s = [0.0]
    rate = DrainRate(clock=lambda: now_s[0])
    rate.note(1000, 1000)
    now_s[0] = 4.0
    rate.note(1400, 1000)
    assert rate.per_second == pytest.approx(100)
    assert rate.retry_after_s(depth=1000) == 5
    assert rate.retry_after_s(depth=1) == 1
    assert rate.retry_after_s(depth=1_000_000) == 60


def test_retry_after_is_short_while_no_rate_is_known():
    assert DrainRate().retry_after_s(depth=20_000) == 1


def measured(*notes):
    now_s = [0.0]
    rate = DrainRate(clock=lambda: now_s[0])
    for at_s, finished, depth in notes:
        now_s[0] = at_s
        rate.note(finished, depth)
    return rate


@pytest.mark.parametrize(
    ("notes", "per_second", "capacity_per_s"),
    [
        ([(0, 0, 1), (2, 10, 1)], 5, 0),  # what came was answered: nobody knows what more could be
        ([(0, 0, 500), (0.25, 100, 900)], 400, 400),  # the workers had enough to do
        ([(0, 0, 500), (0.2, 100, 900)], 0, 0),  # too soon
        ([(0, 0, 500), (0.25, 3, 900)], 0, 0),  # too few for so short a time
        ([(0, 0, 500), (2, 4, 900)], 2, 2),
        ([(0, 0, 500), (0.25, 100, 900), (2.25, 200, 0), (4.25, 220, 3)], 10, 0),  # empty again
        ([(0, 900, 500), (2, 0, 0)], 0, 0),  # a broker that began anew
    ],
)
def test_what_the_workers_can_do_is_known_only_while_they_have_enough_to_do(
    notes, per_second, capacity_per_s
):
    rate = measured(*notes)
    assert (rate.per_second, rate.capacity_per_s) == (per_second, capacity_per_s)
