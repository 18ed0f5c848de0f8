"""The contract of every broker: one file, all servers."""

import asyncio
import os
import time
from contextlib import closing

import pytest

from scalelab.core.errors import ConfigError, MissingDependency
from scalelab.serve import embedded
from scalelab.serve.broker import (
    Answer,
    BrokerAway,
    BrokerLimits,
    Put,
    open_gateway_side,
    open_worker_side,
    shown_url,
)
from scalelab.serve.pins import IMAGE_BYTES
from scalelab.serve.protocol import DONE, Task, answer
from scalelab.serve.redis_broker import connect, forget_worker, key_prefix

pytestmark = pytest.mark.slow
IMAGE = bytes(IMAGE_BYTES)
LIMITS = BrokerLimits(max_depth=50, worker_ttl_s=60.0)


class Queue:
    """A queue of its own on the shared server, with both sides at hand."""

    def __init__(self, url):
        self.url, self.name = url, os.urandom(4).hex()
        self.opened = []

    def worker(self, name, limits=LIMITS):
        side = open_worker_side(self.url, queue=self.name, name=name, limits=limits)
        self.opened.append(side)
        return side

    def gateway(self, work, name="gateway", limits=LIMITS):
        async def main():
            side = open_gateway_side(self.url, queue=self.name, name=name, limits=limits)
            try:
                return await work(side)
            finally:
                await side.close()

        return asyncio.run(main())

    def put(self, *tasks, key="", digest="", limits=LIMITS):
        puts = [Put(task, key, digest) for task in tasks]
        return self.gateway(lambda side: side.put(puts), limits=limits)

    def look_up(self, *task_ids):
        return self.gateway(lambda side: side.look_up(task_ids))

    def health(self):
        return self.gateway(lambda side: side.health())

    def die(self, name):
        """Let a worker be seen as dead."""
        with closing(connect(self.url)) as client:
            forget_worker(client, key_prefix(self.name), name)

    def close(self):
        for side in self.opened:
            side.leave()


@pytest.fixture
def queue(broker_url):
    queue = Queue(broker_url)
    yield queue
    queue.close()


def task(deadline_s=60.0, payload=IMAGE):
    return Task(os.urandom(16).hex(), payload, "gateway", deadline_s)


def done(delivery, **fields):
    return Answer(delivery, answer(delivery.task.task_id, DONE, **fields))


def test_a_task_arrives_whole_and_in_order(queue):
    tasks = [task(payload=bytes([n]) * IMAGE_BYTES) for n in range(5)]
    report = queue.put(*tasks)
    assert [placed.task_id for placed in report.placed] == [one.task_id for one in tasks]
    assert report.depth == 5
    worker = queue.worker("w1")
    assert [delivery.task for delivery in worker.take(3, 0)] == tasks[:3]
    assert [delivery.task for delivery in worker.take(3, 0)] == tasks[3:]
    assert worker.take(3, 0) == []


def test_two_workers_never_take_the_same_task(queue):
    queue.put(*[task() for _ in range(10)])
    one, two = queue.worker("w1"), queue.worker("w2")
    taken = [*one.take(6, 0), *two.take(6, 0)]
    assert len({delivery.task.task_id for delivery in taken}) == len(taken) == 10


def test_an_answer_is_stored_announced_and_leaves_the_queue(queue):
    one = task()
    queue.put(one)
    worker = queue.worker("w1")
    assert queue.look_up(one.task_id, "0" * 32) == [b"", None]
    (delivery,) = worker.take(1, 0)
    assert queue.health().depth == 1
    said = done(delivery, result={"pin": "1"})
    assert worker.finish([said]) == 1
    assert queue.look_up(one.task_id) == [said.body]
    assert queue.gateway(lambda side: side.next_answers()) == [(one.task_id, said.body)]
    assert queue.health().depth == 0


