"""The laws of the local broker's table. Time is an argument: nothing waits here."""

import random

import pytest
from serve_local_broker import make_task

from scalelab.serve.broker import BrokerLimits, Put
from scalelab.serve.local.table import Table
from scalelab.serve.protocol import PRIORITIES

LIMITS = BrokerLimits(max_depth=10, result_ttl_s=80.0, max_attempts=3, worker_ttl_s=2.0)


@pytest.fixture
def table():
    return Table(LIMITS)


def put(table, *tasks, key="", digest="", now_s=0.0):
    return table.put([Put(task, key, digest) for task in tasks], now_s)[0]


def taken(table, worker="w", count=10, now_s=0.0):
    return [entry.task_id for entry in table.take(worker, count, now_s)]


def ids(tasks):
    return [task.task_id for task in tasks]


def test_higher_priorities_come_first_and_of_one_priority_the_older(table):
    low, high, normal = (PRIORITIES.index(name) for name in ("low", "high", "normal"))
    tasks = [make_task(priority=one) for one in (low, normal, high, normal, high)]
    put(table, *tasks)
    assert taken(table, count=3) == ids([tasks[2], tasks[4], tasks[1]])
    assert taken(table) == ids([tasks[3], tasks[0]])


def test_a_full_table_refuses_new_tasks_and_knows_the_old(table):
    tasks = [make_task() for _ in range(11)]
    placed = put(table, *tasks)
    assert [bool(one.task_id) for one in placed] == [True] * 10 + [False]
    assert put(table, tasks[3])[0].task_id == tasks[3].task_id
    table.finish([(tasks[0].task_id, b"{}")], 0.0)
    assert put(table, tasks[10])[0].task_id
    assert put(table, tasks[0])[0].task_id == tasks[0].task_id
    assert table.look_up(tasks[0].task_id) == b"{}"  # put again after its answer, and not queued again


def test_a_key_names_its_first_task_within_one_call_too(table):
    first, second = make_task(), make_task()
    placed = put(table, first, second, key="k", digest="d")
    assert [(one.task_id, one.digest) for one in placed] == [(first.task_id, "d")] * 2
    assert table.look_up(second.task_id) is None


def test_what_was_not_written_down_was_never_put(table):
    kept, lost = make_task(), make_task()
    put(table, kept)
    _, fresh = table.put([Put(lost, "k", "d")], 0.0)
    table.forget(fresh)
    assert table.look_up(lost.task_id) is None
    assert taken(table) == [kept.task_id]
    assert put(table, make_task(), key="k", digest="other")[0].digest == "other"


@pytest.mark.parametrize("place", ["queued", "held", "orphan", "delayed", "exhausted"])
def test_an_answer_counts_wherever_its_task_is_and_only_once(table, place):
    task = make_task()
    put(table, task)
    for _ in range({"queued": 0, "exhausted": 3}.get(place, 1)):
        taken(table, "w1")
        if place in ("orphan", "exhausted"):
            table.lose("w1")
    if place == "delayed":
        table.give_back("w1", [task.task_id], ready_s=5.0)
    closed, _ = table.finish([(task.task_id, b"first"), (task.task_id, b"second")], 1.0)
    assert ids(closed) == [task.task_id]
    assert table.finish([(task.task_id, b"third")], 1.0)[0] == []
    assert (table.look_up(task.task_id), table.finished, len(table.open)) == (b"first", 1, 0)
    assert (taken(table, "w2", now_s=9.0), table.held_count(), len(table.exhausted)) == ([], 0, 0)


def test_orphans_come_before_all_others_each_alone(table):
    orphans, fresh = [make_task() for _ in range(3)], [make_task() for _ in range(2)]
    put(table, *orphans)
    taken(table, "dead")
    put(table, *fresh)
    assert table.take_over("w", 0.0) == []
    table.lose("dead")
    assert [taken(table), taken(table), taken(table)] == [[one] for one in ids(orphans)]
    assert taken(table) == ids(fresh)


def test_a_task_that_kills_its_workers_is_exhausted_after_its_attempts(table):
    task = make_task()
    put(table, task)
    for attempt in (1, 2, 3):
        (entry,) = table.take(f"w{attempt}", 1, 0.0)
        assert entry.attempts == attempt
        table.lose(f"w{attempt}")
    assert list(table.exhausted) == [task.task_id]
    assert taken(table) == []
    assert table.look_up(task.task_id) == b""


def test_what_was_given_back_rests_and_then_is_the_oldest(table):
    first, second = make_task(), make_task()
    put(table, first)
    taken(table)
    table.give_back("w", [first.task_id], ready_s=5.0)
    put(table, second)
    assert table.count_ready(4.9) == 1
    assert table.count_ready(5.0) == 2
    assert taken(table, count=1, now_s=5.0) == [first.task_id]


def test_what_was_not_begun_is_at_the_front_again(table):
    tasks = [make_task() for _ in range(4)]
    put(table, *tasks)
    table.untake("w", taken(table, count=2))
    assert taken(table) == ids(tasks)


