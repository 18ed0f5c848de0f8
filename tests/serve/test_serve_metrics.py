"""What is counted, in one process and over several, and how Prometheus reads it."""

import os
import subprocess
import sys
from collections import Counter

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from scalelab.serve.broker import Answer, Delivery, Health
from scalelab.serve.metrics import (
    GATEWAY,
    SECONDS,
    STATUSES,
    WORKER,
    GatewayMetrics,
    WorkerMetrics,
    open_worker_metrics,
)
from scalelab.serve.protocol import DONE, FAILED, Task, answer
from scalelab.serve.scrape import render_gateway
from scalelab.serve.settings import StackSettings
from scalelab.serve.tally import COUNTER, GAUGE, HISTOGRAM, Layout, Metric, Tally, read_folder

LAYOUT = Layout(
    Metric("done", COUNTER, "things done", "status", ("good", "bad")),
    Metric("held", GAUGE, "things in hand"),
    Metric("wait_seconds", HISTOGRAM, "how long", bounds=(0.1, 1.0)),
)
COUNT_AND_WAIT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_serve_metrics import LAYOUT
from scalelab.serve.tally import Tally
tally = Tally(LAYOUT, Path(sys.argv[1]), {"model": "m"})
tally.gauge("held")(2)
add, observe = tally.counter("done", "good"), tally.histogram("wait_seconds")
for _ in range(int(sys.argv[2])):
    add()
    observe(0.5)