def test_only_the_first_answer_counts(queue):
    queue.put(task())
    worker = queue.worker("w1")
    (delivery,) = worker.take(1, 0)
    first = done(delivery, result="first")
    assert worker.finish([first]) == 1
    assert worker.finish([done(delivery, result="second")]) == 0
    assert queue.look_up(delivery.task.task_id) == [first.body]
    assert len(queue.gateway(lambda side: side.next_answers())) == 1


def test_answers_reach_the_gateway_that_asked(queue):
    queue.put(task())
    worker = queue.worker("w1")
    worker.finish([done(delivery) for delivery in worker.take(1, 0)])
    assert queue.gateway(lambda side: side.next_answers(), name="another") == []
    assert len(queue.gateway(lambda side: side.next_answers())) == 1


def test_what_a_dead_worker_held_is_taken_over_one_by_one(queue):
    tasks = [task() for _ in range(3)]
    queue.put(*tasks)
    queue.worker("w1").take(3, 0)
    other = queue.worker("w2")
    assert other.take_over() == []  # w1 lives, however long it takes
    queue.die("w1")
    for wanted in tasks:
        (delivery,) = other.take_over()
        assert (delivery.task, delivery.attempt) == (wanted, 2)
        other.finish([done(delivery)])
    assert other.take_over() == []
    assert queue.health().depth == 0


def test_a_silent_worker_is_dead_after_its_time(queue):
    queue.put(task())
    queue.worker("w1", BrokerLimits(worker_ttl_s=0.05)).take(1, 0)
    other = queue.worker("w2")
    until_s = time.monotonic() + 10
    while not (found := other.take_over()):
        assert time.monotonic() < until_s
    assert found[0].attempt == 2


def test_an_answer_of_a_worker_thought_dead_still_counts_once(queue):
    queue.put(task())
    frozen, other = queue.worker("w1"), queue.worker("w2")
    (held,) = frozen.take(1, 0)
    queue.die("w1")
    (again,) = other.take_over()
    assert frozen.finish([done(held)]) == 1
    assert other.finish([done(again)]) == 0
    assert queue.health().depth == 0


def test_a_task_that_kills_its_workers_becomes_a_dead_letter_alone(queue):
    killer, innocents = task(), [task() for _ in range(4)]
    queue.put(innocents[0], killer, *innocents[1:])
    queue.worker("w0").take(5, 0)  # dies with the whole batch in its hands
    deaths = 1
    while True:
        queue.die(f"w{deaths - 1}")
        worker = queue.worker(f"w{deaths}")
        while (found := worker.take_over()) and found[0].task != killer:
            assert found[0].attempt == 2
            worker.finish([done(found[0])])
        if not found:
            break
        deaths += 1
    assert deaths == LIMITS.max_attempts
    (buried, *fine) = queue.look_up(killer.task_id, *[one.task_id for one in innocents])
    assert b'"status":"failed"' in buried
    assert b"3 times" in buried
    assert all(b'"status":"done"' in said for said in fine)
    assert queue.health().dead_letters == 1


def test_a_full_queue_says_so_and_keeps_what_it_has(queue):
    limits = BrokerLimits(max_depth=2)
    report = queue.put(task(), task(), task(), limits=limits)
    assert [bool(placed.task_id) for placed in report.placed] == [True, True, False]
    worker = queue.worker("w1")
    worker.finish([done(delivery) for delivery in worker.take(1, 0)])
    assert queue.put(task(), limits=limits).placed[0].task_id


def test_a_used_key_names_the_first_task_even_in_a_full_queue(queue):
    first, second = task(), task()
    queue.put(first, key="k 1:x", digest="d1")
    limits = BrokerLimits(max_depth=1)
    (placed,) = queue.put(second, key="k 1:x", digest="d2", limits=limits).placed
    assert (placed.task_id, placed.digest) == (first.task_id, "d1")
    assert queue.look_up(second.task_id) == [None]
    assert queue.health().depth == 1


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
    assert queue.put(task()).finished == 2


def test_results_and_keys_expire(queue):
    limits = BrokerLimits(result_ttl_s=0.02)
    one = task(deadline_s=0.02)
    queue.put(one, key="k", limits=limits)
    worker = queue.worker("w1", limits)
    worker.finish([done(delivery) for delivery in worker.take(1, 0)])
    until_s = time.monotonic() + 10
    while queue.look_up(one.task_id) != [None]:
        assert time.monotonic() < until_s


