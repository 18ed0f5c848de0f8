"""The table that a log of a queue gives: the same for whoever reads it, at whatever pace."""

import random

import pytest

from scalelab.serve.rabbit_table import Table, answered, claimed, queued, retried, taken

ONE, TWO = "1" * 32, "2" * 32


def table_of(*lines, now_s=0.0, **options):
    table = Table(**options)
    table.apply(lines, now_s=now_s)
    return table


def test_only_the_first_answer_counts_and_only_it_is_returned():
    table = table_of(queued(ONE, 60, "g"))
    lines = [answered(ONE, 60, "g", b'{"a": "b c"}'), answered(ONE, 60, "g", b"{2}")]
    assert table.apply(lines, now_s=0.0) == [(ONE, "g", b'{"a": "b c"}')]
    assert table.stands(ONE) == b'{"a": "b c"}'
    assert (table.finished, table.open) == (1, {})


def test_an_answer_ahead_of_its_tasks_line_keeps_the_task_closed():
    """The worker may be faster than the gateway that notes what it queued."""
    table = table_of(answered(ONE, 60, "g", b"{}"), queued(ONE, 60, "g"))
    assert (table.stands(ONE), table.open) == (b"{}", {})


def test_the_first_claim_of_a_key_holds_until_its_time_is_over():
    table = table_of(claimed(ONE, 60, "d1", "my key"), claimed(TWO, 60, "d2", "my key"))
    assert table.keys["my key"][:2] == (ONE, "d1")
    assert not table.entries[ONE].is_queued
    assert TWO not in table.entries
    table.apply([claimed(TWO, 60, "", "my key")], now_s=61.0)
    assert table.keys["my key"][:2] == (TWO, "")


def test_attempts_are_counted_until_the_task_is_tried_anew():
    table = table_of(queued(ONE, 60, "g"), taken(ONE), taken(ONE), answered(ONE, 60, "g", b"{}"))
    assert table.attempts(ONE) == 2
    table.apply([retried(ONE, 60, "g")], now_s=1.0)
    assert (table.attempts(ONE), table.stands(ONE), [*table.open]) == (0, b"", [ONE])


def test_a_task_is_forgotten_after_its_time_and_an_answer_after_its_own():
    table = table_of(queued(ONE, 10, "g"), queued(TWO, 10, "g"))
    table.apply([answered(TWO, 3, "g", b"{}")], now_s=1.0)
    table.forget(4.5)
    assert (table.stands(ONE), table.stands(TWO)) == (b"", None)
    table.forget(10.5)
    assert (table.stands(ONE), table.open, table.entries) == (None, {}, {})


def test_what_was_written_long_ago_is_as_old_as_it_is():
    table = Table()
    table.apply([queued(ONE, 10, "g"), queued(TWO, 30, "g")], now_s=100.0, age_s=20.0)
    assert (table.stands(ONE), table.entries[TWO].seen_s) == (None, 80.0)
    table.forget(110.5)
    assert table.stands(TWO) is None


def test_a_side_without_need_of_bodies_keeps_none():
    table = table_of(answered(ONE, 60, "g", b"{%b}" % bytes(1000)), keeps_bodies=False)
    assert table.stands(ONE) == b"{}"


@pytest.mark.parametrize("seed", range(5))
def test_readers_that_cut_the_log_differently_come_to_the_same_table(seed):
    rng = random.Random(seed)
    ids = [f"{n:032x}" for n in range(8)]
    makers = [
        lambda one: claimed(one, 60, "d", f"key {rng.randrange(4)}"),
        lambda one: queued(one, 60, "g"),
        taken,
        lambda one: answered(one, 60, "g", b"{%d}" % rng.randrange(100)),
        lambda one: retried(one, 60, "g"),
    ]
    lines = [rng.choice(makers)(rng.choice(ids)) for _ in range(300)]
    whole, cut = Table(), Table()
    first = whole.apply(lines, now_s=0.0)
    found = []
    while lines:
        size = rng.randrange(1, 9)
        found += cut.apply(lines[:size], now_s=0.0)
        lines = lines[size:]
    assert (found, cut.entries, cut.keys, cut.finished) == (first, whole.entries, whole.keys, whole.finished)
    assert [*cut.open] == [*whole.open]
