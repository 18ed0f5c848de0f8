"""The local broker over its wire: real sockets on loopback, one event loop, workers in this process."""

import asyncio
import contextlib
import json
import socket
import struct
import threading

import pytest
from serve_local_broker import answers_of, crash, done, make_task

from scalelab.core.errors import ConfigError
from scalelab.serve.broker import Answer, BrokerAway, BrokerLimits, open_gateway_side, open_worker_side
from scalelab.serve.local import frames
from scalelab.serve.local.address import Address


def test_a_worker_that_waits_is_given_a_task_at_once(broker):
    worker, found = broker.worker("w"), []
    waiting = threading.Thread(target=lambda: found.extend(worker.take(4, 20.0)))
    waiting.start()
    task = make_task(b"\x00payload\xff")
    broker.put(task)
    waiting.join(10)
    assert [delivery.task for delivery in found] == [task]
    assert 0 <= found[0].waited_s < 10


def test_a_heartbeat_does_not_read_while_a_reply_is_awaited(broker, monkeypatch):
    """It looked whether something had come, the reply was taken meanwhile, and both stood still for 10 s."""
    worker, found, looked = broker.worker("w"), [], []
    worker.beat()
    link = worker._link
    monkeypatch.setattr(type(link), "is_open", lambda link: looked.append(link) or True)
    waiting = threading.Thread(target=lambda: found.extend(worker.take(1, 20.0)))
    waiting.start()
    while not broker.gateway._listener.waiting:
        pass
    worker.beat()
    assert looked == []
    broker.put(make_task())
    waiting.join(10)
    worker.beat()
    assert (len(found), looked) == (1, [link])


def test_workers_that_wait_share_what_comes(broker):
    workers, found = [broker.worker(name) for name in "ab"], {}
    threads = [
        threading.Thread(target=lambda one=one: found.update({one: one.take(16, 20.0)})) for one in workers
    ]
    for thread in threads:
        thread.start()
    while len(broker.gateway._listener.waiting) < 2:
        pass
    broker.put(*[make_task() for _ in range(6)])
    for thread in threads:
        thread.join(10)
    assert [len(found[one]) for one in workers] == [3, 3]


def test_a_dead_worker_s_tasks_go_at_once_to_one_that_waits(broker):
    task = make_task()
    broker.put(task)
    dying, waiting, found = broker.worker("dying"), broker.worker("waiting"), []
    dying.take(1, 0)
    thread = threading.Thread(target=lambda: found.extend(waiting.take(9, 20.0)))
    thread.start()
    dying.cut()
    thread.join(10)
    assert [(delivery.task, delivery.attempt) for delivery in found] == [(task, 2)]


def test_a_frozen_worker_loses_its_tasks_and_is_heard_if_it_answers_first(broker):
    broker.put(make_task(), make_task())
    frozen = broker.worker("frozen", BrokerLimits(worker_ttl_s=0.05))
    held = frozen.take(2, 0)
    other = broker.worker("other")
    (again,) = other.take(9, 20.0)  # each alone
    assert (again.attempt, broker.health().workers) == (2, 1)
    assert frozen.finish(answers_of(held, by="frozen")) == 2
    assert other.finish(answers_of([again], by="other")) == 0
    assert b"frozen" in broker.look_up(again.task.task_id)[0]
    assert other.take(9, 0) == []


def test_a_worker_keeps_its_tasks_over_a_restart_and_hands_in_its_answers(broker):
    tasks = [make_task() for _ in range(3)]
    broker.put(*tasks)
    url, worker = broker.address.url(), broker.worker("w")
    held = worker.take(2, 0)
    crash(broker)
    with pytest.raises(BrokerAway):
        worker.finish(answers_of(held))
    broker.open()
    other = open_worker_side(url, queue="q", name="other", limits=broker.limits)
    broker.workers.append(other)
    assert [delivery.task for delivery in other.take(9, 0)] == [tasks[2]]
    assert worker.finish(answers_of(held)) == 2
    assert other.take_over() == []
    assert [json.loads(body)["status"] for body in broker.look_up(*[task.task_id for task in tasks[:2]])] == [
        "done",
        "done",
    ]


