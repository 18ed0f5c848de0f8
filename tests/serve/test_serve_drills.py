"""The drills themselves: what they count, and that they would see what went wrong."""

import asyncio
import contextlib
import json
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner

from scalelab.cli import main
from scalelab.core.errors import ConfigError, RunFailed
from scalelab.core.records import RecordStore
from scalelab.serve.drills import FAULTS, run_drill, run_soak
from scalelab.serve.drills.client import Connection, Request, Unreachable, send_all
from scalelab.serve.drills.counting import POISON, STARVED, Runs, make, make_item, write_model
from scalelab.serve.drills.drill import _account
from scalelab.serve.drills.soak import growth_of


def batch(*items):
    return np.frombuffer(b"".join(items), dtype=np.uint8).reshape(len(items), 28, 168)


@pytest.fixture
def counting(tmp_path):
    write_model(tmp_path / "model.json", log=tmp_path / "runs.log", item_s=0.0)
    return make(str(tmp_path / "model.json")), tmp_path / "runs.log"


def test_the_counting_model_writes_down_each_run_and_not_its_warm_up(counting):
    model, log = counting
    assert Runs.read(log) == Runs({}, Counter())
    model.predict_batch(np.zeros((4, 28, 168), np.uint8))
    found = model.predict_batch(batch(make_item(7), make_item(300)))
    model.predict_batch(batch(make_item(7)))
    assert found == [{"number": 7}, {"number": 300}]
    assert Runs.read(log).done == {7: 2, 300: 1}


@pytest.mark.parametrize(("kind", "error"), [(POISON, ValueError), (STARVED, MemoryError)])
def test_a_harmful_item_has_begun_and_is_never_done(counting, kind, error):
    model, log = counting
    with pytest.raises(error):
        model.predict_batch(batch(make_item(1), make_item(2, kind)))
    assert set(Runs.read(log).began) == {1, 2}
    assert Runs.read(log).done == {}


def requests(count, **changes):
    """Requests that were accepted at 1 s and answered at 2 s."""
    made = [Request(n, b"", f"k{n}", f"t{n}", 1.0, "done", 2.0) for n in range(count)]
    for name, values in changes.items():
        for number, value in values.items():
            setattr(made[number], name, value)
    return made


def account(sent, fault="broker", runs=(), whole_s=3.0, fault_s=1.5):
    sent[-1].accepted_s, sent[-1].answered_s = 4.0, 4.5
    return _account(fault, sent, Runs({}, Counter(dict(runs))), fault_s, whole_s, 1, (), 0)


def test_a_drill_in_which_nothing_went_wrong_is_passed():
    result = account(requests(5))
    assert (result.accepted, result.answered, result.lost, result.is_passed) == (5, 5, 0, True)
    assert result.recovery_s == 3.0  # the first request after the fault was the last to be answered


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"status": {2: ""}}, "lost"),
        ({"status": {2: "lost"}}, "lost"),
        ({"status": {2: "failed"}}, "wrong"),
        ({"is_answered_twice": {2: True}}, "answered_twice"),
    ],
)
def test_what_went_wrong_is_counted_and_fails_the_drill(changes, field):
    result = account(requests(5, **changes))
    assert (getattr(result, field), result.is_passed) == (1, False)


def test_a_harmful_item_that_is_answered_as_if_it_were_good_fails_the_drill():
    good = account(requests(30, status=dict.fromkeys(range(0, 25, 5), "failed")), "poison")
    assert (good.wrong, good.is_passed) == (0, True)
    assert account(requests(30), "poison").wrong == 5


@pytest.mark.parametrize("sent", [requests(5, task_id={2: ""}), requests(5)], ids=["refused", "not whole"])
def test_a_request_that_was_never_accepted_or_a_process_that_never_came_back_fails_the_drill(sent):
    whole_s = 3.0 if not sent[2].task_id else float("inf")
    assert not account(sent, whole_s=whole_s).is_passed


