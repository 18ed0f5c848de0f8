"""Server-sent events of a task: until its answer, until the client goes, until the gateway ends."""

import pytest
from serve_gateway_fakes import IMAGE, gateway_over, request_bytes, until


@pytest.fixture
def serve(run):
    def go(work, **settings):
        async def main():
            async with gateway_over("wire", **settings) as (client, broker):
                _, headers, _ = await client.request("POST", "/v1/pins", IMAGE)
                return await work(client, broker, headers["location"])

        return run(main())

    return go


async def open_events(connection, location):
    connection.send(request_bytes("GET", location + "/events", kind=""))
    head = await connection.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"text/event-stream" in head


async def next_chunk(connection):
    size = int(await connection.reader.readuntil(b"\r\n"), 16)
    return (await connection.reader.readexactly(size + 2))[:-2].decode()


def test_events_tell_the_status_until_the_answer(serve):
    async def work(client, broker, location):
        async with client.connect() as connection:
            await open_events(connection, location)
            assert "event: queued\ndata: {" in await next_chunk(connection)
            broker.finish(result={"pin": "560001"})
            last = await next_chunk(connection)
            task_id = location.rpartition("/")[2]
            assert last.startswith(f"id: {task_id}\nevent: done\ndata: {{")
            assert '"pin":"560001"' in last
            assert await next_chunk(connection) == ""

    serve(work)


def test_events_of_a_task_that_is_answered_are_its_answer(serve):
    async def work(client, broker, location):
        broker.finish(result=1)
        status, headers, body = await client.request("GET", location + "/events", kind="")
        assert (status, headers["cache-control"]) == (200, "no-store")
        assert b"event: done" in body

    serve(work)


def test_a_browser_that_comes_back_after_the_end_is_told_to_stop(serve):
    async def work(client, broker, location):
        task_id = location.rpartition("/")[2]
        status, _, _ = await client.request("GET", location + "/events", headers=[("last-event-id", task_id)])
        assert status == 204

    serve(work)


def test_comments_keep_a_stream_alive(serve):
    async def work(client, broker, location):
        async with client.connect() as connection:
            await open_events(connection, location)
            await next_chunk(connection)
            assert [await next_chunk(connection) for _ in range(2)] == [": still queued\n\n"] * 2

    serve(work, heartbeat_s=0.01)


def test_a_cancelled_task_is_told_to_who_listens(serve):
    async def work(client, broker, location):
        async with client.connect() as connection:
            await open_events(connection, location)
            await next_chunk(connection)
            await client.request("DELETE", location)
            assert "event: cancelled" in await next_chunk(connection)

    serve(work)


def test_a_client_that_is_gone_is_forgotten(serve):
    async def work(client, broker, location):
        async with client.connect() as connection:
            await open_events(connection, location)
            await until(lambda: len(client.gateway.waiters) == 1)
        await until(lambda: len(client.gateway.waiters) == 0)

    serve(work)


def test_a_gateway_that_ends_says_goodbye(serve):
    async def work(client, broker, location):
        async with client.connect() as connection:
            await open_events(connection, location)
            await next_chunk(connection)
            client.gateway.draining.set()
            assert "ask again" in await next_chunk(connection)
            assert await next_chunk(connection) == ""

    serve(work)


@pytest.mark.parametrize("path", ["/v1/pins/nix/events", "/v1/pins/" + "0" * 32 + "/events"])
def test_an_unknown_task_has_no_events(serve, path):
    async def work(client, broker, location):
        status, headers, _ = await client.json("GET", path)
        assert (status, headers["content-type"]) == (404, "application/problem+json")

    serve(work)


def test_a_broker_that_is_away_for_a_moment_does_not_end_the_stream(serve, monkeypatch):
    monkeypatch.setattr("scalelab.serve.events._AGAIN_S", 0.001)

    async def work(client, broker, location):
        async with client.connect() as connection:
            await open_events(connection, location)
            await next_chunk(connection)
            broker.is_away = True
            assert await next_chunk(connection) == ": still queued\n\n"
            broker.is_away = False
            broker.finish(result=1)
            while "event: done" not in (chunk := await next_chunk(connection)):
                assert chunk == ": still queued\n\n"

    serve(work, heartbeat_s=0.001)
