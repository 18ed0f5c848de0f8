"""What a connection may do: the usual, the rare, and the hostile; the others' requests go on."""

import asyncio
import json

import pytest
from serve_gateway_fakes import IMAGE, gateway_over, request_bytes, until

from scalelab.serve.guard import Guard, RateLimit
from scalelab.serve.protocol import DONE, FAILED
from scalelab.serve.routes import TaskRoutes

POST = request_bytes("POST", "/v1/pins", IMAGE)
WAITING = request_bytes("POST", "/v1/pins?wait_s=30", IMAGE)


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def serve(run):
    def go(work, **settings):
        async def main():
            async with gateway_over("wire", **settings) as (client, broker):
                return await work(client, broker)

        return run(main())

    return go


async def assert_that_others_are_served(client):
    assert (await client.request("POST", "/v1/pins", IMAGE))[0] == 202


def test_a_post_that_is_as_it_should_be_never_sees_asgi(serve, monkeypatch):
    async def never(*_):
        raise AssertionError("ASGI was asked")

    monkeypatch.setattr(TaskRoutes, "_post", never)

    async def work(client, broker):
        assert (await client.request("POST", "/v1/pins", IMAGE))[0] == 202
        asked = asyncio.create_task(client.json("POST", "/v1/pins?wait_s=30", IMAGE))
        await until(lambda: len(broker.puts) == 2)
        broker.finish(result=1)
        assert (await asked)[2]["result"] == 1

    serve(work)


def test_a_connection_serves_many_requests(serve):
    async def work(client, broker):
        async with client.connect() as connection:
            for number in range(3):
                connection.send(POST)
                status, headers, _ = await connection.reply()
                assert (status, len(broker.puts)) == (202, number + 1)
                assert "connection" not in headers

    serve(work)


def test_pipelined_requests_are_answered_in_their_order(serve):
    async def work(client, broker):
        async with client.connect() as connection:
            get = request_bytes("GET", "/healthz", kind="")
            connection.send(WAITING + get + POST)
            await until(lambda: broker.puts)
            broker.finish(result="first")
            first, second, third = [await connection.reply() for _ in range(3)]
        assert json.loads(first[2])["result"] == "first"
        assert json.loads(second[2]) == {"alive": True}
        assert (third[0], len(broker.puts)) == (202, 2)

    serve(work)


def test_a_body_may_come_byte_by_byte_over_a_kept_connection(serve):
    async def work(client, broker):
        async with client.connect() as connection:
            for start in range(0, len(POST), 400):
                connection.send(POST[start : start + 400])
                await connection.writer.drain()
                await asyncio.sleep(0)
            assert (await connection.reply())[0] == 202
            assert broker.puts[0].task.payload == IMAGE

    serve(work)


def test_http_1_0_and_connection_close_end_the_connection(serve):
    async def work(client, broker):
        closing = request_bytes("POST", "/v1/pins", IMAGE, headers=[("Connection", "close")])
        for request in (POST.replace(b"HTTP/1.1", b"HTTP/1.0"), closing):
            async with client.connect() as connection:
                connection.send(request)
                status, headers, _ = await connection.reply()
                assert (status, headers["connection"]) == (202, "close")
                assert await connection.is_closed()
        assert len(broker.puts) == 2

    serve(work)


def test_who_asks_before_sending_is_told_to_go_on(serve):
    async def work(client, broker):
        async with client.connect() as connection:
            connection.send(
                request_bytes("POST", "/v1/pins", IMAGE, headers=[("Expect", "100-continue")])[:-4704]
            )
            assert (await connection.reply())[0] == 100
            connection.send(IMAGE)
            assert (await connection.reply())[0] == 202

    serve(work)


def test_who_asks_before_sending_too_much_is_told_not_to(serve):
    async def work(client, broker):
        headers = [("Expect", "100-continue"), ("Content-Length", "100000000")]
        async with client.connect() as connection:
            connection.send(request_bytes("POST", "/v1/pins", headers=headers, chunks=[]))
            assert (await connection.reply())[0] == 413

    serve(work)


