"""The images as they run: read-only, without rights, on the host's network, with a broker beside them."""

import json
import os
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

from scalelab.core.machine import free_port
from scalelab.serve.images import image_layers
from scalelab.serve.protocol import DONE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]  # the first one waits for base and images
OCTETS = {"Content-Type": "application/octet-stream"}
SIX = "import importlib.util as u, sys; print(*[m for m in sys.argv[1:] if u.find_spec(m)])"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small real ONNX model: one matrix product over an image of six digits."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).normal(size=(28 * 168, 60)).astype(np.float32) / 4000
    shape = np.array([-1, 28 * 168], np.int64), np.array([-1, 6, 10], np.int64)
    constants = [numpy_helper.from_array(weights, "w")]
    constants += [
        numpy_helper.from_array(one, name) for one, name in zip(shape, ("flat", "digits"), strict=True)
    ]
    nodes = [
        helper.make_node("Cast", ["images"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["x", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w"], ["out"]),
        helper.make_node("Reshape", ["out", "digits"], ["logits"]),
    ]
    takes = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 28, 168])
    gives = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 6, 10])
    graph = helper.make_graph(nodes, "tiny", [takes], [gives], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder = tmp_path_factory.mktemp("models")
    onnx.save(made, folder / "model.onnx")
    folder.chmod(0o755)
    return folder / "model.onnx"


class Service:
    """A gateway's container and those of its workers."""

    def __init__(self, engine, images, broker, model):
        self.engine, self.images, self.model = engine, images, model
        self.port, self.mark = free_port(), os.urandom(3).hex()
        self.env = {"SCALELAB_BROKER": broker, "SCALELAB_HOST": "127.0.0.1", "SCALELAB_QUEUE": self.mark}
        self.url, self.names, self.metrics_ports = f"http://127.0.0.1:{self.port}", [], {}

    def gateway(self):
        return self._run("gateway", {"SCALELAB_PORT": str(self.port)})

    def worker(self, memory="", **env):
        port = free_port()
        name = self._run("worker", {"SCALELAB_METRICS_PORT": str(port), **env}, memory=memory)
        self.metrics_ports[name] = port
        return name

    def _run(self, target, env, memory=""):
        name = f"scalelab-{self.mark}-{target}-{len(self.names)}"
        self.names.append(name)
        mounts = [f"{self.model.parent}:/models:ro"] if target == "worker" else []
        self.engine.run(name, self.images[target], env={**self.env, **env}, mounts=mounts, memory=memory)
        return name

    def call(self, path, data=None):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(urllib.request.Request(self.url + path, data, OCTETS), timeout=60) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def is_ready(self, workers):
        return self.is_alive() and self.call("/v1/stats")[1]["workers"] == workers

    def is_alive(self):
        try:
            return self.call("/healthz")[0] == 200
        except OSError:
            return False

    def logs(self, name):
        return self.engine.call("logs", name)

    def exit_code(self, name):
        until(lambda: not self.engine.state(name)["Running"])
        return self.engine.state(name)["ExitCode"]

    def close(self):
        for name in self.names:
            self.engine.call("rm", "--force", name, check=False)


def until(condition, limit_s=60.0):
    limit = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < limit, "it did not happen"
        Event().wait(0.1)
    return found


@pytest.fixture
def service(engine, images, broker_url, model):
    service = Service(engine, images, broker_url, model)
    yield service
    service.close()


@pytest.fixture(scope="module")
def shared(engine, images, broker_url, model):
    """A gateway for several tests, which worry about its workers."""
    service = Service(engine, images, broker_url, model)
    service.gateway()
    until(service.is_alive)
    yield service
    service.close()


@pytest.fixture
def running(shared):
    """The shared gateway and one worker that are ready."""
    if not shared.is_ready(1):
        shared.worker()
        until(lambda: shared.is_ready(1))
    return shared


def pictures(count):
    return [np.random.default_rng(seed).integers(0, 256, (28, 168), np.uint8) for seed in range(count)]


def test_a_request_gets_the_answer_that_the_model_gives_outside_and_nothing_runs_with_rights(running):
    from scalelab.compress import pin_service

    images = pictures(5)
    wanted = pin_service(str(running.model)).predict_batch(np.stack(images))
    replies = [running.call("/v1/pins?wait_s=20", image.tobytes()) for image in images]
    assert [(status, body["result"]["pin"]) for status, body in replies] == [
        (200, one["pin"]) for one in wanted
    ]
    assert len({one["pin"] for one in wanted}) > 1

    gateway, worker = running.names
    inside = running.engine.call
    for name in (gateway, worker):
        assert inside("exec", name, "id", "-u").strip() == "10001"
        assert "Read-only file system" in inside("exec", name, "touch", "/app/x", check=False)
        assert "CapEff:\t0000000000000000" in inside("exec", name, "cat", "/proc/1/status")
    modules = ("torch", "onnxruntime", "numpy", "fastapi", "redis")
    assert inside("exec", gateway, "python", "-c", SIX, *modules).split() == ["fastapi", "redis"]
    assert inside("exec", worker, "python", "-c", SIX, *modules).split() == ["onnxruntime", "numpy", "redis"]

    alive = ["python", "-m", "scalelab", "serve", "alive"]
    port = str(running.metrics_ports[worker])
    assert inside("exec", gateway, *alive, "gateway", "--port", str(running.port)) == ""
    assert inside("exec", worker, *alive, "worker", "--metrics-port", port) == ""
    assert "does not answer" in inside("exec", worker, *alive, "worker", "--metrics-port", "1", check=False)
    scraped = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20).read().decode()
    done = [
        line
        for line in scraped.splitlines()
        if line.startswith("scalelab_tasks_finished_total") and DONE in line
    ]
    assert [line.rsplit(" ", 1)[1] for line in done] == ["5.0"]


