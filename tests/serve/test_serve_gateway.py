"""The gateway against a broker that is a dictionary: what is accepted, what is refused, who waits.

Each law holds on both ways into it: over ASGI alone, and over a socket, where most POSTs never see ASGI.
"""

import asyncio
import base64
import json
from io import BytesIO
from urllib.parse import unquote

import pytest
from PIL import Image
from serve_gateway_fakes import IMAGE, until

from scalelab.serve.pins import IMAGE_BYTES
from scalelab.serve.protocol import DONE, EXPIRED, FAILED, answer


@pytest.fixture
def serve(serve_both_ways):
    return serve_both_ways


def test_a_post_gives_a_task_id_and_where_to_look(serve):
    async def work(client, broker):
        status, headers, body = await client.json("POST", "/v1/pins", IMAGE)
        assert (status, body["status"]) == (202, "queued")
        assert headers["location"] == f"/v1/pins/{body['task_id']}"
        assert broker.puts[0].task.payload == IMAGE
        status, _, found = await client.json("GET", headers["location"])
        assert (status, found) == (200, body)

    serve(work)


def test_who_waits_gets_the_answer_as_soon_as_it_is_there(serve):
    async def work(client, broker):
        asked = asyncio.create_task(client.json("POST", "/v1/pins?wait_s=30", IMAGE))
        await until(lambda: broker.puts)
        broker.finish(result={"pin": "560001"})
        status, _, body = await asked
        assert (status, body["status"], body["result"]) == (200, "done", {"pin": "560001"})

    serve(work)


def test_a_get_may_wait_too(serve):
    async def work(client, broker):
        _, headers, _ = await client.json("POST", "/v1/pins", IMAGE)
        asked = asyncio.create_task(client.json("GET", headers["location"] + "?wait_s=30"))
        await asyncio.sleep(0)
        broker.finish(result=1)
        assert (await asked)[2]["result"] == 1
        assert (await client.json("GET", headers["location"]))[2]["result"] == 1

    serve(work)


def test_an_answer_that_another_gateway_heard_is_found(serve):
    async def work(client, broker):
        asked = asyncio.create_task(client.json("POST", "/v1/pins?wait_s=0.01", IMAGE))
        await until(lambda: broker.puts)
        task_id = broker.puts[0].task.task_id
        broker.answers[task_id] = answer(task_id, DONE, result=2)
        assert (await asked)[2]["result"] == 2

    serve(work)


def test_who_waited_in_vain_gets_the_task_id(serve):
    async def work(client, broker):
        status, _, body = await client.json("POST", "/v1/pins?wait_s=0.001", IMAGE)
        assert (status, body["status"]) == (202, "queued")

    serve(work)


@pytest.mark.parametrize(("outcome", "code"), [(FAILED, 500), (EXPIRED, 504)])
def test_who_waited_for_a_failure_is_told_by_the_status_code(serve, outcome, code):
    async def work(client, broker):
        asked = asyncio.create_task(client.json("POST", "/v1/pins?wait_s=30", IMAGE))
        await until(lambda: broker.puts)
        broker.finish(outcome, error="why")
        status, headers, body = await asked
        assert (status, body["status"], body["error"]) == (code, outcome, "why")
        assert (await client.request("GET", headers["location"]))[0] == 200

    serve(work)


def png(size):
    file = BytesIO()
    Image.new("L", size).save(file, "PNG")
    return file.getvalue()


