"""The benchmark of the serving path beside its peers: its parts, and once at its smallest size."""

import json
import math
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scalelab.core.errors import ConfigError
from scalelab.core.paths import shipped
from scalelab.core.records import RecordStore

ITEMS = 8
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux: epoll, and memory by PSS")


@pytest.fixture(autouse=True)
def peers_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(shipped("benchmarks")))


@pytest.fixture
def door():
    """A server whose label is the body's first byte. It refuses item 6; item 7 is expected to be another."""
    from peers.load import Door

    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            answer = b'{"label": %d}' % body[0]
            self.send_response(429 if body[0] == 6 else 200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    bodies = tuple(bytes([number]) for number in range(ITEMS))
    labels = (*range(ITEMS - 1), 0)
    yield Door("127.0.0.1", server.server_port, "/", "application/octet-stream", bodies, labels)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("knee", [40.0, 95.0, 100.0, 104.0, 250.0])
def test_the_knee_found_holds_and_a_step_more_does_not(knee):
    from peers.rounds import find_knee

    found = find_knee(lambda rate: rate <= knee, 100.0, step=1.05, most=50)
    assert found <= knee < found * 1.05 * (1 + 1e-9)


def test_a_system_that_holds_nothing_has_a_knee_of_zero():
    from peers.rounds import find_knee

    tried = []
    assert find_knee(lambda rate: bool(tried.append(rate)), 100.0, most=6) == 0.0
    assert len(tried) == 6
    assert tried == sorted(tried, reverse=True)


@on_linux
@pytest.mark.slow
def test_every_request_of_an_open_loop_is_counted_by_what_became_of_it(door):
    from peers.load import open_loop

    called = []
    during = (0.3, lambda: called.append(1))
    found = open_loop(door, 80.0, 1.0, warmup_s=0.0, timeout_s=30.0, during=during)
    assert called == [1]
    assert set(found["outcomes"]) == {"ok", "HTTP 429"}
    assert sum(found["outcomes"].values()) == found["n"] > 40
    refused, strange = (sum(number % ITEMS == which for number in range(found["n"])) for which in (6, 7))
    assert found["outcomes"]["HTTP 429"] == refused
    assert found["wrong"] == strange
    assert found["p50_s"] > 0
    assert found["p95_s"] is None  # an eighth got no good answer: that is infinitely late


@on_linux
@pytest.mark.slow
def test_without_wrk_our_generator_keeps_the_closed_loop(door, monkeypatch):
    from peers.load import closed_loop

    find = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **more: None if name == "wrk" else find(name, **more))
    closed = closed_loop(door, 0.5, 0.1)
    assert closed.generator == "peers.generator"
    assert closed.answered > ITEMS
    assert 0 < closed.bad < closed.answered  # item 6 is refused


def findings(**more):
    from peers.rounds import Effort, Findings, Seen
    from peers.systems import SYSTEMS
    from peers.workload import TOKENS

    found = Findings(TOKENS, Effort(), ceilings=[1000.0, 1010.0], calm_rate_per_s=450.0)
    for name, values in more.items():
        system = SYSTEMS[name.replace("_", "-")]
        knee, ms, lost = values
        calm = [{f"p{p}_s": ms * p / 50e3 for p in (50, 95, 99)}] * 3
        body = system.bodies[0]
        found.seen[system.name, body] = Seen(
            system, body, closed=[900.0] * 3, closed_share=[0.9] * 3, ceiling=[1000.0] * 3, knee=knee,
            knee_share=[rate / 1000 for rate in knee], calm=calm, start_s=[1.0] * 3, memory_bytes=[2e8] * 3,
            cpu_us=[2000.0] * 3, killed={"n": 2000, "ok": 2000 - lost, "outcomes": {}},
        )  # fmt: skip
    return found


def verdicts(found):
    from peers.table import claims

    return {claim["claim"]: claim["verdict"] for claim in claims(found)}


