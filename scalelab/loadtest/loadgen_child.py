"""The process in which LoadGen, or our own measurement beside it, drives a model or a service.

    python -m scalelab.loadtest.loadgen_child FOLDER

FOLDER holds the plan (`loadgen.run_child` writes it) and gets LoadGen's logs and ``result.json``. Both
instruments run the same calls on the same inputs, each in a fresh process of its own.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.core.processes import die_with_parent
from scalelab.core.stats import measure
from scalelab.loadtest.process import write

SAMPLES = 64
"""different inputs of a model; LoadGen draws among them"""
_TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int64)": "int64"}
_DRAWN_BELOW = 256
_FASTEST_NS = 50_000
_SWITCH_S = 0.0005
"""so long a thread may keep Python from the thread that LoadGen sends with (Python's own: 5 ms)"""

Complete = Callable[[Sequence[int]], None]
"""tell LoadGen that these queries are answered"""


class Model:
    """An ONNX file in ONNX Runtime. It answers within `issue`: one queue, one server."""

    def __init__(self, spec: dict[str, Any]):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = spec["threads"], 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(spec["model"], options, providers=["CPUExecutionProvider"])
        self._run, self.batch = session.run, spec["batch"] if spec["scenario"] == "offline" else 1
        random = np.random.default_rng(spec["seed"])
        self._inputs = {one.name: _draw(one, random) for one in session.get_inputs()}
        self.samples, self.failures = SAMPLES, Counter[str]()
        for _ in range(3):
            self.predict(range(self.batch))

    def predict(self, indices: Sequence[int]) -> None:
        """Run these samples as one batch."""
        chosen = np.array(indices) % SAMPLES
        self._run(None, {name: values[chosen] for name, values in self._inputs.items()})

    def issue(self, ids: Sequence[int], indices: Sequence[int], complete: Complete) -> None:
        """Run a query, a batch at a time."""
        for first in range(0, len(ids), self.batch):
            self.predict(indices[first : first + self.batch])
            complete(ids[first : first + self.batch])

    def close(self) -> None:
        """Nothing is open."""


class Service:
    """An address: a query is a request, sent by the next free sender, each with a connection."""

    def __init__(self, spec: dict[str, Any], bodies: Sequence[bytes]):
        from scalelab.loadtest.wire import Connection, Wire, describe

        wire = Wire(spec["url"], spec["headers"], verify_tls=spec["verify_tls"])
        self._method, self._limit_s, self._ok = spec["method"], spec["timeout_s"], set(spec["ok_statuses"])
        self._requests = [wire.request(self._method, spec["path"], body) for body in bodies or (b"",)]
        self._describe, self._connect = describe, lambda: Connection(wire)
        self.samples, self.failures = len(self._requests), Counter[str]()
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # one query at a time needs no second thread, and the hand-over would count
        self._own = Connection(wire) if spec["scenario"] == "single_stream" else None
        count = 0 if self._own else spec["connections"]
        self._senders = [threading.Thread(target=self._send, daemon=True) for _ in range(count)]
        for sender in self._senders:
            sender.start()

    def issue(self, ids: Sequence[int], indices: Sequence[int], complete: Complete) -> None:
        """Hand a query to the senders; or, one at a time, send it."""
        for query, index in zip(ids, indices, strict=True):
            if self._own:
                self._exchange(self._own, index)
                complete([query])
            else:
                self._waiting.put((query, index, complete))

    def close(self) -> None:
        """End the senders."""
        for _ in self._senders:
            self._waiting.put(None)
        for sender in self._senders:
            sender.join(self._limit_s)
        if self._own:
            self._own.close()

    def _send(self) -> None:
        connection = self._connect()
        while (one := self._waiting.get()) is not None:
            query, index, complete = one
            self._exchange(connection, index)
            complete([query])
        connection.close()

    def _exchange(self, connection: Any, index: int) -> None:
        try:
            request = self._requests[index % len(self._requests)]
            status = connection.exchange(request, self._method, self._limit_s).get_code()
            if status not in self._ok:
                self.failures[f"HTTP {status}"] += 1
        except Exception as error:  # whatever it was: counted, and the query must end
            self.failures[self._describe(error)] += 1


def drive(sut: Model | Service, spec: dict[str, Any], folder: Path) -> None:
    """Let LoadGen run its scenario."""
    import mlperf_loadgen as lg

    settings = lg.TestSettings()
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_query_count = spec["min_queries"]
    settings.min_duration_ms = round(1000 * spec["duration_s"])
    for name in ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed"):
        setattr(settings, name, spec["seed"])
    if spec["scenario"] == "single_stream":
        settings.scenario = lg.TestScenario.SingleStream
        # how many queries it prepares: more than Python can ask for, unless the run is very long
        settings.single_stream_expected_latency_ns = max(
            _FASTEST_NS, round(1e9 * spec["duration_s"] / spec["most_queries"])
        )
    elif spec["scenario"] == "server":
        settings.scenario = lg.TestScenario.Server
        settings.server_target_qps = spec["rate_per_s"]
        settings.server_target_latency_ns = round(1e9 * spec["bound_s"])
    else:
        settings.scenario = lg.TestScenario.Offline
        settings.offline_expected_qps = spec["rate_per_s"]
    output = lg.LogOutputSettings()
    output.outdir = str(folder)
    logs = lg.LogSettings()
    logs.log_output, logs.enable_trace = output, False

    def complete(ids: Sequence[int]) -> None:
        lg.QuerySamplesComplete([lg.QuerySampleResponse(one, 0, 0) for one in ids])

    def issue(queries: Sequence[Any]) -> None:
        sut.issue([one.id for one in queries], [one.index for one in queries], complete)

    library = lg.ConstructQSL(sut.samples, sut.samples, lambda _: None, lambda _: None)
    system = lg.ConstructSUT(issue, lambda: None)
    lg.StartTestWithLogSettings(system, library, settings, logs)
    lg.DestroyQSL(library)
    lg.DestroySUT(system)


def measure_model(model: Model, spec: dict[str, Any], arrivals_s: Sequence[float]) -> dict[str, Any]:
    """Measure the same by our own means: latencies [s], or samples a second."""
    numbers = iter(range(1 << 62))
    if spec["scenario"] == "single_stream":
        duration_s, least = spec["duration_s"], spec["min_queries"]
        call = measure(
            lambda: model.predict([next(numbers)]),
            min_duration_s=duration_s, min_iterations=least, max_duration_s=10 * duration_s,
        )  # fmt: skip
        return {"latencies_s": call}
    started = time.perf_counter()
    if spec["scenario"] == "server":
        latencies_s = []
        for at_s in arrivals_s:  # one server: who comes while it works waits for its turn
            if (early_s := started + at_s - time.perf_counter()) > 0:
                time.sleep(early_s)
            model.predict([next(numbers)])
            latencies_s.append(time.perf_counter() - started - at_s)
        return {"latencies_s": latencies_s}
    done = 0
    while (passed_s := time.perf_counter() - started) < spec["duration_s"]:
        model.predict(range(done, done + model.batch))
        done += model.batch
    return {"per_s": done / passed_s}


def main(folder: Path) -> None:
    """Run the plan in `folder`."""
    spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    sys.setswitchinterval(_SWITCH_S)
    sut: Model | Service
    if "model" in spec:
        sut = Model(spec)
    else:
        blob = (folder / "bodies.bin").read_bytes()
        edges = accumulate(spec["body_lengths"], initial=0)
        sut = Service(spec, [blob[start:end] for start, end in pairwise(edges)])
    if spec["instrument"] == "loadgen":
        before_s, used_s = time.perf_counter(), time.process_time()
        drive(sut, spec, folder)
        used_s, passed_s = time.process_time() - used_s, time.perf_counter() - before_s
        found: dict[str, Any] = {"cpu_share": used_s / passed_s if isinstance(sut, Service) else 0.0}
    else:
        assert isinstance(sut, Model)
        found = measure_model(sut, spec, spec.get("arrivals_s", ()))
    sut.close()
    write(folder / "result.json", json.dumps({**found, "failures": dict(sut.failures)}))


def _draw(one: Any, random: np.random.Generator) -> np.ndarray:
    """Return inputs ``(64, ...)``: whole numbers below 256, of the type and shape that the graph asks."""
    shape = [size if isinstance(size, int) else 1 for size in one.shape[1:]]
    return random.integers(0, _DRAWN_BELOW, (SAMPLES, *shape)).astype(_TYPES.get(one.type, "float32"))


if __name__ == "__main__":
    die_with_parent()
    main(Path(sys.argv[1]))
