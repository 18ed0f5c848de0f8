"""The load generator: run by locust, headless, in a process of its own (`driver` starts it).

``SCALELAB_LOAD_SPEC`` names a JSON file that says what to send; the result is written as JSON beside it.
locust has no open loop of its own (``constant_throughput`` drops what it missed): here a single user holds
the schedule and starts one greenlet per arrival, on time, whatever became of the earlier ones.
"""

from __future__ import annotations

import gc
import json
import os
import time
from array import array
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent.pool import Group
from gevent.queue import Empty, Queue
from geventhttpclient.client import HTTPClientPool
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from geventhttpclient.url import URL
from locust import FastHttpUser, events, task

from scalelab.loadtest.recorder import OK, TIMEOUT, Recorder, buckets, new_histogram, record

SPEC_PATH = Path(os.environ["SCALELAB_LOAD_SPEC"])
SPEC: dict[str, Any] = json.loads(SPEC_PATH.read_text(encoding="utf-8"))
RECORDER = Recorder(SPEC["warmup_s"], SPEC["duration_s"])
END_S: float = SPEC["warmup_s"] + SPEC["duration_s"]
TIMEOUT_S: float = SPEC["timeout_s"]
CPU_SAMPLE_S = 0.05
DONE, FAILED_STATUSES = "done", ("failed", "expired", "dead")


def read_bodies() -> list[bytes]:
    """Cut the file of bodies at the lengths that the spec gives."""
    blob, found, start = (SPEC_PATH.parent / "bodies.bin").read_bytes(), [], 0
    for length in SPEC["body_lengths"]:
        found.append(blob[start : start + length])
        start += length
    return found or [b""]


def read_arrivals() -> array[float]:
    """Read the schedule [s from the start]."""
    times = array("d")
    times.frombytes((SPEC_PATH.parent / "arrivals.f64").read_bytes())
    return times


class Caller(FastHttpUser):
    """A user that sends through a shared pool of connections.

    It calls the HTTP client *under* FastHttpUser's session: cookies, redirects and per-request statistics
    would cost the generator a third of its rate, and each request reports itself once, from its intended
    send time, as an event of its own type.
    """

    abstract = True
    host = SPEC["url"]
    client_pool = HTTPClientPool(
        concurrency=SPEC["connections"],
        network_timeout=TIMEOUT_S,
        connection_timeout=TIMEOUT_S,
        insecure=True,
    )
    bodies = read_bodies()
    http = client_pool.get_client(URL(SPEC["url"]))
    # It would send a GET again, as often as the pool is large plus one, when the connection breaks. A load
    # test counts what broke instead; the attribute is read for this alone.
    http._connection_pool.size = -1

    def exchange(self, number: int, deadline_s: float) -> tuple[str, Any]:
        """Send request `number`; return its outcome and the response (None without one)."""
        body = self.bodies[number % len(self.bodies)]
        return self.call(SPEC["method"], SPEC["path"], body, SPEC["headers"], deadline_s)

    def call(
        self, method: str, path: str, body: bytes, headers: dict[str, str], deadline_s: float
    ) -> tuple[str, Any]:
        """Do one HTTP exchange before `deadline_s`; waiting for a free connection counts."""
        left_s = deadline_s - RECORDER.now()
        if left_s <= 0:
            return TIMEOUT, None
        try:
            with gevent.Timeout(left_s):
                response = self.http.request(method, path, body, headers)
                response.content = response.read()
        except (gevent.Timeout, TimeoutError):
            return TIMEOUT, None
        except ConnectionRefusedError:
            return "connection refused", None
        except (HTTPConnectionClosed, ConnectionError):
            return "connection closed", None
        except HTTPParseError:
            return "malformed answer", None
        except OSError as error:
            return f"connection failed ({error.strerror or type(error).__name__})", None
        except Exception as error:  # whatever it is: a request that is sent must be counted
            return f"client error ({type(error).__name__})", None
        status = response.status_code
        return (OK if status in SPEC["ok_statuses"] else f"HTTP {status}"), response

    def request_and_record(self, intended_s: float, number: int, kind: str) -> None:
        """Send one request, and book it from its intended send time."""
        outcome, _ = self.exchange(number, intended_s + TIMEOUT_S)
        latency_s = RECORDER.end(intended_s, outcome)
        report_to_locust(self, kind, latency_s, outcome)

    def finish(self, result: dict[str, Any]) -> None:
        """Write the result, whole or not at all, and end locust."""
        partial = SPEC_PATH.parent / "result.partial"
        partial.write_text(json.dumps(result), encoding="utf-8")
        partial.replace(SPEC_PATH.parent / "result.json")
        gevent.spawn(self.environment.runner.quit)  # not from here: it waits for this very user to end

    def announce_start(self) -> None:
        """Set the zero of the schedule, and let the parent know."""
        gc.collect()
        gc.freeze()  # or the collector walks all of locust, 15 ms and more at a time, while sends are due
        RECORDER.restart()
        gevent.spawn(watch_generator)
        started = SPEC_PATH.parent / "started.partial"
        started.write_text(repr(RECORDER.started_at), encoding="utf-8")
        started.replace(SPEC_PATH.parent / "started")

    def send_on_schedule(self, send: Any) -> None:
        """Run ``send(intended_s, number)`` in its own greenlet at each arrival; wait for the last one."""
        sending = Group()
        for number, intended_s in enumerate(read_arrivals()):
            wait_s = intended_s - RECORDER.now()
            if wait_s > 0:
                gevent.sleep(wait_s)
            sending.spawn(send, intended_s, number)
            if number % 64 == 63:
                gevent.sleep(0)  # a generator that is behind must still let its greenlets run
        sending.join()