def test_a_claim_passes_only_if_every_round_holds():
    mosec = ([900.0] * 3, 8.0, 8)
    good = verdicts(findings(ours=([950.0, 960.0, 955.0], 7.0, 0), mosec_json=mosec))
    assert set(good.values()) == {"PASS"}
    assert sum("above that of mosec" in text for text in good) == 1

    mixed = verdicts(findings(ours=([950.0, 890.0, 955.0], 7.0, 0), mosec_json=mosec))
    assert [text for text, verdict in mixed.items() if verdict == "INCONCLUSIVE"] == [
        text for text in mixed if "knee" not in text and ("90 %" in text or "above" in text)
    ]

    bad = verdicts(findings(ours=([800.0] * 3, 9.0, 1), mosec_json=mosec))
    failed = [text for text, verdict in bad.items() if verdict == "FAIL"]
    assert len(failed) == 2 + 3 + 1  # both rates, three percentiles, a lost request


def test_a_rate_of_one_round_has_no_verdict():
    once = verdicts(findings(ours=([950.0], 7.0, 0), mosec_json=([900.0, 910.0, 905.0], 8.0, 8)))
    rates = {text: verdict for text, verdict in once.items() if "highest rate" in text}
    assert len(rates) == 2
    assert set(rates.values()) == {"INCONCLUSIVE"}


def test_without_ours_nothing_is_claimed():
    from peers.table import claims

    with pytest.raises(ConfigError, match="nothing of ours"):
        claims(findings(mosec_json=([900.0] * 3, 8.0, 8)))


def test_the_table_has_a_row_for_each_and_names_what_is_missing():
    from peers.table import markdown

    found = findings(ours=([950.0] * 3, 7.0, 0), mosec_json=([900.0] * 3, 8.0, 8))
    found.absent["litserve"] = "no wheel for this Python"
    text = markdown(found)
    assert text.count("\n| ") == 3  # the rule under the head, and two systems
    assert "0 of 2000" in text
    assert "8 of 2000" in text
    assert "No number of litserve: no wheel for this Python" in text


def test_an_unknown_system_or_peer_is_named():
    from peers.environment import choose

    with pytest.raises(ConfigError, match="mosecraw"):
        choose("ours,mosecraw", "all")
    with pytest.raises(ConfigError, match="litserv"):
        choose("ours", "litserv")


def test_a_peer_that_may_not_be_installed_is_reported_and_nothing_is_installed():
    from peers.environment import choose

    chosen, python, absent = choose("ours,mosec-raw", "none")
    assert [system.name for system in chosen] == ["ours"]
    assert str(python) == sys.executable
    assert list(absent) == ["mosec-raw"]


def test_both_bodies_of_an_item_are_the_same_item():
    from peers.workload import DIGITS, TOKENS

    for workload in (TOKENS, DIGITS):
        item = workload.items(1)[0]
        again = workload.from_list(json.loads(workload.json_body(item))[workload.field])
        assert again.tobytes() == workload.from_bytes(item.tobytes()).tobytes() == item.tobytes()
        assert math.prod(workload.shape) == item.size


@on_linux
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_is_counted_holds_at_any_size(tmp_path):
    """Rates and times belong to a quiet machine; nothing lost and no wrong answer hold everywhere."""
    suite = str(shipped("benchmarks") / "serving.toml")
    command = [sys.executable, "-m", "scalelab", "bench", "run", suite, "--tier", "ci"]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stdout + done.stderr
    records = RecordStore(tmp_path / "records.jsonl").read()
    assert len(records) == 2
    for record in records:
        assert record.notes["absent"] == {}
        counted = {
            claim["claim"]: (claim["verdict"], claim["detail"])
            for claim in record.notes["claims"]
            if "good one" in claim["claim"] or "lost" in claim["claim"]
        }
        assert len(counted) >= 2
        assert {verdict for verdict, _ in counted.values()} == {"PASS"}, counted
    lost = records[0].metric("lost_ours-json")
    assert lost.values == (0.0,)
