"""Real processes: gateway, broker, workers, and what happens when one of them is killed."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import serve_fake_model
from serve_calls import call, image, until

from scalelab.core.errors import ConfigError, DataError, ResourceError, RunFailed
from scalelab.core.processes import is_alive
from scalelab.serve import BrokerLimits, running_stack
from scalelab.serve.broker import EMBEDDED
from scalelab.serve.pins import IMAGE_BYTES
from scalelab.serve.state import StackState

pytestmark = pytest.mark.slow


def post_all(url, images, at=None, then=None):
    """Post all images from 16 threads; call `then` when `at` are done. Return the ids of accepted tasks."""
    done = []

    def post(one):
        try:
            status, body = call(url + "/v1/pins", one)
        except OSError:  # the gateway died before it said anything
            status, body = 0, {}
        done.append(status)
        if len(done) == at:
            then()
        return body["task_id"] if status == 202 else None

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(post, images))


def test_a_stack_answers_and_leaves_nothing_behind(fake_model):
    with running_stack(**fake_model, workers=2) as stack:
        status, body = call(stack.url + "/v1/pins?wait_s=20", image(1))
        assert (status, body["result"]) == (200, serve_fake_model.expected(image(1)))
        status, body = call(stack.url + "/v1/pins", image(serve_fake_model.POISON))
        assert status == 202
        assert call(f"{stack.url}/v1/pins/{body['task_id']}?wait_s=20")[1]["status"] == "failed"
        assert call(stack.url + "/v1/pins", b"x")[0] == 422
        assert len(stack.worker_pids()) == 2
        assert stack.stats()["accepted"] == 2
        assert set(stack.memory_bytes()) == {"supervisor", "gateway", "worker-1", "worker-2"}
        pids, folder = list(stack.pids().values()), stack.folder
    assert not any(is_alive(pid) for pid in pids)
    assert not folder.exists()


def test_the_gateway_never_loads_a_model_and_listens_on_loopback_only(fake_model):
    with running_stack(**fake_model) as stack:
        maps = Path(f"/proc/{stack.pids()['gateway']}/maps")
        if maps.exists():
            assert not [
                line for line in maps.read_text().splitlines() if "torch" in line or "onnxruntime" in line
            ]
        gateway = psutil.Process(stack.pids()["gateway"])
        listening = [one.laddr.ip for one in gateway.net_connections() if one.status == "LISTEN"]
        assert set(listening) == {"127.0.0.1"}  # for requests, and for workers


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only on Linux")
def test_a_worker_that_wakes_does_not_cut_in_on_the_gateway(fake_model):
    with running_stack(**fake_model) as stack:
        assert {os.sched_getscheduler(pid) for pid in stack.worker_pids()} == {os.SCHED_BATCH}
        assert os.sched_getscheduler(stack.pids()["gateway"]) == os.SCHED_OTHER


def test_a_worker_killed_under_load_loses_nothing(fake_model):
    images = [image(serve_fake_model.SLOW if n % 20 == 0 else 1, n) for n in range(400)]
    with running_stack(**fake_model, workers=2) as stack:
        killed = []
        tasks = post_all(stack.url, images, at=150, then=lambda: killed.append(stack.kill_worker()))
        assert None not in tasks
        assert len(set(tasks)) == len(images)
        for task_id, one in zip(tasks, images, strict=True):
            status, body = call(f"{stack.url}/v1/pins/{task_id}?wait_s=20")
            assert (status, body["status"], body.get("result")) == (
                200,
                "done",
                serve_fake_model.expected(one),
            )
        assert stack.stats()["answered"] == len(images)  # each announced exactly once
        assert stack.stats()["depth"] == 0
        until(lambda: len(stack.worker_pids()) == 2)
        assert killed[0] not in stack.worker_pids()
        assert stack.state().restarts == 1


@pytest.mark.parametrize(("broker", "holder"), [("", "gateway"), (EMBEDDED, "broker")])
def test_whoever_holds_the_queue_is_killed_under_load_and_loses_nothing_it_accepted(
    fake_model, broker, holder
):
    images = [image(1, n) for n in range(300)]
    with running_stack(**fake_model, broker=broker) as stack:
        kill = lambda: os.kill(stack.pids()[holder], signal.SIGKILL)  # noqa: E731
        tasks = [task for task in post_all(stack.url, images, at=100, then=kill) if task]
        assert len(tasks) >= 100
        until(lambda: is_ready(stack.url))
        for task_id in tasks:
            status, body = until(lambda one=task_id: reached(stack.url, one))
            assert (status, body["status"]) == (200, "done")


def is_ready(url):
    try:
        return call(url + "/readyz")[0] == 200
    except OSError:  # nobody listens yet
        return False


def reached(url, task_id):
    status, body = call(f"{url}/v1/pins/{task_id}?wait_s=20")
    return (status, body) if status != 503 and body.get("status") != "queued" else None


def test_an_image_that_kills_its_worker_fails_alone(fake_model):
    with running_stack(**fake_model) as stack:
        images = [image(serve_fake_model.SUICIDE if n == 5 else 1, n) for n in range(12)]
        tasks = post_all(stack.url, images)
        found = [reached_in_the_end(stack.url, task_id)["status"] for task_id in tasks]
        assert found == ["failed" if n == 5 else "done" for n in range(12)]
        assert stack.stats()["dead_letters"] == 1


def reached_in_the_end(url, task_id):
    return until(lambda: reached(url, task_id), 60)[1]


def test_a_full_queue_refuses_the_rest_and_answers_what_it_accepted(fake_model):
    patient = BrokerLimits(max_depth=5, worker_ttl_s=60.0)  # else the frozen worker is replaced
    with running_stack(**fake_model, limits=patient) as stack:
        worker = stack.worker_pids()[0]
        os.kill(worker, signal.SIGSTOP)
        tasks = post_all(stack.url, [image(1, n) for n in range(20)])
        assert sum(task is not None for task in tasks) == 5
        assert stack.stats()["rejected"] == 15
        os.kill(worker, signal.SIGCONT)
        found = [reached_in_the_end(stack.url, task)["status"] for task in tasks if task]
        assert found == ["done"] * 5


def test_stopping_answers_those_who_wait(fake_model):
    with running_stack(**fake_model) as stack, ThreadPoolExecutor(4) as pool:
        slow = [image(serve_fake_model.SLOW, n) for n in range(4)]
        asked = [pool.submit(call, stack.url + "/v1/pins?wait_s=20", one) for one in slow]
        until(lambda: stack.stats()["accepted"] == 4)
        stack.stop()
        assert [one.result()[0] for one in asked] == [200] * 4


def test_the_naive_app_answers_the_same_requests(fake_model):
    with running_stack(**fake_model, naive=True) as stack:
        status, body = call(stack.url + "/v1/pins", image(1))
        assert (status, body) == (200, {"result": serve_fake_model.expected(image(1))})
        status, body = call(stack.url + "/v1/pins?wait_s=1", b"x")
        assert (status, "1 bytes" in body["detail"]) == (422, True)
        assert call(stack.url + "/v1/pins?wait=1", image(1))[0] == 400
        assert call(stack.url + "/v1/pins", bytes(70_000))[0] == 413
        assert call(stack.url + "/openapi.json")[1]["paths"]["/v1/pins"]["post"]
        assert len(stack.worker_pids()) == 1


@pytest.fixture
def nothing_stays():
    """The processes below this one are the same before and after."""
    before = {one.pid for one in psutil.Process().children(recursive=True)}
    yield
    assert {one.pid for one in psutil.Process().children(recursive=True)} <= before


def test_a_lost_state_file_comes_back_and_a_lost_folder_ends_the_stack(fake_model, tmp_path, nothing_stays):
    folder = tmp_path / "serve"
    with running_stack(**fake_model, folder=folder) as stack:
        before = stack.state()
        (folder / "state.json").write_text('{"torn')
        until(lambda: StackState.read(folder) == before)
        (folder / "state.json").unlink()
        until(lambda: StackState.read(folder) == before)
        (folder / "lock").unlink()  # the folder is being removed
        assert stack.process.wait(30) == 0
        until(lambda: not any(child.is_alive() for child in before.children.values()))


def test_a_port_in_use_is_named_and_nothing_is_started(fake_model, nothing_stays):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ResourceError, match=str(port)), running_stack(**fake_model, port=port):
            pass


def test_a_model_file_that_is_torn_ends_the_start_with_its_error(fake_model, nothing_stays):
    Path(fake_model["model_path"]).write_text("broken")
    with pytest.raises(RunFailed, match="the model file is torn"), running_stack(**fake_model):
        pass


def test_a_missing_model_file_is_found_before_anything_starts(fake_model, tmp_path):
    fake_model["model_path"] = tmp_path / "nix.onnx"
    with pytest.raises(DataError, match=r"nix\.onnx"), running_stack(**fake_model):
        pass


def test_a_broker_that_nobody_serves_ends_the_start_with_its_url(fake_model):
    url = "redis://127.0.0.1:1/0"
    with pytest.raises(ConfigError, match=url), running_stack(**fake_model, broker=url):
        pass


def test_a_broker_of_ones_own_is_used(fake_model, broker_url):
    with running_stack(**fake_model, broker=broker_url, queue=f"own-{os.getpid()}") as stack:
        assert call(stack.url + "/v1/pins?wait_s=20", image(1))[0] == 200
        assert "broker" not in stack.pids()
        assert broker_url not in (stack.folder / "state.json").read_text()  # it has a password


def test_queued_tasks_outlive_the_stack(fake_model, tmp_path):
    with running_stack(**fake_model, folder=tmp_path / "s") as stack:
        os.kill(stack.worker_pids()[0], signal.SIGSTOP)
        task_id = call(stack.url + "/v1/pins", image(1))[1]["task_id"]
        for pid in stack.pids().values():
            os.kill(pid, signal.SIGKILL)
    with running_stack(**fake_model, folder=tmp_path / "s") as stack:
        assert reached_in_the_end(stack.url, task_id)["status"] == "done"


@pytest.mark.parametrize("who", ["notebook", "supervisor"])
def test_a_killed_parent_takes_the_whole_stack_with_it(fake_model, tmp_path, who):
    program = (
        "import json, sys, time; from scalelab.serve import running_stack\n"
        "with running_stack(**json.loads(sys.argv[1])) as stack:\n"
        "    print(json.dumps(stack.pids()), flush=True)\n"
        "    time.sleep(60)"
    )
    notebook = subprocess.Popen(
        [sys.executable, "-c", program, json.dumps(fake_model)], stdout=subprocess.PIPE, text=True
    )
    with notebook:
        pids = json.loads(notebook.stdout.readline())
        os.kill(notebook.pid if who == "notebook" else pids["supervisor"], signal.SIGKILL)
        until(lambda: not any(is_alive(pid) for pid in pids.values()))
        notebook.kill()


def test_the_gateway_survives_clients_that_go_away(fake_model):
    with running_stack(**fake_model) as stack:
        host, port = stack.url.removeprefix("http://").split(":")
        head = f"POST /v1/pins?wait_s=20 HTTP/1.1\r\nHost: x\r\nContent-Length: {IMAGE_BYTES}\r\n"
        head += "Content-Type: application/octet-stream\r\n\r\n"

        async def leave(body):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(head.encode() + body)
            await writer.drain()
            writer.close()

        async def leave_all():
            await asyncio.gather(*[leave(image(1)[: IMAGE_BYTES if n % 2 else 100]) for n in range(20)])

        asyncio.run(leave_all())
        assert call(stack.url + "/v1/pins?wait_s=20", image(1))[0] == 200
        until(lambda: stack.stats()["waiting"] == 0)
        assert "Traceback" not in (stack.folder / "gateway.log").read_text()
