"""What only the brokers over Redis and Valkey have: URLs, refusals, round trips, and the embedded one."""

import asyncio
import os
from contextlib import closing

import pytest
from serve_brokers import LIMITS, Redis, Valkey, done, task, wait_until

from scalelab.core.errors import ConfigError, MissingDependency
from scalelab.serve import embedded
from scalelab.serve.broker import (
    BrokerAway,
    BrokerLimits,
    Put,
    forget_worker,
    open_gateway_side,
    open_worker_side,
    reach,
    shown_url,
)
from scalelab.serve.redis_broker import connect, key_prefix, stream_keys

pytestmark = pytest.mark.slow
KINDS = (Valkey, Redis)


@pytest.fixture
def client(server):
    with closing(connect(server.url)) as client:
        yield client


def test_a_worker_and_a_gateway_outlive_a_server_that_forgot_everything(queue, client):
    worker = queue.worker("w1")
    queue.put(task())
    for delivery in worker.take(1, 0):
        client.delete(*client.keys(key_prefix(queue.name) + "*"))
        worker.give_back([delivery], after_s=0)
        assert worker.finish([done(delivery)]) == 1  # nobody asks any more, and it hurts nobody
    assert worker.take_over() == []
    assert worker.take(1, 0) == []
    queue.put(task())
    assert len(worker.take(1, 0)) == 1


@pytest.mark.parametrize("method", ["take", "take_over"])
def test_what_was_given_in_a_reply_that_never_came_is_taken_again(queue, server, method, monkeypatch):
    worker, sent = queue.worker("w1"), task()
    queue.put(sent)
    if method == "take_over":
        worker.give_back(worker.take(1, 0), after_s=0)
    call = worker._call

    def lose_the_reply(*args):
        call(*args)
        raise BrokerAway("the connection broke")

    monkeypatch.setattr(worker, "_call", lose_the_reply)
    with pytest.raises(BrokerAway):
        worker.take(1, 0) if method == "take" else worker.take_over()
    monkeypatch.undo()
    assert worker.take(1, 0) == []
    assert worker.take_over() == []
    forget_worker(server.url, queue=queue.name, name="w1")  # it is silent for its time to live
    assert [one.task for one in worker.take_over()] == [sent]


@pytest.mark.parametrize(
    "fields", [{"p": "short"}, {"p": b"\xff" * 5000}, {"x": "y"}], ids=["short", "long", "other"]
)
def test_an_entry_that_is_no_task_is_removed_and_hurts_nobody(queue, client, fields):
    worker = queue.worker("w1")
    client.xadd(stream_keys(queue.name)[1], fields)
    queue.put(task())
    assert len(worker.take(5, 0)) == 1
    assert queue.health().depth == 1


def test_a_silent_worker_is_dead_after_its_time(queue):
    queue.put(task())
    queue.worker("w1", BrokerLimits(worker_ttl_s=0.05)).take(1, 0)
    other = queue.worker("w2")
    (found,) = wait_until(other.take_over, "what the silent worker held")
    assert found.attempt == 2


def sent(monkeypatch, kind):
    """Count what a connection of this kind sends from now on."""
    packets = []
    send = kind.send_packed_command

    def counted(self, command, *args, **options):
        packets.append(command)
        return send(self, command, *args, **options)

    monkeypatch.setattr(kind, "send_packed_command", counted)
    return packets


def test_put_take_and_finish_are_one_round_trip_each_whatever_the_batch(queue, monkeypatch):
    import redis.asyncio.connection
    import redis.connection

    worker = queue.worker("w1")
    for count in (1, 16):
        queue.put(*[task() for _ in range(count)])  # the scripts are known to the server after this
        worker.finish([done(one) for one in worker.take(count, 0.5)])
    puts = sent(monkeypatch, redis.asyncio.connection.AbstractConnection)
    packets = sent(monkeypatch, redis.connection.AbstractConnection)
    queue.put(*[task() for _ in range(16)])
    assert len(puts) == 1
    taken = worker.take(16, 0.5)
    assert (len(taken), len(packets)) == (16, 1)
    worker.finish([done(one) for one in taken])
    assert len(packets) == 2


def test_a_server_whose_memory_is_full_refuses_tasks_and_takes_answers(queue, client):
    """Else no answer could ever make room again."""
    queue.put(task(), task())
    worker = queue.worker("w1")
    taken = worker.take(1, 0)
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(BrokerAway, match=r"refuses to write: .*maxmemory") as caught:
            queue.put(task())
        assert "maxmemory" in caught.value.hint
        taken += worker.take(1, 0)
        assert worker.finish([done(one) for one in taken]) == 2
        assert all(queue.look_up(*[one.task.task_id for one in taken]))
    finally:
        client.config_set("maxmemory", 0)
    assert queue.put(task()).depth == 1


def test_a_server_that_cannot_write_its_disk_is_away_and_loses_nothing(queue, client, server):
    queue.put(task())
    worker = queue.worker("w1")
    (delivery,) = worker.take(1, 0)
    (server.folder / "dump.rdb" / "in the way").mkdir(parents=True)
    client.config_set("save", "3600 1")
    client.bgsave()
    wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "a snapshot that fails")
    try:
        with pytest.raises(BrokerAway, match="refuses to write: MISCONF") as caught:
            queue.put(task())
        assert "disk" in caught.value.hint
        with pytest.raises(BrokerAway, match="MISCONF"):
            worker.finish([done(delivery)])
    finally:
        client.config_set("save", "")
    assert worker.finish([done(delivery)]) == 1
    assert queue.health().depth == 0


def test_a_wrong_password_is_said_without_showing_it(server):
    wrong = server.url.replace("redis://:", "redis://:wrong")
    without = "redis://" + server.url.partition("@")[2]
    for url in (wrong, without):
        with pytest.raises(ConfigError, match="cannot be used") as caught:
            connect(url)
        assert "wrong" not in caught.value.message.partition("cannot be used")[0]
        assert "PASSWORD" in caught.value.hint
        with pytest.raises(ConfigError, match="cannot be used"):
            asyncio.run(opened_side(url))


async def opened_side(url):
    side = open_gateway_side(url, queue="q", name="g", limits=LIMITS)
    try:
        await side.start()
        await side.put([Put(task())])
    finally:
        await side.close()


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:1/0", "unix:///nowhere/valkey.sock", "redis://no.such.host.invalid/0"]
)
def test_a_broker_that_nobody_serves_is_an_error_with_its_url(url):
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        reach(url)
    assert url in caught.value.message
    assert "--broker" in caught.value.hint


def test_a_gateway_side_without_server_says_that_it_is_away():
    with pytest.raises(BrokerAway):
        asyncio.run(opened_side("redis://127.0.0.1:1/0"))


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