def test_a_gateway_that_ends_waits_for_answers_and_gives_out_no_more(broker):
    broker.put(make_task(), make_task())
    worker = broker.worker("w")
    held = worker.take(1, 0)
    ending = threading.Thread(target=lambda: broker.run(broker.gateway.close()))
    ending.start()
    while not broker.gateway._listener.is_draining:
        pass
    assert worker.take(1, 0) == []
    assert worker.finish(answers_of(held)) == 1
    ending.join(10)
    broker.open()
    assert broker.look_up(held[0].task.task_id)[0].startswith(b'{"task_id"')


def test_a_cancelled_task_is_not_given_out_and_its_answer_stands(broker):
    task, held = make_task(), make_task()
    broker.put(held, task)
    worker = broker.worker("w")
    in_work = worker.take(1, 0)
    for one in (held, task):
        said = broker.run(broker.gateway.cancel(one.task_id))
        assert json.loads(said)["status"] == "cancelled"
        assert broker.look_up(one.task_id) == [said]
    assert worker.take(9, 0) == []
    assert worker.finish(answers_of(in_work)) == 0
    assert broker.run(broker.gateway.cancel("0" * 32)) is None
    assert len(broker.run(broker.gateway.next_answers())) == 2


def test_what_is_given_back_too_often_is_a_dead_letter_that_can_be_retried_or_dropped(broker):
    task = make_task()
    broker.put(task)
    worker, letters = broker.worker("w"), broker.letters()
    for attempt in (1, 2, 3):
        (delivery,) = worker.take(1, 20.0)
        assert delivery.attempt == attempt
        worker.give_back([delivery], after_s=0.0)
    assert worker.take(1, 0) == []
    (letter,) = letters.list(9)
    assert (letter.task_id, letter.payload) == (task.task_id, task.payload)
    assert "3 times" in letter.reason
    assert letters.retry([task.task_id]) == 1
    (delivery,) = worker.take(1, 20.0)
    assert (delivery.attempt, letters.list(9), broker.look_up(task.task_id)) == (1, [], [b""])
    worker.finish([Answer(delivery, done(task.task_id), dead_letter="bad")])
    assert letters.drop([task.task_id]) == 1
    assert (letters.list(9), broker.health().dead_letters) == ([], 0)
    assert broker.look_up(task.task_id) == [done(task.task_id)]


@pytest.mark.parametrize("part", ["token", "queue"])
def test_a_peer_with_the_wrong_word_is_refused(broker, part):
    address, queue = broker.address, "q"
    if part == "token":
        address = Address("wrong", address.host, address.port, address.folder)
    else:
        queue = "other"
    with pytest.raises(ConfigError, match=part) as caught:
        open_worker_side(address.url(), queue=queue, name="w", limits=broker.limits).take(1, 0)
    assert broker.address.token not in str(caught.value)


def hello(broker, **changes):
    said = {
        "version": frames.VERSION,
        "token": broker.address.token,
        "queue": "q",
        "name": "evil",
        "ttl_s": 9,
        "held": [],
    }
    return frames.frame(frames.HELLO, json.dumps({**said, **changes}).encode())