class OpenUser(Caller):
    """Open loop: requests leave on schedule, latency counts from then."""

    fixed_count = 1

    @task
    def run_schedule(self) -> None:
        """Send everything, wait for the answers, write the result."""
        self.announce_start()
        self.send_on_schedule(self.send)
        self.finish(RECORDER.report())

    def send(self, intended_s: float, number: int) -> None:
        """Send one arrival."""
        RECORDER.begin(intended_s, lag_s=RECORDER.now() - intended_s)
        self.request_and_record(intended_s, number, "open")


class ClosedUser(Caller):
    """Closed loop: each user sends its next request when the last one was answered."""

    fixed_count = SPEC["users"] or 1
    count = 0
    finished = 0

    @task
    def send_in_turn(self) -> None:
        """Send until the window closes; the last user to finish writes the result."""
        if ClosedUser.count == 0 and RECORDER.in_flight == 0:
            self.announce_start()
        while (now_s := RECORDER.now()) < END_S:
            ClosedUser.count += 1
            RECORDER.begin(now_s)
            self.request_and_record(now_s, ClosedUser.count, "closed")
        ClosedUser.finished += 1
        if ClosedUser.finished == SPEC["users"]:
            self.finish(RECORDER.report())
        gevent.sleep(TIMEOUT_S + END_S)  # until locust ends


