"""A worker's next batch and its last answers, while its model runs: the local broker over its wire."""

import contextlib
import json

import pytest
from serve_local_broker import answers_of, crash, make_task

from scalelab.serve.broker import BrokerAway


@pytest.mark.parametrize(
    ("run_s", "queued", "sent"),
    [
        (0.001, 3, 2),  # one batch, and no full one beside it
        (0.001, 4, 4),
        (0.010, 2, 1),  # the other worker has its share
        (0.010, 5, 2),  # it could have begun the rest sooner
        (0.010, 6, 4),
        (0.200, 9, 2),
    ],
)
def test_a_batch_lies_ready_beside_the_next_where_that_costs_nobody_much(broker, run_s, queued, sent):
    busy = broker.worker("busy")
    broker.put(make_task(), make_task())
    first = busy.take(2, 0)
    broker.worker("other")
    tasks = [make_task() for _ in range(queued)]
    broker.put(*tasks)
    busy.post(answers_of(first), 2, run_s)
    assert busy.settle() == 2
    assert broker.health().in_flight == sent
    assert [delivery.task for _ in range(0, sent, 2) for delivery in busy.take(2, 0)] == tasks[:sent]


def test_the_reply_to_answers_waits_for_the_next_task_where_the_worker_would(broker):
    worker, later = broker.worker("w"), make_task()
    broker.put(make_task())
    worker.post(answers_of(worker.take(2, 0)), 2, 0.001, 20.0)
    while not broker.gateway._listener.waiting:
        pass
    broker.put(later)
    assert [delivery.task for delivery in worker.take(2, 20.0)] == [later]
    assert broker.health().in_flight == 1


def test_a_reply_that_waited_for_nothing_says_that_answers_are_stored(broker):
    worker = broker.worker("w")
    broker.put(make_task())
    worker.post(answers_of(worker.take(2, 0)), 2, 0.001, 0.05)
    assert worker.settle() == 1
    assert worker.take(2, 0) == []


def test_a_worker_that_has_its_next_batch_does_not_wait_for_the_broker(broker):
    tasks = [make_task() for _ in range(8)]
    broker.put(*tasks)
    worker = broker.worker("w")
    worker.post(answers_of(worker.take(2, 0)), 2, 0.001)
    second = worker.take(2, 0)
    worker._link.receive = None  # nothing is read
    worker.post(answers_of(second), 2, 0.001)
    third = worker.take(2, 0)
    assert [delivery.task for delivery in (*second, *third)] == tasks[2:6]
    del worker._link.receive
    assert worker.finish(answers_of(third)) == 2
    assert broker.health().depth == 2


def test_a_dead_worker_s_task_that_lies_ready_runs_alone(broker):
    broker.put(*[make_task() for _ in range(6)])
    worker, dying = broker.worker("w"), broker.worker("dying")
    (lost,) = dying.take(1, 0)
    worker.post(answers_of(worker.take(1, 0)), 1, 0.001)
    second = worker.take(1, 0)
    dying.cut()
    while not broker.gateway._ledger.table._orphans:
        pass
    worker.post(answers_of(second), 1, 0.001)
    third = worker.take(1, 0)
    worker.post(answers_of(third), 2, 0.001)
    assert worker.take_over() == []
    assert [one.task for one in worker.take(2, 0)] == [lost.task]
    assert len(worker.take(2, 0)) == 2


def test_what_was_posted_as_the_gateway_died_is_stored_by_the_next_call(broker):
    held_task, other_task = make_task(), make_task()
    broker.put(held_task)
    worker = broker.worker("w")
    held = worker.take(1, 0)
    crash(broker)
    with contextlib.suppress(BrokerAway):  # by chance it is seen at once
        worker.post(answers_of(held), 1, 0.001)
    with pytest.raises(BrokerAway):
        worker.take(1, 0)
    broker.open()
    broker.put(other_task)
    assert [delivery.task for delivery in worker.take(1, 0)] == [other_task]
    assert json.loads(broker.look_up(held_task.task_id)[0])["status"] == "done"


def test_what_was_posted_to_a_full_disk_is_stored_when_there_is_room(broker, monkeypatch):
    broker.put(make_task())
    worker = broker.worker("w")
    held = worker.take(1, 0)
    ledger = broker.gateway._ledger

    def full(*_):
        raise BrokerAway("it is full", hint="wait")

    with monkeypatch.context() as disk:
        disk.setattr(ledger, "finish", full)
        worker.post(answers_of(held), 1, 0.001)
        with pytest.raises(BrokerAway, match="full"):
            worker.take(1, 0)
    assert worker.take(1, 0) == []
    assert broker.health().depth == 0


def test_what_a_leaving_worker_was_given_and_did_not_begin_is_no_attempt(broker):
    tasks = [make_task() for _ in range(4)]
    broker.put(*tasks)
    leaving = broker.worker("leaving")
    leaving.post(answers_of(leaving.take(2, 0)), 2, 0.001)
    leaving.leave()
    found = broker.worker("other").take(9, 0)
    assert [(delivery.task, delivery.attempt) for delivery in found] == [(task, 1) for task in tasks[2:]]