def test_a_worker_outlives_a_server_that_forgot_everything(queue, broker_url):
    worker = queue.worker("w1")
    with closing(connect(broker_url)) as client:
        client.delete(key_prefix(queue.name) + "tasks")
    assert worker.take(1, 0) == []
    queue.put(task())
    assert len(worker.take(1, 0)) == 1


@pytest.mark.parametrize(
    "fields", [{"p": "short"}, {"p": b"\xff" * 5000}, {"x": "y"}], ids=["short", "long", "other"]
)
def test_an_entry_that_is_no_task_is_removed_and_hurts_nobody(queue, broker_url, fields):
    worker = queue.worker("w1")
    with closing(connect(broker_url)) as client:
        client.xadd(key_prefix(queue.name) + "tasks", fields)
    queue.put(task())
    assert len(worker.take(5, 0)) == 1
    assert queue.health().depth == 1


def test_only_living_workers_are_counted(queue):
    one = queue.worker("w1")
    queue.worker("w2")
    assert queue.health().workers == 2
    queue.die("w2")
    assert queue.health().workers == 1
    one.beat()
    assert queue.health().workers == 1


def test_a_wrong_password_is_said_without_showing_it(broker_url):
    wrong = broker_url.replace("redis://:", "redis://:wrong")
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        connect(wrong)
    assert "wrong" not in caught.value.message.partition("cannot be used")[0]
    assert "PASSWORD" in caught.value.hint
    with pytest.raises(ConfigError) as caught:
        connect("redis://" + broker_url.partition("@")[2])
    assert "PASSWORD" in caught.value.hint


def test_a_broker_that_nobody_serves_is_an_error_with_its_url():
    with pytest.raises(ConfigError, match=r"redis://127\.0\.0\.1:1/0") as caught:
        connect("redis://127.0.0.1:1/0")
    assert "--broker" in caught.value.hint


def test_a_gateway_side_without_server_says_that_it_is_away():
    async def main():
        side = open_gateway_side("redis://127.0.0.1:1/0", queue="q", name="g", limits=LIMITS)
        with pytest.raises(BrokerAway):
            await side.put([Put(task())])
        await side.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "url",
    [
        "http://x",
        "127.0.0.1:6379",
        "redis://",
        "redis://[::1/0",
        "redis://127.0.0.1:abc/0",
        "redis://127.0.0.1:99999/0",
    ],
)
def test_a_url_of_no_broker_is_refused_with_those_that_are(url):
    with pytest.raises(ConfigError, match="no broker URL") as caught:
        open_worker_side(url, queue="q", name="w", limits=LIMITS)
    assert "redis://" in caught.value.hint


def test_a_url_is_shown_without_its_password():
    assert shown_url("redis://:secret@127.0.0.1:6379/0") == "redis://:***@127.0.0.1:6379/0"
    assert shown_url("redis://127.0.0.1:6379/0") == "redis://127.0.0.1:6379/0"
    assert shown_url("redis://me:se/cr@et@[::1/0") == "redis://me:***@[::1/0"


def test_without_a_binary_the_error_says_how_to_go_on(monkeypatch):
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(embedded.shutil, "which", lambda name: None)
    with pytest.raises(MissingDependency, match="no broker binary") as caught:
        embedded.find_server()
    assert "--broker redis://" in caught.value.hint


def test_the_embedded_server_has_a_password_and_keeps_a_journal(tmp_path):
    made = embedded.prepare_embedded(tmp_path / "with space", 7000)
    config = (tmp_path / "with space" / "valkey.conf").read_text()
    assert "appendonly yes" in config
    assert "bind 127.0.0.1" in config
    assert made.url.split(":")[2].split("@")[0] in config
    if os.name == "posix":
        assert (tmp_path / "with space" / "valkey.conf").stat().st_mode & 0o077 == 0
