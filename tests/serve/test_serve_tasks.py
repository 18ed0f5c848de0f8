"""What a client may do with a task beside queueing it and waiting: cancel, rank, ask in msgpack."""

import asyncio
import itertools
import json

import msgpack
import pytest
from serve_gateway_fakes import IMAGE, until

from scalelab.serve.protocol import DONE

MSGPACK = "application/msgpack"


@pytest.fixture
def serve(serve_both_ways):
    return serve_both_ways


def test_a_cancelled_task_stays_cancelled_and_who_waits_is_told(serve):
    async def work(client, broker):
        asked = asyncio.create_task(client.json("POST", "/v1/pins?wait_s=30", IMAGE))
        await until(lambda: broker.puts)
        location = f"/v1/pins/{broker.puts[0].task.task_id}"
        for _ in range(2):
            status, _, body = await client.json("DELETE", location)
            assert (status, body["status"]) == (200, "cancelled")
        status, _, body = await asked
        assert (status, body["status"]) == (409, "cancelled")
        assert (await client.json("GET", location))[2]["status"] == "cancelled"

    serve(work)


def test_an_answer_that_was_faster_than_its_cancelling_stands(serve):
    async def work(client, broker):
        _, headers, _ = await client.json("POST", "/v1/pins", IMAGE)
        broker.finish(DONE, result=1)
        status, _, body = await client.json("DELETE", headers["location"])
        assert (status, body["status"], body["result"]) == (200, "done", 1)

    serve(work)


@pytest.mark.parametrize("task_id", ["0" * 32, "x"])
def test_an_unknown_task_cannot_be_cancelled(serve, task_id):
    async def work(client, broker):
        assert (await client.json("DELETE", f"/v1/pins/{task_id}"))[0] == 404

    serve(work)


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/v1/pins?priority=high&deadline_s=7", []),
        ("/v1/pins", [("Task-Priority", "high"), ("Task-Deadline-S", "7")]),
    ],
    ids=["query", "headers"],
)
def test_priority_and_deadline_go_with_the_task(serve, target, headers):
    headers = [(name.lower(), value) for name, value in headers]

    async def work(client, broker):
        await client.request("POST", target, IMAGE, headers=headers)
        await client.request("POST", "/v1/pins", IMAGE)
        found = [(put.task.priority, put.task.deadline_s) for put in broker.puts]
        assert found == [(0, 7), (1, 600)]

    serve(work)


@pytest.mark.parametrize(
    ("method", "target", "headers", "guess"),
    [
        ("POST", "/v1/pins?prioriti=high", [], "priority"),
        ("POST", "/v1/pins?priority=hi", [], "high"),
        ("POST", "/v1/pins", [("task-prio", "high")], "task-priority"),
        ("GET", "/v1/pins/" + "0" * 32 + "?priority=high", [], "wait_s"),
        ("DELETE", "/v1/pins/" + "0" * 32 + "?wait_s=1", [], "known"),
    ],
)
def test_an_option_that_is_not_known_here_is_refused_with_a_guess(serve, method, target, headers, guess):
    async def work(client, broker):
        status, _, problem = await client.json(method, target, IMAGE, headers=headers)
        assert status == 400
        assert guess in problem["hint"]

    serve(work)


def test_msgpack_goes_in_and_out(serve):
    async def work(client, broker):
        body = msgpack.packb({"image": IMAGE})
        accept = [("accept", MSGPACK)]
        posted = client.request("POST", "/v1/pins?wait_s=30", body, MSGPACK, headers=accept)
        asked = asyncio.create_task(posted)
        await until(lambda: broker.puts)
        assert broker.puts[0].task.payload == IMAGE
        broker.finish(result={"pin": "560001"})
        status, headers, answer = await asked
        assert (status, headers["content-type"]) == (200, MSGPACK)
        assert msgpack.unpackb(answer)["result"] == {"pin": "560001"}
        _, _, again = await client.request("GET", headers["location"], headers=accept)
        assert again == answer
        plain = await client.json("GET", headers["location"])
        assert plain[2] == msgpack.unpackb(answer)

    serve(work)