HOSTILE = {
    "garbage": lambda broker: b"GET / HTTP/1.1\r\n\r\n" + bytes(range(256)),
    "no hello": lambda broker: frames.frame(frames.TAKE, frames.TAKE_BODY.pack(9, 0)),
    "hello that is no JSON": lambda broker: frames.frame(frames.HELLO, b"{"),
    "hello that is a list": lambda broker: frames.frame(frames.HELLO, b"[]"),
    "huge length": lambda broker: struct.pack(">IB", 2**32 - 1, frames.HELLO),
    "huge length after hello": lambda broker: hello(broker) + struct.pack(">IB", 2**32 - 1, frames.ANSWERS),
    "held that is no list": lambda broker: hello(broker, held=7),
    "name without end": lambda broker: hello(broker, name="x" * 1000),
    "silence of no length": lambda broker: hello(broker, ttl_s=float("nan")),
    "unknown kind": lambda broker: hello(broker) + frames.frame(77),
    "answers cut short": lambda broker: (
        hello(broker) + frames.frame(frames.ANSWERS, b"\0\0", bytes(30) + b"x")
    ),
    "answer beyond its frame": lambda broker: (
        hello(broker) + frames.frame(frames.ANSWERS, b"\0\0" + bytes(16) + b"\xff" * 6)
    ),
    "half an id": lambda broker: hello(broker) + frames.frame(frames.GIVE_BACK, bytes(4 + 15)),
    "take that is too short": lambda broker: hello(broker) + frames.frame(frames.TAKE, b"x"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_peer_that_sends_what_is_no_frame_is_cut_off_alone(broker, name):
    worker = broker.worker("good")
    broker.put(make_task())
    (held,) = worker.take(1, 0)
    with socket.create_connection((broker.address.host, broker.address.port), timeout=10) as evil:
        evil.sendall(HOSTILE[name](broker))
        with contextlib.suppress(ConnectionError):
            while evil.recv(65536):
                pass
    assert worker.finish(answers_of([held])) == 1
    assert broker.health().workers == 1


@pytest.mark.parametrize("start", [b"", b"\0", hello], ids=["nothing", "half a head", "half a frame"])
def test_a_peer_that_is_slow_keeps_nobody_waiting_and_may_go_on(broker, start):
    begun = start(broker)[:-3] if callable(start) else start
    with socket.create_connection((broker.address.host, broker.address.port), timeout=10) as slow:
        slow.sendall(begun)
        worker = broker.worker("good")
        broker.put(make_task())
        assert worker.finish(answers_of(worker.take(1, 0))) == 1
        if callable(start):
            slow.sendall(start(broker)[-3:])
            assert slow.recv(5)[4] == frames.TASKS
            assert broker.health().workers == 2


def test_a_peer_that_does_not_say_who_it_is_is_cut_off(broker, monkeypatch):
    monkeypatch.setattr("scalelab.serve.local.listener._HELLO_S", 0.05)
    address = (broker.address.host, broker.address.port)
    with socket.create_connection(address, timeout=10) as silent, contextlib.suppress(ConnectionError):
        assert silent.recv(1) == b""


def test_a_batch_larger_than_any_buffer_arrives_whole(broker):
    tasks = [make_task(bytes([n]) * 700_000) for n in range(5)]
    broker.put(*tasks)
    worker = broker.worker("w")
    held = worker.take(5, 0)
    assert [delivery.task for delivery in held] == tasks
    assert worker.finish(answers_of(held, text="x" * 700_000)) == 5
    assert len(broker.look_up(tasks[4].task_id)[0]) > 700_000


def test_an_answer_beyond_every_limit_is_said_and_others_go_in_frames_of_their_own(broker, monkeypatch):
    monkeypatch.setattr(frames, "MAX_FRAME_BYTES", 1000)
    broker.put(make_task(), make_task(), make_task())
    worker = broker.worker("w")
    small, large, huge = worker.take(3, 0)
    said = [*answers_of([small, large], text="x" * 350), *answers_of([huge], text="x" * 2000)]
    assert worker.finish(said) == 3
    assert broker.look_up(large.task.task_id) == [said[1].body]
    assert b"the limit is 500" in broker.look_up(huge.task.task_id)[0]


def test_a_port_in_use_is_named(broker, tmp_path):
    other = Address(broker.address.token, broker.address.host, broker.address.port, tmp_path / "other")
    side = open_gateway_side(other.url(), queue="q", name="g", limits=BrokerLimits())
    with pytest.raises(ConfigError, match=str(broker.address.port)):
        asyncio.run(side.start())
    side._ledger.close()


def test_an_address_survives_any_folder(tmp_path):
    made = Address.new(tmp_path / "with space, # ? % and ü", 4711)
    assert Address.parse(made.url()) == made


@pytest.mark.parametrize(
    "url", ["local://127.0.0.1:1/x", "local://:t@127.0.0.1/x", "local://:t@127.0.0.1:1"], ids=str
)
def test_half_an_address_is_refused(url):
    with pytest.raises(ConfigError, match="local"):
        open_worker_side(url, queue="q", name="w", limits=BrokerLimits())