def test_giving_back_counts_as_an_attempt_and_not_beginning_does_not(table):
    task = make_task()
    put(table, task)
    for _ in range(5):
        taken(table)
        table.untake("w", [task.task_id])
    for _ in range(3):
        assert taken(table) == [task.task_id]
        table.give_back("w", [task.task_id], ready_s=0.0)
    assert list(table.exhausted) == [task.task_id]


def test_nobody_gives_back_what_another_holds(table):
    task = make_task()
    put(table, task)
    taken(table, "w1")
    table.give_back("w2", [task.task_id, "0" * 32], ready_s=0.0)
    table.untake("w2", [task.task_id])
    assert (table.count_ready(1.0), table.held_count()) == (0, 1)


def test_a_worker_that_comes_back_keeps_what_it_holds_and_no_more(table):
    held, lost, waiting = (make_task() for _ in range(3))
    put(table, held, lost, waiting)
    taken(table, "w1", 2)
    table.adopt("w1", [held.task_id, "0" * 32], 1.0, ttl_s=2.0)
    assert taken(table, "w2") == [lost.task_id]  # it was on the wire when the connection broke
    table.adopt("w1", [held.task_id, lost.task_id, waiting.task_id], 2.0, ttl_s=2.0)
    assert taken(table, "w3") == []
    table.lose("w2")
    assert taken(table, "w3") == [lost.task_id]


def test_silence_is_death_unless_it_was_we_who_slept(table):
    table.see("w1", 0.0, ttl_s=2.0)
    table.see("w2", 1.5, ttl_s=2.0)
    assert table.silent(2.1) == ["w1"]
    table.shift(10.0)
    assert table.silent(12.0) == []
    assert table.silent(12.1) == ["w1"]
    assert table.health(0.0).workers == 2
    table.lose("w1")
    assert table.health(0.0).workers == 1


def test_answers_and_their_keys_go_after_their_time(table):
    task = make_task()
    put(table, task, key="k", digest="d")
    table.finish([(task.task_id, b"{}")], 0.0)
    table.expire(80.0)
    assert table.look_up(task.task_id) == b"{}"
    assert put(table, make_task(), key="k")[0].task_id == task.task_id
    table.expire(90.1)
    assert table.look_up(task.task_id) is None
    again = make_task()
    assert put(table, again, key="k")[0].task_id == again.task_id


def test_too_many_answers_push_out_the_oldest():
    table = Table(LIMITS, max_answer_bytes=3000)
    tasks = [make_task() for _ in range(10)]
    put(table, *tasks)
    for second, task in enumerate(tasks):
        table.finish([(task.task_id, bytes(300))], 11.0 * second)
        table.expire(11.0 * second)
    kept = [table.look_up(task.task_id) is not None for task in tasks]
    assert kept == [False] * 5 + [True] * 5


def test_whatever_happens_each_task_has_one_place_and_one_answer():
    chance = random.Random(0)
    table = Table(BrokerLimits(max_depth=30, max_attempts=4, result_ttl_s=1e9))
    held = {name: set() for name in "abc"}
    answers, put_ids, now_s = {}, set(), 0.0
    for _ in range(4000):
        now_s += chance.random()
        name = chance.choice("abc")
        step = chance.choice(
            ["put", "take", "take", "finish", "finish", "lose", "give_back", "untake", "late"]
        )
        mine = chance.sample(sorted(held[name]), min(len(held[name]), chance.randint(0, 4)))
        if step == "put":
            tasks = [
                make_task(priority=chance.randrange(3), task_id=chance.randbytes(16).hex())
                for _ in range(chance.randint(1, 5))
            ]
            put_ids |= {one.task_id for one in put(table, *tasks, now_s=now_s) if one.task_id}
        elif step == "take":
            held[name] |= set(taken(table, name, chance.randint(1, 5), now_s))
        elif step == "lose":
            table.lose(name)
            held[name].clear()
        elif step == "give_back":
            table.give_back(name, mine, ready_s=now_s + chance.random() * 5)
            held[name] -= set(mine)
        elif step == "untake":
            table.untake(name, mine)
            held[name] -= set(mine)
        else:
            said = mine if step == "finish" else chance.sample(sorted(put_ids), min(2, len(put_ids)))
            closed, _ = table.finish([(task_id, f"{name}{now_s}".encode()) for task_id in said], now_s)
            assert not answers.keys() & set(ids(closed))
            answers |= {entry.task_id: table.look_up(entry.task_id) for entry in closed}
            for hands in held.values():
                hands -= set(ids(closed))
        places = [entry.home for entry in table.open.values()]
        assert all(task_id in place for task_id, place in zip(table.open, places, strict=True))
        assert put_ids == answers.keys() | table.open.keys()
        assert table.held_count() == sum(map(len, held.values()))
    assert len(answers) > 400
    assert all(table.look_up(task_id) == body for task_id, body in answers.items())
