"""What only the broker over RabbitMQ has: URLs, alarms, strangers' messages, a server without its data."""

import asyncio
import socket
import threading

import pytest
from serve_brokers import LIMITS, Rabbit, done, repeat, task, wait_until

from scalelab.core.errors import ConfigError
from scalelab.serve.broker import BrokerAway, Put, open_gateway_side, open_worker_side, reach

pytestmark = pytest.mark.slow
KINDS = (Rabbit,)


async def opened(url):
    side = open_gateway_side(url, queue="q", name="g", limits=LIMITS)
    await side.start()
    try:
        await side.put([Put(task())])
    finally:
        await side.close()


def test_a_wrong_password_is_said_without_showing_it(queue):
    wrong = queue.url.replace(":secret@", ":wrong@")
    for use in (
        reach,
        lambda url: asyncio.run(opened(url)),
        lambda url: open_worker_side(url, queue="q", name="w", limits=LIMITS),
    ):
        with pytest.raises(ConfigError, match="cannot be used") as caught:
            use(wrong)
        assert "wrong" not in str(caught.value)
        assert "amqp://NAME:PASSWORD@" in caught.value.hint


def test_a_broker_that_nobody_serves_is_an_error_with_its_url():
    with pytest.raises(ConfigError, match=r"amqp://127\.0\.0\.1:1 cannot be used") as caught:
        reach("amqp://127.0.0.1:1")
    assert "--broker" in caught.value.hint


def test_a_virtual_host_that_is_not_there_is_said(server):
    with pytest.raises(ConfigError, match="/nowhere cannot be used") as caught:
        reach(f"{server.url}/nowhere")
    assert "virtual host" in caught.value.hint


def test_a_server_of_another_kind_is_an_error_with_its_url():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"amqp://127.0.0.1:{listener.getsockname()[1]}"

        def answer_as_redis():
            connection, _ = listener.accept()
            with connection:
                connection.recv(8)
                connection.sendall(b"-ERR unknown command\r\n")

        threading.Thread(target=answer_as_redis, daemon=True).start()
        with pytest.raises(ConfigError, match="cannot be used") as caught:
            reach(url)
    assert url in caught.value.message


def test_a_gateway_and_a_worker_without_server_say_that_it_is_away():
    with pytest.raises(BrokerAway, match="no broker"):
        asyncio.run(opened("amqp://127.0.0.1:1"))
    with pytest.raises(BrokerAway, match="no broker"):
        open_worker_side("amqp://127.0.0.1:1", queue="q", name="w", limits=LIMITS)


def test_a_message_that_is_no_task_is_removed_and_hurts_nobody(queue):
    worker = queue.worker("w1")
    queue.run(queue.side()._link.publish("tasks", b"no task"))
    queue.put(task())
    (delivery,) = wait_until(lambda: worker.take(5, 0.1), "the task")
    assert worker.finish([done(delivery)]) == 1
    wait_until(lambda: queue.health().in_flight == queue.health().depth == 0, "an empty queue")


def test_what_was_pushed_ahead_to_a_worker_that_dies_is_new_to_the_next(queue):
    """It was never begun, so that it may not be buried as if it had killed anything."""
    worker = queue.worker("w1")
    assert worker.take(8, 0) == []  # from now on up to eight are pushed
    tasks = [task() for _ in range(4)]
    queue.put(*tasks)
    wait_until(lambda: queue.health().in_flight == 4, "four tasks pushed")
    queue.die("w1")
    other = queue.worker("w2")
    taken = wait_until(lambda: other.take(8, 0.5), "the tasks again")
    while len(taken) < 4:
        taken += other.take(8, 0.5)
    assert {delivery.attempt for delivery in taken} == {1}
    assert {delivery.task.task_id for delivery in taken} == {one.task_id for one in tasks}


def test_a_claim_whose_gateway_died_is_taken_up_by_the_next_one(queue):
    from scalelab.serve.rabbit_table import claimed

    first, again = task(), task()
    queue.run(queue.side("gone")._link.write([claimed(first.task_id, 60, "d", "key")]))
    (placed,) = queue.put(again, key="key", digest="d").placed
    assert placed.task_id == first.task_id
    (delivery,) = queue.worker("w1").take(5, 0)
    assert (delivery.task.task_id, delivery.task.payload) == (first.task_id, again.payload)


def test_a_server_that_blocks_publishers_is_away_and_goes_on_when_its_alarm_ends(queue, server):
    worker, side = queue.worker("w1"), queue.side()
    queue.put(task())
    taken = worker.take(1, 0)
    server.control("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        with pytest.raises(BrokerAway, match="alarm"):
            queue.run(side.put([Put(task())]))
    finally:
        server.control("set_vm_memory_high_watermark", "absolute", "400MB")
    assert repeat(lambda: worker.finish([done(one) for one in taken])) == 1
    assert repeat(lambda: queue.put(task())).placed[0].task_id
