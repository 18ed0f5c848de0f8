import itertools

import pytest

from scalelab.core.errors import ConfigError
from scalelab.train.parallel import bubble
from scalelab.train.parallel.schedule import play_for_real, play_on_paper


def gpipe(stages, count):
    return [[(kind, i) for kind in "FB" for i in range(count)] for _ in range(stages)]


def turn_back_at_once(stages, count):
    """1F1B by its own rule: forward while fewer are under way than there are stages left, else backward."""
    orders = []
    for stage in range(stages):
        done = {"F": 0, "B": 0}
        order = []
        while done["B"] < count:
            ahead = done["F"] - done["B"]
            kind = "F" if done["F"] < count and ahead < stages - stage else "B"
            order.append((kind, done[kind]))
            done[kind] += 1
        orders.append(order)
    return orders


@pytest.mark.parametrize("make", [gpipe, turn_back_at_once])
@pytest.mark.parametrize(("stages", "count"), [(1, 1), (1, 4), (4, 1), (4, 2), (4, 8), (3, 7)])
def test_equal_stages_wait_as_long_as_the_formula_says(make, stages, count):
    timeline = play_on_paper(make(stages, count), forward_s=1, backward_s=2)
    assert timeline.seconds == 3 * (count + stages - 1)
    assert timeline.waiting == pytest.approx(bubble(stages, count))


def test_gpipe_holds_every_micro_batch_and_1f1b_as_many_as_there_are_stages_left():
    assert play_on_paper(gpipe(4, 6)).held == (6, 6, 6, 6)
    assert play_on_paper(turn_back_at_once(4, 6)).held == (4, 3, 2, 1)


def test_the_slowest_stage_sets_the_pace():
    even, uneven = (
        play_on_paper(gpipe(3, 50), forward_s=[1, 1, slow], backward_s=[1, 1, slow]) for slow in (1, 2)
    )
    assert uneven.seconds / even.seconds == pytest.approx(2, rel=0.05)


def test_a_stage_does_one_thing_at_a_time_and_nothing_before_what_it_needs():
    spans = play_on_paper(turn_back_at_once(3, 5), forward_s=[1, 2, 1.5], backward_s=2).spans
    ends = {(stage, kind, i): end for stage, span in enumerate(spans) for kind, i, _, end in span}
    for stage, span in enumerate(spans):
        assert all(a[3] <= b[2] for a, b in itertools.pairwise(span))
        for kind, i, begin, _ in span:
            before = stage - 1 if kind == "F" else stage + 1
            assert begin >= ends.get((before, kind, i), 0)


@pytest.mark.parametrize(
    ("orders", "says"),
    [
        ([[("F", 0), ("B", 0)], [("B", 0), ("F", 0)]], "stage 0 waits for ever with B0: B0 of stage 1"),
        ([[("B", 0), ("F", 0)]], "stage 0 waits for ever with B0: F0 of stage 0"),
        ([[("F", 0)], [("F", 1)]], "stage 1 waits for ever with F1: F1 of stage 0"),
        ([[("X", 0)]], "stage 0 has"),
    ],
)
def test_orders_that_cannot_be_carried_out_are_refused(orders, says):
    with pytest.raises(ConfigError, match=says):
        play_on_paper(orders)


def test_schedules_of_other_numbers_of_stages_do_not_run_together():
    with pytest.raises(ConfigError, match=r"schedules of \[2, 3\] stages"):
        play_for_real({"a": gpipe(2, 1), "b": gpipe(3, 1)})


@pytest.mark.slow
def test_real_ranks_take_no_less_time_than_on_paper():
    schedules = {"gpipe": gpipe(3, 4), "1f1b": turn_back_at_once(3, 4)}
    played = play_for_real(schedules, forward_s=0.01)
    assert sorted(played) == ["1f1b", "gpipe"]
    for one in played.values():
        assert one.seconds >= 0.01 * 3 * 6 * 0.999
        assert bubble(3, 4) * 0.99 < one.waiting < 1
        assert one.overslept > -0.01
