import pytest

from scalelab.serve.broker import Placed, PutReport
from scalelab.serve.overload import DrainRate, Overload
from scalelab.serve.protocol import Problem


def test_retry_after_is_the_time_to_drain_half_of_the_queue():
    now_s = [0.0]
    rate = DrainRate(clock=lambda: now_s[0])
    rate.note(1000, 1000, before=999)
    now_s[0] = 4.0
    rate.note(1400, 1000, before=999)
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
        rate.note(finished, depth, before=depth - 1)
    return rate


@pytest.mark.parametrize(
    ("notes", "per_second", "capacity_per_s"),
    [
        ([(0, 0, 1), (2, 10, 1)], 5, 0),  # what came was answered: nobody knows what more could be
        ([(0, 0, 500), (0.25, 100, 900)], 400, 400),  # the workers had enough to do
        ([(0, 0, 500), (0.2, 100, 900)], 0, 0),  # too soon
        ([(0, 0, 500), (0.25, 3, 900)], 0, 0),  # too few for so short a time
        ([(0, 0, 500), (2, 4, 900)], 2, 2),
        ([(0, 0, 500), (0.25, 100, 900), (0.75, 150, 900)], 400, 400),  # the next takes a second
        ([(0, 0, 500), (0.25, 100, 900), (1.25, 300, 900)], 200, 300),
        ([(0, 0, 500), (0.25, 100, 900), (2.25, 200, 0), (4.25, 220, 3)], 10, 0),  # empty again
        ([(0, 900, 500), (2, 0, 0)], 0, 0),  # a broker that began anew
        ([(0, 0, 9), (60, 9, 1)], 0.15, 0),  # all was answered long ago: nobody asked for more
        ([(0, 0, 40), (1, 38, 3)], 38, 0),  # for a moment there was little to do
    ],
)
def test_what_the_workers_can_do_is_known_only_while_they_have_enough_to_do(
    notes, per_second, capacity_per_s
):
    rate = measured(*notes)
    assert (rate.per_second, rate.capacity_per_s) == (per_second, capacity_per_s)


def overloaded(now_s):
    """A queue of 1,000 tasks whose workers answer 100 a second."""
    overload = Overload(20_000, clock=lambda: now_s[0])
    for at_s, finished in ((0, 0), (1, 100)):
        now_s[0] = float(at_s)
        overload.note(PutReport([Placed("x")], 1000, finished))
    return overload


@pytest.mark.parametrize("limit_s", [0.1, 12.4])
def test_who_has_less_time_than_the_queue_takes_is_refused(limit_s):
    with pytest.raises(Problem, match="about 10 s of work") as caught:
        overloaded([0.0]).check_delay(limit_s)
    assert caught.value.status == 429
    overloaded([0.0]).check_delay(12.6)


def test_answers_since_the_last_report_make_the_queue_shorter():
    overload = overloaded([0.0])
    overload.answered(600)
    overload.check_delay(5.1)
    with pytest.raises(Problem, match="400 tasks"):
        overload.check_delay(4.9)


def test_what_is_old_is_not_taken_for_true():
    now_s = [0.0]
    overload = overloaded(now_s)
    now_s[0] += 1
    overload.check_delay(0.1)


def test_a_queue_that_is_full_is_so_for_a_moment():
    now_s = [0.0]
    overload = Overload(9, clock=lambda: now_s[0])
    assert not overload.is_full()
    overload.note(PutReport([Placed("x"), Placed("")], 9, 0))
    assert overload.is_full()
    now_s[0] += 0.1
    assert not overload.is_full()