def test_a_worker_container_that_is_killed_loses_nothing(running):
    first = running.names[-1]
    with ThreadPoolExecutor(8) as pool:
        accepted = list(pool.map(lambda image: running.call("/v1/pins", image.tobytes()), pictures(40)))
        running.engine.call("kill", "--signal", "KILL", first)
        accepted += list(pool.map(lambda image: running.call("/v1/pins", image.tobytes()), pictures(10)))
        assert running.exit_code(first) == 137
        running.worker()
        path = "/v1/pins/{}?wait_s=30"
        ids = [body["task_id"] for status, body in accepted if status == 202]
        answers = list(pool.map(lambda task_id: running.call(path.format(task_id))[1]["status"], ids))
    assert len(ids) == 50
    assert answers == [DONE] * 50


def test_a_memory_limit_that_is_hit_is_said_in_the_log_and_by_exit_code_137(service):
    name = service.worker(memory="60m")
    assert service.exit_code(name) == 137
    assert "the worker was killed at its container's memory limit of 60.0 MiB" in service.logs(name)


def test_sigterm_ends_both_in_order_and_who_waits_gets_the_answer(service):
    gateway = service.gateway()
    until(service.is_alive)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(service.call, "/v1/pins?wait_s=30", pictures(1)[0].tobytes())
        until(lambda: service.call("/v1/stats")[1]["waiting"] >= 1)
        service.engine.call("kill", "--signal", "TERM", gateway)
        worker = service.worker()
        assert asked.result()[0] == 200
    assert service.exit_code(gateway) == 0
    service.engine.call("kill", "--signal", "TERM", worker)
    assert service.exit_code(worker) == 0


def test_a_container_without_a_broker_says_what_to_set(service):
    del service.env["SCALELAB_BROKER"]
    name = service.gateway()
    assert service.exit_code(name) == 2
    assert "set SCALELAB_BROKER" in service.logs(name)


def test_the_load_generator_measures_the_service_from_its_container(running):
    name = f"scalelab-{running.mark}-load"
    running.names.append(name)
    words = ("run", "--url", running.url, "--rate", "20", "--duration", "3", "--warmup", "0.5", "--no-closed")
    said = running.engine.run(name, running.images["load"], *words, detached=False)
    assert running.engine.state(name)["ExitCode"] == 0, said
    assert int(running.call("/v1/stats")[1]["answered"]) >= 40


def test_the_images_say_what_they_are_and_what_they_weigh(engine, images):
    for target in ("gateway", "worker"):
        config = engine.config(images[target])
        assert config["User"] == "10001:10001"
        assert config["Healthcheck"]["Test"][0] == "CMD"
        assert config["Labels"]["org.opencontainers.image.title"] == f"ScaleLab {target}"
        layers = {layer.what: layer.size_bytes for layer in image_layers(images[target], builder=engine.name)}
        assert set(layers) == {"base image", "packages", "our code"}
        assert layers["our code"] < 6e6
        assert layers["packages"] < {"gateway": 70e6, "worker": 180e6}[target]