MALFORMED = {
    "no image": (b"GIF89a", "image/png", 422),
    "another shape": (png((10, 10)), "image/png", 422),
    "too short": (IMAGE[:-1], "application/octet-stream", 422),
    "too large": (bytes(65 * 1024), "application/octet-stream", 413),
    "empty": (b"", "application/octet-stream", 400),
    "not JSON": (b"{", "application/json", 400),
    "JSON of another kind": (b'{"pin": 1}', "application/json", 422),
    "no base64": (b'{"image": "*"}', "application/json", 422),
    "a page": (b"<html>", "text/html", 415),
    "without a type": (IMAGE, "", 415),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_a_problem_and_never_reaches_a_worker(serve, name):
    body, kind, code = MALFORMED[name]

    async def work(client, broker):
        status, headers, problem = await client.json("POST", "/v1/pins", body, kind)
        assert status == problem["status"] == code
        assert headers["content-type"] == "application/problem+json"
        assert problem["detail"]
        assert problem["hint"]
        assert broker.puts == []

    serve(work)


@pytest.mark.parametrize("announced", [True, False])
def test_who_sends_too_much_can_read_that_it_was_too_much(serve, announced):
    async def work(client, broker):
        headers = [("content-length", str(4_000_000))] if announced else []
        chunks = [bytes(40_000)] * 100
        status, sent, _ = await client.json("POST", "/v1/pins", headers=headers, chunks=chunks)
        assert (status, sent["connection"]) == (413, "close")

    serve(work)


def test_a_body_may_come_in_pieces(serve):
    async def work(client, broker):
        await client.json("POST", "/v1/pins", chunks=[IMAGE[:10], b"", IMAGE[10:]])
        assert broker.puts[0].task.payload == IMAGE

    serve(work)


def test_json_and_raw_bytes_make_the_same_task(serve):
    async def work(client, broker):
        body = json.dumps({"image": base64.b64encode(IMAGE).decode()}).encode()
        await client.json("POST", "/v1/pins", body, "application/json")
        assert broker.puts[0].task.payload == IMAGE

    serve(work)


@pytest.mark.parametrize("task_id", ["0" * 32, "x", "..%2f..", "Z" * 5000])
def test_an_unknown_task_id_is_404_with_its_name(serve, task_id):
    async def work(client, broker):
        status, _, problem = await client.json("GET", f"/v1/pins/{task_id}")
        assert status == 404
        assert unquote(task_id)[:64] in problem["detail"]

    serve(work)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/pins", "POST"),
        ("PUT", "/v1/pins/" + "0" * 32, "GET, DELETE"),
        ("POST", "/v1/pins/" + "0" * 32 + "/events", "GET"),
    ],
)
def test_another_method_is_405_and_says_which_is_possible(serve, method, path, allowed):
    async def work(client, broker):
        status, headers, _ = await client.json(method, path)
        assert (status, headers["allow"]) == (405, allowed)

    serve(work)


def test_a_full_queue_is_429_and_says_when_to_come_back(serve):
    async def work(client, broker):
        broker.is_full = True
        status, headers, problem = await client.json("POST", "/v1/pins", IMAGE)
        assert status == 429
        assert int(headers["retry-after"]) >= 1
        assert "9" in problem["detail"]

    serve(work)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/pins"), ("GET", "/v1/pins/" + "0" * 32), ("GET", "/v1/stats")]
)
def test_a_broker_that_is_away_is_503_and_not_a_crash(serve, method, path):
    async def work(client, broker):
        broker.is_away = True
        status, _, problem = await client.json(method, path, IMAGE)
        assert status == 503
        assert problem["hint"]
        broker.is_away = False
        assert (await client.request("POST", "/v1/pins", IMAGE))[0] == 202

    serve(work)


def test_a_key_makes_one_task_of_two_requests(serve):
    async def work(client, broker):
        key = [("idempotency-key", "k1")]
        first = await client.json("POST", "/v1/pins", IMAGE, headers=key)
        again = await client.json("POST", "/v1/pins", IMAGE, headers=key)
        assert first[2] == again[2]
        assert len(broker.puts) == 1
        status, _, problem = await client.json("POST", "/v1/pins", bytes(IMAGE_BYTES), headers=key)
        assert status == 422
        assert "k1" in problem["detail"]

    serve(work)