print("counted", flush=True)
sys.stdin.read()
"""


def scrape(metrics, health=None, folder=None, accept=""):
    text, _ = render_gateway(metrics, health, folder=folder, facts={"version": "1"}, accept=accept)
    return text.decode()


def samples(text, parse=parse_text):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


@pytest.fixture
def process(tmp_path):
    """Start a process that counts to a number and then holds still."""
    started = []

    def start(name, count):
        code = [
            sys.executable,
            "-c",
            COUNT_AND_WAIT,
            str(tmp_path / name),
            str(count),
            os.path.dirname(__file__),
        ]
        child = subprocess.Popen(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(child)
        assert child.stdout.readline() == "counted\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def counted(folder):
    return {one.slot: one.cells[LAYOUT.starts["done", "good"]] for one in read_folder(folder, LAYOUT)}


@pytest.mark.parametrize("values", [[0.0, 0.001, 0.0011, 0.2, 31.0], [5.0] * 3], ids=str)
def test_a_histogram_counts_as_prometheus_own_does(values):
    registry = CollectorRegistry()
    theirs = Histogram("scalelab_answer_wait_seconds", "x", buckets=SECONDS, registry=registry)
    ours = GatewayMetrics()
    for value in values:
        theirs.observe(value)
        ours.waited(value)
    wanted = samples(generate_latest(registry).decode())
    found = samples(scrape(ours))
    wanted = {name: value for name, value in wanted.items() if not name[0].endswith("_created")}
    assert len(wanted) == len(SECONDS) + 3
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)


def test_many_events_of_one_size_are_one_step():
    one_by_one, at_once = Tally(LAYOUT), Tally(LAYOUT)
    for _ in range(7):
        one_by_one.histogram("wait_seconds")(0.5)
    at_once.histogram("wait_seconds")(0.5, 7)
    assert list(at_once.cells) == list(one_by_one.cells)
    assert sum(at_once.cells) > 0


@pytest.mark.slow
def test_what_a_killed_process_counted_stays_and_its_successor_adds_to_it(process, tmp_path):
    first, _ = process("worker-1-11-1.cells", 1000), process("worker-2-12-2.cells", 10)
    seen = [counted(tmp_path)["worker-1"]]
    first.kill()
    first.wait()
    seen.append(counted(tmp_path)["worker-1"])
    process("worker-1-13-3.cells", 5)
    seen += [counted(tmp_path)["worker-1"] for _ in range(3)]
    assert seen == [1000, 1000, 1005, 1005, 1005]
    assert counted(tmp_path)["worker-2"] == 10
    assert sorted(path.name for path in tmp_path.glob("worker-1*")) == [
        "worker-1-13-3.cells",
        "worker-1.ended",
    ]


@pytest.mark.slow
def test_a_process_that_ended_holds_nothing_and_shows_no_facts(process, tmp_path):
    first = process("worker-1-11-1.cells", 3)
    (alive,) = read_folder(tmp_path, LAYOUT)
    first.kill()
    first.wait()
    (ended,) = read_folder(tmp_path, LAYOUT)
    held = LAYOUT.starts["held", ""]
    assert (alive.cells[held], dict(alive.facts)) == (2, {"model": "m"})
    assert (ended.cells[held], dict(ended.facts)) == (0, {})


@pytest.mark.slow
def test_a_file_that_was_folded_in_but_not_removed_is_not_counted_twice(process, tmp_path):
    """As after a crash between the two steps."""
    first = process("worker-1-11-1.cells", 3)
    first.kill()
    first.wait()
    content = (tmp_path / "worker-1-11-1.cells").read_bytes()
    assert counted(tmp_path) == {"worker-1": 3}
    (tmp_path / "worker-1-11-1.cells").write_bytes(content)
    assert counted(tmp_path) == {"worker-1": 3}
    assert not (tmp_path / "worker-1-11-1.cells").exists()


def test_files_of_others_and_torn_ones_are_passed_over(tmp_path):
    Tally(LAYOUT, tmp_path / "worker-1-1-1.cells").counter("done", "good")(4)
    other = Layout(Metric("done", COUNTER, "of another version", "status", ("good", "bad")))
    Tally(other, tmp_path / "worker-2-1-2.cells")
    (tmp_path / "worker-3-1-3.cells").write_bytes((tmp_path / "worker-1-1-1.cells").read_bytes()[:-4])
    (tmp_path / "worker-4-1-4.cells").write_bytes(b"")
    assert counted(tmp_path) == {"worker-1": 4}


@pytest.mark.parametrize("status", STATUSES)
def test_an_answer_is_counted_by_its_own_status(status):
    body = answer("0" * 32, status, error='an error that says "status":"done"')
    metrics = GatewayMetrics()
    metrics.heard(body)
    assert samples(scrape(metrics))["scalelab_answers_total", ("status", status)] == 1


@pytest.mark.parametrize(
    ("http_status", "reason"), [(429, "overload"), (413, "too_large"), (503, "broker_away"), (418, "other")]
)
def test_a_refusal_is_counted_by_its_reason(http_status, reason):
    metrics = GatewayMetrics()
    metrics.reject(http_status)
    found = samples(scrape(metrics))
    rejected = {
        name[1][1]: value for name, value in found.items() if name[0] == "scalelab_requests_rejected_total"
    }
    assert rejected.pop(reason) == 1
    assert rejected
    assert not any(rejected.values())


def delivery(attempt=1, waited_s=0.0):
    return Delivery(Task("0" * 32, b"x", "g", 5.0), "r", attempt, False, waited_s)


def test_the_stages_of_a_task_add_up():
    now = [100.0]
    metrics = WorkerMetrics(clock=lambda: now[0])
    deliveries = [delivery(waited_s=2.0), delivery(attempt=2, waited_s=4.0)]
    metrics.took(deliveries)
    metrics.ran(2, 0.25)
    now[0] += 0.5
    assert metrics.tally.cells[WORKER.starts["tasks_running", ""]] == 2
    bodies = [answer("0" * 32, DONE), answer("0" * 32, FAILED)]
    metrics.stored([Answer(deliveries[0], bodies[0]), Answer(deliveries[1], bodies[1], dead_letter="bad")])
    sums = {
        stage: metrics.tally.cells[WORKER.starts["task_duration_seconds", stage]]
        for stage in ("queue", "model")
    }
    assert sums == {"queue": 6.0, "model": 0.5}
    assert metrics.tally.cells[WORKER.starts["task_duration_seconds", "total"]] == 6.0 + 2 * 0.5
    shown = {
        name: metrics.tally.cells[at] for name, at in WORKER.starts.items() if name[0].startswith("task")
    }
    assert shown["tasks_finished", DONE] == shown["tasks_finished", FAILED] == 1
    assert shown["task_retries", ""] == shown["tasks_dead_lettered", ""] == 1
    assert shown["tasks_running", ""] == 0


def test_a_folder_that_takes_no_file_keeps_no_worker_from_counting(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    settings = StackSettings(model_path="x.onnx")
    metrics = open_worker_metrics(tmp_path / "file", settings, name="worker-1-1-1", version="v")
    metrics.ran(1, 0.1)
    assert sum(metrics.tally.cells) > 0
    assert "metrics stay in this process" in caplog.text


def test_the_gateway_shows_its_queue_and_its_workers(tmp_path):
    worker = WorkerMetrics(
        tmp_path / "worker-1-7-1.cells", {"model": "m:f", "file": "x.onnx", "version": "ab"}
    )
    worker.ran(3, 0.1)
    found = samples(scrape(GatewayMetrics(), Health(5, 2, 1, 3, 1.5), tmp_path))
    wanted = {
        ("scalelab_queue_depth_tasks",): 5,
        ("scalelab_queue_oldest_age_seconds",): 1.5,
        ("scalelab_tasks_in_flight",): 3,
        ("scalelab_workers",): 2,
        ("scalelab_dead_letters",): 1,
        ("scalelab_broker_up",): 1,
        ("scalelab_batch_size_tasks_bucket", ("le", "2.0"), ("worker", "worker-1")): 0,
        ("scalelab_batch_size_tasks_bucket", ("le", "4.0"), ("worker", "worker-1")): 1,
        (
            "scalelab_model_info",
            ("file", "x.onnx"),
            ("model", "m:f"),
            ("version", "ab"),
            ("worker", "worker-1"),
        ): 1,
    }
    assert {name: found.get(name) for name in wanted} == wanted


def test_a_broker_that_is_away_is_a_number_and_no_error():
    found = samples(scrape(GatewayMetrics(), None))
    assert found["scalelab_broker_up",] == 0
    assert ("scalelab_queue_depth_tasks",) not in found


def test_both_formats_hold_the_same_numbers_under_names_of_the_convention(tmp_path):
    WorkerMetrics(tmp_path / "worker-1-7-1.cells", {"model": "m"}).ran(3, 0.1)
    metrics = GatewayMetrics()
    metrics.accepted(2)
    text = scrape(metrics, Health(0, 1, 0), tmp_path)
    modern = scrape(metrics, Health(0, 1, 0), tmp_path, accept="application/openmetrics-text; version=1.0.0")
    plain, open_metrics = samples(text), samples(modern, parse_openmetrics)
    now = ("scalelab_last_step_timestamp_seconds", ("worker", "worker-1"))
    assert plain.pop(now) == open_metrics.pop(now) == 0
    assert plain == open_metrics
    kinds = {family.name: family.type for family in parse_text(text)}
    assert Counter(kinds.values()).keys() == {"counter", "gauge", "histogram"}
    assert all(name.startswith("scalelab_") for name in kinds)
    assert not [name for name, kind in kinds.items() if kind == "gauge" and name.endswith("_total")]


def test_every_metric_says_what_it_is():
    for metric in (*GATEWAY.metrics, *WORKER.metrics):
        assert metric.about
        assert metric.kind != HISTOGRAM or metric.name.endswith(("_seconds", "_tasks"))
