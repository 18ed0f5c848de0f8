"""The contract of every broker: one file, all servers."""

import asyncio
import threading
import time

import pytest
from serve_brokers import LIMITS, Fake, Local, Rabbit, Redis, Valkey, among, done, repeat, task, wait_until

from scalelab.serve.broker import Answer, BrokerLimits, Health, Put

pytestmark = pytest.mark.slow
KINDS = (Valkey, Redis, Fake, Local, Rabbit)


@pytest.fixture(scope="module", autouse=True)
def _begin(rabbitmq):
    """Let RabbitMQ start while the others are tested."""


def test_a_task_arrives_whole_and_in_order(queue):
    tasks = [task(payload=b"x" * n) for n in (0, 1, 50, 1000, 60_000)]
    report = queue.put(*tasks)
    assert [placed.task_id for placed in report.placed] == [one.task_id for one in tasks]
    assert report.depth == 5
    worker = queue.worker("w1")
    assert [delivery.task for delivery in worker.take(3, 0)] == tasks[:3]
    assert [delivery.task for delivery in worker.take(3, 0)] == tasks[3:]
    assert worker.take(3, 0) == []


def test_two_workers_never_take_the_same_task(queue):
    queue.put(*[task() for _ in range(10)])
    one, other = queue.worker("w1"), queue.worker("w2")
    taken = []
    while batch := [*one.take(6, 0), *other.take(6, 0)]:
        taken += batch
    assert len({delivery.task.task_id for delivery in taken}) == len(taken) == 10


def test_a_task_of_higher_priority_is_taken_first(queue):
    by_priority = [[task(priority=n) for _ in range(2)] for n in range(3)]
    low_first = [one for same in reversed(by_priority) for one in same]
    queue.put(*low_first)
    worker = queue.worker("w1")
    taken = [*worker.take(3, 0), *worker.take(3, 0)]
    assert [delivery.task for delivery in taken] == [one for same in by_priority for one in same]


@among(kind for kind in KINDS if kind is not Fake)  # it does not wait at several streams
def test_a_worker_that_waits_gets_what_comes(queue):
    worker, one = queue.worker("w1"), task(priority=2)
    taken = []
    waiting = threading.Thread(target=lambda: taken.extend(worker.take(4, 30.0)))
    waiting.start()
    queue.put(one)
    waiting.join()
    assert [delivery.task for delivery in taken] == [one]
    assert 0 <= taken[0].waited_s < 30


def test_an_answer_is_stored_announced_and_leaves_the_queue(queue):
    one = task()
    queue.put(one)
    worker = queue.worker("w1")
    assert queue.look_up(one.task_id, "0" * 32) == [b"", None]
    (delivery,) = worker.take(1, 0)
    assert queue.health().depth == 1
    said = done(delivery, result={"pin": "1"})
    assert worker.finish([said]) == 1
    wait_until(lambda: queue.look_up(one.task_id) == [said.body], "the answer")
    assert wait_until(queue.answers, "its announcement") == [(one.task_id, said.body)]
    assert queue.health().depth == 0


def test_what_is_posted_is_stored_once_it_is_settled(queue):
    queue.put(task(), task(), task())
    worker = queue.worker("w1")
    first = wait_until(lambda: worker.take(1, 0), "a task")
    worker.post([done(one) for one in first], 1, 0.001)
    second = wait_until(lambda: worker.take(1, 0.5), "the next")
    worker.post([done(one) for one in second], 1, 0.001)
    worker.settle()
    for one in (*first, *second):
        wait_until(lambda one=one: queue.look_up(one.task.task_id) == [done(one).body], "its answer")
    wait_until(lambda: queue.health().depth == 1, "one left")


def test_health_tells_what_is_in_flight_and_how_old_the_oldest_is(queue):
    assert (queue.health().in_flight, queue.health().oldest_s) == (0, 0)
    queue.put(task(), task(), task())
    worker = queue.worker("w1")
    taken = worker.take(2, 1.0)
    wait_until(lambda: (queue.health().depth, queue.health().in_flight) == (3, 2), "two in flight")
    first_s = queue.health().oldest_s
    wait_until(lambda: queue.health().oldest_s > first_s, "that it ages")
    worker.finish([done(one) for one in taken])
    wait_until(lambda: queue.health().depth == 1, "one left")  # which may have been sent ahead to the worker
    assert queue.health().oldest_s > 0
    worker.finish([done(one) for one in worker.take(2, 1.0)])
    wait_until(lambda: queue.health() == Health(0, 1, 0), "an empty queue")


def test_only_the_first_answer_counts(queue):
    queue.put(task())
    worker = queue.worker("w1")
    (delivery,) = worker.take(1, 0)
    first = done(delivery, result="first")
    assert worker.finish([first]) == 1
    assert worker.finish([done(delivery, result="second")]) == 0
    assert wait_until(queue.answers, "its announcement") == [(delivery.task.task_id, first.body)]
    assert queue.look_up(delivery.task.task_id) == [first.body]