class BurstUser(Caller):
    """Open loop in which every 202 is followed until its answer, or until the collection ends."""

    fixed_count = 1

    @task
    def run_burst(self) -> None:
        """Send the burst, collect what was promised, write the result."""
        self.accepted, self.refused, self.answered, self.answered_with_error = 0, 0, 0, 0
        self.failures: dict[str, int] = {}
        self.answers, self.acceptances = new_histogram(), new_histogram()
        self.promised: Queue[tuple[float, str]] = Queue()
        self.collect_until_s = END_S + SPEC["collect_timeout_s"]
        self.is_sending = True
        self.announce_start()
        # few followers, oldest promise first: long polls must not crowd out the burst itself
        followers = [gevent.spawn(self.follow) for _ in range(SPEC["followers"])]
        self.send_on_schedule(self.send)
        self.is_sending = False
        gevent.joinall(followers)
        names = ("accepted", "refused", "failures", "answered", "answered_with_error")
        self.finish(
            {
                **{name: getattr(self, name) for name in names},
                "started_at": RECORDER.started_at,
                "offered": len(read_arrivals()),
                "answer_us": buckets(self.answers),
                "accept_us": buckets(self.acceptances),
                "generator_cpu_share": RECORDER.cpu_share,
            }
        )

    def send(self, intended_s: float, number: int) -> None:
        """Send one request of the burst and sort it by what the service said."""
        outcome, response = self.exchange(number, intended_s + TIMEOUT_S)
        latency_s = RECORDER.now() - intended_s
        report_to_locust(self, "burst", latency_s, outcome)
        status = response.status_code if response is not None else 0
        if status == 200:
            self.accepted += 1
            self.answered += 1
            record(self.acceptances, latency_s)
            record(self.answers, latency_s)
        elif status == 202 and (location := find_location(response)):
            self.accepted += 1
            record(self.acceptances, latency_s)
            self.promised.put((intended_s, location))
        elif status in (429, 503):
            self.refused += 1
        else:
            kind = outcome if status != 202 else "202 without a Location"
            self.failures[kind] = self.failures.get(kind, 0) + 1

    def follow(self) -> None:
        """Ask for the oldest promise; put it back while it is not done. After the end, ask once more."""
        while True:
            try:
                intended_s, location = self.promised.get(timeout=0.05)
            except Empty:
                if not self.is_sending:
                    return
                continue
            left_s = self.collect_until_s - RECORDER.now()
            wait_s = max(0.0, min(SPEC["follow_wait_s"], left_s))
            path = f"{location}{'&' if '?' in location else '?'}wait_s={wait_s:.3f}"
            outcome, response = self.call("GET", path, b"", {}, RECORDER.now() + wait_s + TIMEOUT_S)
            status = read_status(response)
            if status == DONE:
                self.answered += 1
                record(self.answers, RECORDER.now() - intended_s)
            elif status in FAILED_STATUSES:
                self.answered_with_error += 1
            elif left_s > 0:
                self.promised.put((intended_s, location))
                if outcome not in (OK, "HTTP 202"):
                    gevent.sleep(0.1)  # the service is in trouble: do not hammer it


def find_location(response: Any) -> str:
    """Return path and query of the Location header, or an empty string."""
    parts = urlsplit(response.get("Location") or "")
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def read_status(response: Any) -> str:
    """Return the ``status`` of a task's JSON, whatever the HTTP status; a 200 without one is an answer."""
    try:
        status = json.loads(response.content).get("status")
    except (ValueError, AttributeError):  # no JSON, no object, or no response at all
        status = None
    return str(status) if status else DONE if response is not None and response.status_code == 200 else ""


def report_to_locust(user: Caller, kind: str, latency_s: float, outcome: str) -> None:
    """Fire locust's request event under a type of its own, apart from any plain rows."""
    user.environment.events.request.fire(
        request_type=kind,
        name=SPEC["path"],
        response_time=1e3 * latency_s,
        response_length=0,
        exception=None if outcome == OK else RuntimeError(outcome),
        context={},
    )


def watch_generator() -> None:
    """Measure the share of a core that this process uses in the window."""
    gevent.sleep(max(0.0, SPEC["warmup_s"] - RECORDER.now()))
    cpu_s, wall_s = time.process_time(), RECORDER.now()
    while RECORDER.now() < END_S:
        gevent.sleep(CPU_SAMPLE_S)
        RECORDER.cpu_share = (time.process_time() - cpu_s) / (RECORDER.now() - wall_s)


@events.quitting.add_listener
def exit_cleanly(environment: Any, **_: Any) -> None:
    """Failed requests are results, not a failure of locust."""
    environment.process_exit_code = 0
