"""Servers killed with -9 and started again, under load.

Not here: fakeredis, which has no journal, and the local broker, which dies with its gateway.
"""

import threading

import pytest
from serve_brokers import Rabbit, Redis, Valkey, done, task, wait_until

from scalelab.serve.broker import BrokerAway

pytestmark = pytest.mark.slow
KINDS = (Valkey, Redis, Rabbit)


def test_a_server_killed_under_load_loses_nothing_and_answers_nothing_twice(queue):
    """Gateway and worker stay as they are, and go on by themselves."""
    accepted, answered, ended = [], {}, threading.Event()

    def put_for_ever():
        while not ended.is_set():
            one = task()
            try:
                if queue.put(one, key=one.task_id).placed[0].task_id:
                    accepted.append(one.task_id)
            except BrokerAway:
                ended.wait(0.02)
            ended.wait(0.001)

    def work_for_ever():
        worker, answers = queue.worker("w1"), []
        while not ended.is_set() or answers:
            try:
                if not answers:
                    taken = worker.take_over() or worker.take(4, 0.1)
                    answers = [done(delivery, attempt=delivery.attempt) for delivery in taken]
                worker.finish(answers)
                answers = []
            except BrokerAway:
                ended.wait(0.02)

    def hear_for_ever():
        while not ended.is_set():
            try:
                for task_id, body in queue.answers():
                    answered.setdefault(task_id, []).append(body)
            except BrokerAway:
                ended.wait(0.02)

    threads = [threading.Thread(target=work) for work in (put_for_ever, work_for_ever, hear_for_ever)]
    queue.side()
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answered) > 20, "twenty answers")
    queue.restart()
    count = len(accepted)
    wait_until(lambda: len(accepted) > count + 20, "twenty more tasks")
    ended.set()
    for thread in threads:
        thread.join()
    worker = queue.workers["w1"]

    def unanswered():
        if left := worker.take_over() or worker.take(50, 0):
            worker.finish([done(delivery) for delivery in left])
        return [task_id for task_id in accepted if not queue.look_up(task_id)[0]]

    wait_until(lambda: not unanswered(), "an answer for all that was accepted")
    assert all(len(set(bodies)) == 1 for bodies in answered.values())
    assert all(queue.look_up(task_id) == [bodies[0]] for task_id, bodies in answered.items())