def test_a_problem_is_json_whatever_was_accepted(serve):
    async def work(client, broker):
        status, headers, body = await client.request(
            "POST", "/v1/pins", b"x", MSGPACK, headers=[("accept", MSGPACK)]
        )
        assert (status, headers["content-type"]) == (422, "application/problem+json")
        assert json.loads(body)["hint"]

    serve(work)


def test_a_queue_that_was_full_a_moment_ago_is_not_asked_again_at_once(serve):
    now_s = [0.0]

    async def work(client, broker):
        broker.is_full = True
        for _ in range(5):
            assert (await client.request("POST", "/v1/pins", IMAGE))[0] == 429
        assert broker.calls == 1
        broker.is_full = False
        now_s[0] += 0.1
        assert (await client.request("POST", "/v1/pins", IMAGE))[0] == 202

    serve(work, clock=lambda: now_s[0])


def test_a_wall_clock_that_jumps_changes_nothing(serve, monkeypatch):
    jumps = itertools.cycle([0.0, 4e9])
    monkeypatch.setattr("time.time", lambda: next(jumps))

    async def work(client, broker):
        asked = asyncio.create_task(client.json("POST", "/v1/pins?wait_s=30&deadline_s=5", IMAGE))
        await until(lambda: broker.puts)
        broker.finish(DONE, result=1)
        assert (await asked)[2]["result"] == 1
        status, _, body = await client.json("POST", "/v1/pins?wait_s=0.01", IMAGE)
        assert (status, body["status"]) == (202, "queued")

    serve(work)


def test_a_mistake_of_ours_is_one_requests_problem(serve, caplog):
    async def work(client, broker):
        broker.error = ValueError("a bug")
        status, headers, problem = await client.json("POST", "/v1/pins?wait_s=30", IMAGE)
        assert (status, headers["content-type"]) == (500, "application/problem+json")
        assert "a bug" not in str(problem)
        assert (await client.json("DELETE", "/v1/pins/" + "0" * 32))[0] == 500
        broker.error = None
        assert (await client.request("POST", "/v1/pins", IMAGE))[0] == 202

    serve(work)
    assert "a bug" in caplog.text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("wait_s=5", 429),  # 20 s of work are queued
        ("wait_s=0.001&priority=high", 202),
        ("deadline_s=19", 429),
        ("deadline_s=26", 202),
        ("", 202),
    ],
)
def test_who_would_wait_in_vain_is_told_at_once(serve, query, status):
    now_s = [0.0]

    async def work(client, broker):
        broker.waiting = 2000
        await client.request("POST", "/v1/pins", IMAGE)
        now_s[0], broker.finished = 1.0, 100
        await client.request("POST", "/v1/pins", IMAGE)
        got, headers, body = await client.json("POST", f"/v1/pins?{query}", IMAGE)
        assert got == status
        if status == 429:
            assert "about 20 s of work" in body["detail"]
            assert int(headers["retry-after"]) == (5 if "deadline" in query else 17)
            now_s[0] += 0.6  # what is known is old: the broker is asked again
            assert (await client.json("POST", "/v1/pins?wait_s=0.001", IMAGE))[0] == 202

    serve(work, clock=lambda: now_s[0])


def test_another_contract_has_its_own_path(serve):
    async def work(client, broker):
        ids = list(range(64))
        body = json.dumps({"tokens": ids}).encode()
        status, headers, _ = await client.json("POST", "/v1/tokens", body, "application/json")
        assert (status, len(broker.puts[0].task.payload)) == (202, 512)
        assert headers["location"].startswith("/v1/tokens/")
        assert (await client.request("POST", "/v1/pins", IMAGE))[0] == 404

    serve(work, contract="scalelab.serve.tokens:CONTRACT")