def test_runs_that_were_repeated_are_said_and_are_no_failure():
    result = account(requests(5), runs={1: 2, 3: 1})
    assert (result.run_twice, result.is_passed) == (1, True)
    record = result.to_record(rate=400.0, workers=2, broker="")
    assert record.metric("run_twice").values == (1.0,)
    assert record.status == "done"


@pytest.mark.parametrize(
    ("values", "growth"), [([5.0] * 9, 0.0), ([100, 105, 110], 0.0952), ([3, 2, 1], -1.0), ([1], 0.0)]
)
def test_growth_is_the_rise_of_the_line_as_a_share_of_the_mean(values, growth):
    assert growth_of(values) == pytest.approx(growth, abs=1e-3)


class Service:
    """A server over HTTP that answers what its script says, then the right thing."""

    def __init__(self, *script):
        self.script, self.posts, self.tasks = list(script), [], {}

    async def serve(self, reader, writer):
        with contextlib.suppress(OSError, EOFError):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                method, target, _ = head.split(" ", 2)
                body = await reader.readexactly(int(head.lower().split("content-length: ")[1].split("\r")[0]))
                status, said = self.answer(method, target, head, body)
                if not status:
                    break
                text = json.dumps(said).encode()
                writer.write(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%b" % (status, len(text), text))
        writer.close()

    def answer(self, method, target, head, body):
        if method == "POST":
            key = head.split("Idempotency-Key: ")[1].split("\r")[0]
            self.posts.append(key)
            if self.script:
                return self.script.pop(0), {}
            return 202, {"task_id": self.tasks.setdefault(key, f"t{len(self.tasks)}")}
        return 200, {"task_id": target.split("/")[-1].split("?")[0], "status": "done", "n": self.number()}

    def number(self):
        return 1


def followed(service, count=3):
    """Send requests to a service; return them."""
    sent = [Request(n, make_item(n), f"key-{n}") for n in range(count)]

    async def go():
        server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            await send_all(f"http://127.0.0.1:{port}", "/v1/pins", sent, rate=1000, limit_s=10)

    asyncio.run(asyncio.wait_for(go(), 30))
    return sent


def test_a_request_is_sent_again_with_its_key_until_it_is_accepted():
    service = Service(429, 503, 0)  # refused, refused, connection broken
    sent = followed(service)
    assert [one.status for one in sent] == ["done"] * 3
    assert sum(one.refusals for one in sent) == 3
    assert not any(one.is_answered_twice for one in sent)
    assert Counter(service.posts)[sent[0].key] >= 2


def test_a_key_that_leads_to_another_answer_is_seen():
    service = Service()
    numbers = iter(range(100))
    service.number = lambda: next(numbers)
    assert all(one.is_answered_twice for one in followed(service))


def test_nobody_there_is_unreachable(run):
    with pytest.raises(Unreachable):
        run(Connection("http://127.0.0.1:1").request("GET", "/"))


def test_faults_that_are_not_possible_say_why():
    far = "redis://far/0"
    assert [name for name, fault in FAULTS.items() if fault.is_possible(far)] == ["broker", "disk"]
    with pytest.raises(RunFailed, match="not ours"):
        run_drill("broker", broker=far)
    with pytest.raises(ConfigError, match="no fault 'brocker'"):
        run_drill("brocker")
    with pytest.raises(ConfigError, match="too few"):
        run_drill("worker", requests=10)
    with pytest.raises(ConfigError, match="shows nothing"):
        run_soak("m", seconds=5)


@pytest.mark.slow
def test_chaos_on_a_real_stack(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALELAB_RUNS", str(tmp_path))
    words = ["serve", "chaos", "worker", "broker", "poison", "--requests", "200", "--rate", "200"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    records = RecordStore(tmp_path / "chaos.jsonl").read()
    assert [record.subject for record in records] == [f"serve/chaos/{name}" for name in words[2:5]]
    for record in records:
        assert record.metric("answered").values == (200.0,)
        assert record.metric("lost").values == (0.0,)