def test_a_repeated_request_may_wait_for_the_first_ones_answer(serve):
    async def work(client, broker):
        key = [("idempotency-key", "k1")]
        await client.json("POST", "/v1/pins", IMAGE, headers=key)
        again = asyncio.create_task(client.json("POST", "/v1/pins?wait_s=30", IMAGE, headers=key))
        await asyncio.sleep(0)
        broker.finish(result=3)
        assert (await again)[2]["result"] == 3

    serve(work)


def test_a_deadline_goes_with_the_task(serve):
    async def work(client, broker):
        await client.json("POST", "/v1/pins?deadline_s=2.5", IMAGE)
        await client.json("POST", "/v1/pins", IMAGE)
        assert [put.task.deadline_s for put in broker.puts] == [2.5, 600.0]

    serve(work)


def test_ready_means_that_a_worker_lives(serve):
    async def work(client, broker):
        assert (await client.request("GET", "/readyz"))[0] == 200
        broker.workers = 0
        status, _, body = await client.json("GET", "/readyz")
        assert (status, body["missing"]) == (503, "no worker lives")
        broker.is_away = True
        assert (await client.request("GET", "/readyz"))[0] == 503
        assert (await client.request("GET", "/healthz"))[0] == 200

    serve(work)


def test_counters_count_each_request_once(serve):
    async def work(client, broker):
        await client.request("POST", "/v1/pins", b"x")
        asked = asyncio.create_task(client.request("POST", "/v1/pins?wait_s=30", IMAGE))
        await until(lambda: broker.puts)
        broker.finish(result=1)
        await asked
        _, _, stats = await client.json("GET", "/v1/stats")
        assert (stats["accepted"], stats["answered"], stats["malformed"], stats["waiting"]) == (1, 1, 1, 0)
        _, _, text = await client.request("GET", "/metrics")
        assert b"scalelab_requests_accepted_total 1.0\n" in text
        assert b"# TYPE scalelab_queue_depth_tasks gauge\n" in text

    serve(work)


def test_the_documents_hold_the_hot_path_and_fetch_nothing_from_elsewhere(serve):
    async def work(client, broker):
        _, _, document = await client.json("GET", "/openapi.json")
        assert set(document["paths"]["/v1/pins"]["post"]["responses"]) >= {
            "200",
            "202",
            "413",
            "415",
            "422",
            "429",
        }
        assert "get" in document["paths"]["/v1/pins/{task_id}"]
        _, _, page = await client.request("GET", "/docs")
        assert b"/v1/pins/{task_id}" in page
        assert b"http://" not in page.replace(b"http://test/v1/pins?wait_s=5", b"")
        assert b"https://" not in page
        assert b"<script" not in page

    serve(work)


def test_the_page_begins_with_a_command_for_the_address_it_was_asked_at(serve):
    async def work(client, broker):
        _, _, page = await client.request("GET", "/docs", headers=[("host", "pins.example:81")])
        assert b"&quot;http://pins.example:81/v1/pins?wait_s=5&quot;" in page
        assert page.index(b"curl") < page.index(b"POST /v1/pins")

    serve(work)


@pytest.mark.parametrize(
    "said",
    [
        "0 to 30, default 0",
        "0.001 to 3600, default 600",
        "at most 200 characters",
        "body image/png</th><td>a PNG of 168 x 28 pixels",
        "body application/octet-stream</th><td>4704 raw bytes",
        "&quot;image&quot;: &quot;&lt;base64 of a PNG",
        "&quot;state&quot;: &quot;Karnataka&quot;",
        '<meta name="viewport"',
    ],
)
def test_the_page_tells_formats_limits_and_defaults(serve, said):
    async def work(client, broker):
        _, _, page = await client.request("GET", "/docs")
        assert said in page.decode()

    serve(work)


def test_another_path_is_a_problem_too(serve):
    async def work(client, broker):
        status, headers, problem = await client.json("GET", "/v2/pins")
        assert (status, headers["content-type"]) == (404, "application/problem+json")
        assert "/v2/pins" in problem["detail"]

    serve(work)