@among(kind for kind in KINDS if kind is not Local)  # it has one gateway
def test_answers_reach_the_gateway_that_asked_and_all_can_look_them_up(queue):
    queue.put(task())
    queue.side("another")
    worker = queue.worker("w1")
    (delivery,) = worker.take(1, 0)
    worker.finish([done(delivery)])
    assert len(wait_until(queue.answers, "the announcement")) == 1
    assert queue.answers("another") == []
    assert queue.look_up(delivery.task.task_id, name="another") == queue.look_up(delivery.task.task_id)


def test_what_a_dead_worker_held_is_taken_over_one_by_one(queue):
    tasks = [task() for _ in range(3)]
    queue.put(*tasks)
    queue.worker("w1").take(3, 0)
    other = queue.worker("w2")
    assert other.take_over() == []  # w1 lives, however long it takes
    queue.die("w1")
    for wanted in tasks:
        (delivery,) = wait_until(other.take_over, "what w1 held")
        assert (delivery.task, delivery.attempt) == (wanted, 2)
        other.finish([done(delivery)])
    assert other.take_over() == []
    assert queue.health().depth == 0


def test_an_answer_of_a_worker_thought_dead_still_counts_once(queue):
    queue.put(task())
    frozen = queue.worker("w1")
    (held,) = frozen.take(1, 0)
    other = queue.worker("w2")
    queue.die("w1")
    (again,) = wait_until(other.take_over, "what w1 held")
    assert repeat(lambda: frozen.finish([done(held)])) == 1
    assert other.finish([done(again)]) == 0
    wait_until(lambda: queue.health().depth == 0, "an empty queue")


def test_a_task_that_kills_its_workers_becomes_a_dead_letter_alone(queue):
    killer, innocents = task(), [task() for _ in range(3)]
    queue.put(innocents[0], killer, *innocents[1:])
    queue.worker("w0").take(5, 0)  # dies with the whole batch in its hands
    queue.die("w0")
    for deaths in range(1, LIMITS.max_attempts):
        worker = queue.worker(f"w{deaths}")
        while (found := wait_until(worker.take_over, "what was held"))[0].task != killer:
            assert found[0].attempt == 2
            worker.finish([done(found[0])])
        assert found[0].attempt == deaths + 1
        queue.die(f"w{deaths}")
    last = queue.worker("last")

    def is_over():
        last.finish([done(delivery) for delivery in last.take_over()])
        return queue.health().depth == 0

    wait_until(is_over, "an empty queue")
    (buried, *fine) = queue.look_up(killer.task_id, *[one.task_id for one in innocents])
    assert b'"status":"failed"' in buried
    assert b"3 times" in buried
    assert all(b'"status":"done"' in said for said in fine)
    (letter,) = queue.letters().list(10)
    assert (letter.task_id, letter.payload) == (killer.task_id, killer.payload)


def test_what_was_given_back_comes_again_after_its_time_and_as_another_attempt(queue):
    queue.put(task())
    worker = queue.worker("w1")
    (delivery,) = worker.take(1, 0)
    began_s = time.monotonic()
    worker.give_back([delivery], after_s=0.3)
    assert queue.health().depth == 1
    again = queue.taken_again(worker)
    assert time.monotonic() - began_s > 0.29
    assert (again.task, again.attempt) == (delivery.task, 2)
    assert worker.finish([done(again)]) == 1


def test_what_is_given_back_too_often_is_buried(queue):
    one = task()
    queue.put(one)
    worker = queue.worker("w1")
    (delivery,) = worker.take(1, 0)
    while delivery.attempt < LIMITS.max_attempts:
        worker.give_back([delivery], after_s=0)
        delivery = queue.taken_again(worker)
    worker.give_back([delivery], after_s=0)
    wait_until(lambda: worker.take_over() == [] and queue.health().dead_letters == 1, "the burial")
    assert b'"status":"failed"' in queue.look_up(one.task_id)[0]
    assert queue.health().depth == 0


def test_a_cancelled_task_is_answered_and_not_given_out(queue):
    cancelled, other = task(), task()
    queue.put(cancelled, other)
    body = queue.cancel(cancelled.task_id)
    assert b'"status":"cancelled"' in body
    assert queue.cancel(cancelled.task_id) == body
    assert queue.cancel("0" * 32) is None
    assert wait_until(queue.answers, "its announcement") == [(cancelled.task_id, body)]
    worker = queue.worker("w1")
    assert [delivery.task for delivery in worker.take(5, 0)] == [other]
    assert queue.health().depth == 1


def test_an_answer_stands_against_a_late_cancel_and_a_cancel_against_a_late_answer(queue):
    one, two = task(), task()
    queue.put(one, two)
    worker = queue.worker("w1")
    first, second = worker.take(2, 0)
    said = done(first)
    worker.finish([said])
    assert wait_until(lambda: queue.look_up(one.task_id)[0], "the answer") == said.body
    assert queue.cancel(one.task_id) == said.body
    body = queue.cancel(two.task_id)
    assert worker.finish([done(second)]) == 0
    assert queue.look_up(two.task_id) == [body]
    assert queue.health().depth == 0