@pytest.mark.parametrize("size", [300, 5000])
def test_a_head_without_end_is_cut_off(serve, size):
    async def work(client, broker):
        line = b"X-Many: " + b"x" * size + b"\r\n"
        async with client.connect() as connection:
            connection.send(b"GET /healthz HTTP/1.1\r\n" + line * (20_000 // size))
            status, headers, body = await connection.reply()
            assert (status, headers["connection"]) == (431, "close")
            assert "16384" in json.loads(body)["hint"]
            await assert_that_others_are_served(client)

    serve(work)


def test_a_whole_head_that_is_too_large_is_refused_too(serve):
    async def work(client, broker):
        assert (await client.request("GET", "/healthz", headers=[("x", "x" * 20_000)]))[0] == 431

    serve(work)


@pytest.mark.parametrize(
    "sent", [POST[:20], POST[:-1], request_bytes("POST", "/v1/pins", chunks=[IMAGE])[:-9]]
)
def test_who_sends_a_byte_a_second_is_cut_off_after_the_limit(serve, sent):
    clock = Clock()

    async def work(client, broker):
        async with client.connect() as connection:
            connection.send(sent)
            await until(lambda: client.connections._sending)
            for _ in range(3):  # each byte is in time for itself: the whole counts
                clock.now_s += 3.4
                client.connections.sweep()
            status, headers, body = await connection.reply()
            assert (status, headers["connection"]) == (408, "close")
            assert "10 s" in json.loads(body)["detail"]
            assert await connection.is_closed()
            assert broker.puts == []
            await assert_that_others_are_served(client)

    serve(work, clock=clock)


def test_a_request_that_waits_is_not_slow(serve):
    clock = Clock()

    async def work(client, broker):
        async with client.connect() as connection:
            connection.send(WAITING + WAITING[:-5])  # the second is held back by us
            await until(lambda: broker.puts and client.connections._sending)
            clock.now_s += 29
            client.connections.sweep()
            broker.finish(result=1)
            assert (await connection.reply())[0] == 200
            connection.send(WAITING[-5:])
            await until(lambda: len(broker.puts) == 2)

    serve(work, clock=clock)


def test_idle_connections_end_and_active_ones_stay(serve):
    clock = Clock()

    async def work(client, broker):
        async with client.connect() as silent, client.connect() as used:
            used.send(POST)
            await used.reply()
            clock.now_s += 20
            used.send(POST)
            await used.reply()
            clock.now_s += 20
            client.connections.sweep()
            assert await silent.is_closed()
            used.send(POST)
            assert (await used.reply())[0] == 202

    serve(work, clock=clock)


def test_a_full_house_lets_the_longest_idle_go(serve):
    async def work(client, broker):
        async with client.connect() as first, client.connect() as second:
            second.send(POST)
            await second.reply()
            first.send(POST)
            await first.reply()
            await assert_that_others_are_served(client)
            assert await second.is_closed()
            first.send(POST)
            assert (await first.reply())[0] == 202

    serve(work, max_connections=2)


def test_a_full_house_of_waiting_requests_sends_away_and_keeps_them(serve):
    async def work(client, broker):
        async with client.connect() as waiting:
            waiting.send(WAITING)
            await until(lambda: broker.puts)
            async with client.connect() as late:
                status, headers, _ = await late.reply()
                assert (status, headers["retry-after"]) == (503, "1")
            broker.finish(result=1)
            assert (await waiting.reply())[0] == 200

    serve(work, max_connections=1)


def test_a_client_that_is_gone_is_forgotten_and_its_task_stays(serve):
    async def work(client, broker):
        async with client.connect() as connection:
            connection.send(WAITING)
            await until(lambda: broker.puts)
            assert len(client.gateway.waiters) == 1
        await until(lambda: not client.gateway.waiters)
        broker.finish(result=1)
        status, _, body = await client.json("GET", f"/v1/pins/{broker.puts[0].task.task_id}")
        assert (status, body["status"]) == (200, "done")

    serve(work)


def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing(serve):
    async def work(client, broker):
        async with client.connect() as connection:
            connection.send(WAITING[:-1])
            await until(lambda: client.connections._sending)
        await until(lambda: not client.state.connections)
        assert (broker.puts, len(client.connections._sending)) == ([], 0)
        await assert_that_others_are_served(client)

    serve(work)


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\r\n\r\n\x00\xff" * 9])
def test_what_is_no_http_is_a_problem(serve, noise):
    async def work(client, broker):
        async with client.connect() as connection:
            connection.send(noise)
            status, headers, body = await connection.reply()
            assert (status, headers["content-type"]) == (400, "application/problem+json")
            assert json.loads(body)["hint"]
        await assert_that_others_are_served(client)

    serve(work)


def test_noise_behind_a_request_does_not_disturb_its_answer(serve):
    async def work(client, broker):
        async with client.connect() as connection:
            connection.send(WAITING + b"\x00\x00noise\r\n\r\n")
            await until(lambda: broker.puts)
            broker.finish(FAILED, error="why")
            status, headers, _ = await connection.reply()
            assert (status, headers["connection"]) == (500, "close")
            assert await connection.is_closed()

    serve(work)


@pytest.mark.parametrize(
    "headers", [[("X-API-Key", "k" * 20)], [("Authorization", "Bearer " + "k" * 20)]], ids=["own", "bearer"]
)
def test_a_key_opens_the_short_way(serve, monkeypatch, headers):
    async def work(client, broker):
        status, sent, problem = await client.json("POST", "/v1/pins", IMAGE)
        assert (status, sent["www-authenticate"]) == (401, 'Bearer realm="scalelab"')
        assert "Authorization" in problem["hint"]
        monkeypatch.delattr(TaskRoutes, "_post")
        assert (await client.request("POST", "/v1/pins", IMAGE, headers=headers))[0] == 202
        assert (await client.request("GET", "/healthz"))[0] == 200

    serve(work, guard=Guard(["k" * 20]))


def test_a_client_above_its_rate_is_sent_away_and_others_are_not(serve):
    keys = ["a" * 20, "b" * 20]

    async def work(client, broker):
        one, two = [[("X-API-Key", key)] for key in keys]
        assert [(await client.request("POST", "/v1/pins", IMAGE, headers=one))[0] for _ in range(3)] == [
            202,
            202,
            429,
        ]
        status, headers, _ = await client.request("GET", "/v1/pins/x", headers=one)
        assert (status, headers["retry-after"]) == (429, "1")
        assert (await client.request("POST", "/v1/pins", IMAGE, headers=two))[0] == 202

    serve(work, guard=Guard(keys, RateLimit(2, clock=Clock())))


def test_a_draining_server_answers_who_waits_and_ends_the_rest(serve):
    async def work(client, broker):
        async with client.connect() as waiting, client.connect() as idle:
            idle.send(POST)
            await idle.reply()
            waiting.send(WAITING)
            await until(lambda: len(broker.puts) == 2)
            for connection in list(client.state.connections):
                connection.shutdown()  # what uvicorn does on SIGTERM
            assert await idle.is_closed()
            broker.finish(DONE, result=1)
            status, headers, _ = await waiting.reply()
            assert (status, headers["connection"]) == (200, "close")
            assert await waiting.is_closed()

    serve(work)


def test_an_answer_before_the_last_byte_of_a_pipelined_body_is_not_mixed_up(serve):
    async def work(client, broker):
        async with client.connect() as connection:
            connection.send(WAITING + POST[:-10])
            await until(lambda: broker.puts)
            broker.finish(result=1)
            assert (await connection.reply())[0] == 200
            connection.send(POST[-10:] + WAITING)
            assert (await connection.reply())[0] == 202
            await until(lambda: len(broker.puts) == 3)
            broker.finish(result=3)
            assert json.loads((await connection.reply())[2])["result"] == 3

    serve(work)