def test_dead_letters_are_listed_retried_and_dropped(queue):
    tasks = [task(payload=bytes([n])) for n in range(3)]
    queue.put(*tasks)
    worker = queue.worker("w1")
    taken = worker.take(3, 0)
    worker.finish([Answer(one, done(one).body, dead_letter=f"reason {n}") for n, one in enumerate(taken)])
    letters = queue.letters()
    found = letters.list(10)
    assert [(one.task_id, one.reason, one.payload) for one in found] == [
        (one.task_id, f"reason {n}", one.payload) for n, one in enumerate(tasks)
    ]
    assert all(abs(one.at_s - time.time()) < 60 for one in found)
    assert [one.task_id for one in letters.list(1)] == [tasks[2].task_id]
    ids = [one.task_id for one in tasks]
    assert letters.drop([ids[0], "0" * 32]) == 1
    assert letters.retry([ids[0], ids[1]]) == 1
    assert [one.task_id for one in letters.list(10)] == [ids[2]]
    wait_until(lambda: queue.look_up(ids[1]) == [b""], "a task without answer again")
    (again,) = wait_until(lambda: worker.take(5, 0.1), "the task that is tried again")
    assert (again.task, again.attempt) == (tasks[1], 1)
    assert worker.finish([done(again)]) == 1


def test_a_full_queue_says_so_and_keeps_what_it_has(queue):
    limits = BrokerLimits(max_depth=2)
    report = queue.put(task(), task(), task(), limits=limits)
    assert [bool(placed.task_id) for placed in report.placed] == [True, True, False]
    worker = queue.worker("w1", limits)
    worker.finish([done(delivery) for delivery in worker.take(1, 0)])
    wait_until(lambda: queue.put(task(), limits=limits).placed[0].task_id, "room in the queue")


def test_a_used_key_names_the_first_task_even_in_a_full_queue(queue):
    first, second = task(), task()
    limits = BrokerLimits(max_depth=1)
    queue.put(first, key="k 1:x", digest="d1", limits=limits)
    (placed,) = queue.put(second, key="k 1:x", digest="d2", limits=limits).placed
    assert (placed.task_id, placed.digest) == (first.task_id, "d1")
    assert queue.look_up(second.task_id) == [None]
    assert queue.health().depth == 1


@among(kind for kind in KINDS if kind is not Local)  # it has one gateway
def test_one_key_at_two_gateways_names_one_task(queue):
    tasks = [task() for _ in range(6)]
    sides = [queue.side(name) for name in ("a", "b", "c")]

    async def all_at_once():
        puts = [side.put([Put(one, "key", "d")]) for one, side in zip(tasks, sides * 2, strict=True)]
        return await asyncio.gather(*puts)

    named = {report.placed[0].task_id for report in queue.run(all_at_once())}
    assert len(named) == 1
    assert [delivery.task.task_id for delivery in queue.worker("w1").take(6, 0)] == [*named]


def test_the_same_put_again_does_not_queue_twice(queue):
    one = task()
    queue.put(one)
    assert queue.put(one).placed[0].task_id == one.task_id
    assert queue.health().depth == 1


def test_a_task_past_its_deadline_is_marked(queue):
    queue.put(task(deadline_s=0.001), task(deadline_s=60.0))
    worker = queue.worker("w1")
    until_s = time.monotonic() + 0.02
    while time.monotonic() < until_s:
        worker.beat()
    assert [delivery.is_expired for delivery in worker.take(2, 0)] == [True, False]


def test_the_count_of_answers_grows_with_the_answers(queue):
    queue.put(task(), task())
    worker = queue.worker("w1")
    worker.finish([done(delivery) for delivery in worker.take(2, 0)])
    wait_until(lambda: queue.put(task()).finished == 2, "two answers counted")


def test_results_and_keys_expire(queue):
    limits = BrokerLimits(result_ttl_s=0.02)
    one = task(deadline_s=1.0)
    queue.put(one, key="k", limits=limits)
    worker = queue.worker("w1", limits)
    worker.finish([done(delivery) for delivery in worker.take(1, 0)])
    side = queue.side(limits=limits)
    wait_until(lambda: queue.run(side.look_up([one.task_id])) == [None], "a forgotten answer")
    other = task()
    wait_until(
        lambda: queue.put(other, key="k", limits=limits).placed[0].task_id == other.task_id, "a forgotten key"
    )


def test_only_living_workers_are_counted(queue):
    one = queue.worker("w1")
    queue.worker("w2").beat()
    one.beat()
    wait_until(lambda: queue.health().workers == 2, "two workers")
    queue.die("w2")
    wait_until(lambda: queue.health().workers == 1, "one worker")
    one.beat()
    assert queue.health().workers == 1
