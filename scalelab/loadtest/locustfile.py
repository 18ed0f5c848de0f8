"""The load generator: run by locust in a process of its own (`generator` starts it, one or several).

``SCALELAB_LOAD_SPEC`` names a JSON file that says what to send; each process writes its result beside it.
locust has no open loop of its own (``constant_throughput`` drops what it missed): here a single user holds
the schedule and hands each arrival, on time, to a sender that is free, whatever became of the earlier ones.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import traceback
from array import array
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent.event import Event
from gevent.queue import Empty, Queue, SimpleQueue
from locust import User, events, task
from locust.exception import StopUser

from scalelab.loadtest.alarm import Alarm
from scalelab.loadtest.outcomes import OK, UNSENT
from scalelab.loadtest.process import meet, watch, write
from scalelab.loadtest.recorder import Recorder, buckets
from scalelab.loadtest.wire import Answer, Connection, Wire, describe

SPEC_PATH = Path(os.environ["SCALELAB_LOAD_SPEC"])
PART = int(os.environ.get("SCALELAB_LOAD_PART", "0"))
FOLDER = SPEC_PATH.parent
SPEC: dict[str, Any] = json.loads(SPEC_PATH.read_text(encoding="utf-8"))
RECORDER = Recorder(SPEC["edges_s"])
END_S = RECORDER.end_s
TIMEOUT_S: float = SPEC["timeout_s"]
DONE, FAILED_STATUSES = "done", ("failed", "expired", "dead", "cancelled")


def read_bodies() -> list[bytes]:
    """Cut the file of bodies at the lengths that the spec gives."""
    blob, found, start = (FOLDER / "bodies.bin").read_bytes(), [], 0
    for length in SPEC["body_lengths"]:
        found.append(blob[start : start + length])
        start += length
    return found or [b""]


def read_arrivals() -> array[float]:
    """Read this process's part of the schedule [s from the start]: every n-th arrival."""
    times = array("d")
    times.frombytes((FOLDER / "arrivals.f64").read_bytes())
    return times[PART :: SPEC["processes"]]


WIRE = Wire(SPEC["url"], SPEC["headers"], verify_tls=SPEC["verify_tls"])
REQUESTS = [WIRE.request(SPEC["method"], SPEC["path"], body) for body in read_bodies()]
OK_STATUSES = frozenset(SPEC["ok_statuses"])


def task_to_the_end(work: Any) -> Any:
    """Make a locust task of a method; its failure ends locust, which would only try again."""

    @functools.wraps(work)
    def run(user: Any) -> None:
        try:
            work(user)
        except StopUser:
            raise
        except Exception:
            traceback.print_exc()
            gevent.spawn(user.environment.runner.quit)
            raise StopUser from None

    return task(run)


class Caller(User):
    """A user whose requests are bytes beforehand, and who books each from its intended send time."""

    abstract = True
    host = SPEC["url"]

    def exchange(self, connection: Connection, number: int, deadline_s: float) -> tuple[str, Answer | None]:
        """Send request `number`; return its outcome and the answer (None without one)."""
        return self.call(connection, REQUESTS[number % len(REQUESTS)], SPEC["method"], deadline_s)

    def call(
        self, connection: Connection, request: bytes, method: str, deadline_s: float
    ) -> tuple[str, Answer | None]:
        """Do one HTTP exchange before `deadline_s`."""
        left_s = deadline_s - RECORDER.now()
        try:
            answer = connection.exchange(request, method, max(0.0, left_s))
        except Exception as error:  # whatever it is: a request that is sent must be counted
            return describe(error), None
        status = answer.get_code()
        return (OK if status in OK_STATUSES else f"HTTP {status}"), answer

    def request_and_record(self, connection: Connection, intended_s: float, number: int, kind: str) -> None:
        """Send one request, and book it from its intended send time."""
        outcome, _ = self.exchange(connection, number, intended_s + TIMEOUT_S)
        latency_s = RECORDER.end(intended_s, outcome)
        if SPEC["web"]:  # without its page nobody reads locust's statistics, and each costs 20 µs
            report_to_locust(self, kind, latency_s, outcome)

    def finish(self, result: dict[str, Any]) -> None:
        """Write the result, whole or not at all, and end locust; with its web page open, only this user."""
        write(FOLDER / f"result.{PART}", json.dumps(result))
        if SPEC["web"]:
            gevent.spawn(self.environment.runner.stop)
            raise StopUser
        gevent.spawn(self.environment.runner.quit)  # not from here: it waits for this very user to end

    def announce_start(self) -> None:
        """Meet the other processes, set the common zero of the schedule, and let the parent know."""
        gc.collect()
        gc.freeze()  # or the collector walks all of locust, 15 ms and more at a time, while sends are due
        RECORDER.restart(meet(FOLDER, PART, SPEC["processes"]))
        gevent.spawn(watch, RECORDER, gevent.get_hub().loop)
        write(FOLDER / f"started.{PART}", repr(RECORDER.started_at))
        gevent.sleep(max(0.0, -RECORDER.now()))

    def send_on_schedule(self, send: Any) -> None:
        """Have ``send(connection, intended_s, number)`` called at each arrival; wait for the last one."""
        arrivals_s = read_arrivals()
        senders, alarm = Senders(send, SPEC["connections"]), Alarm(len(arrivals_s) / END_S)
        try:
            self.hand_out(arrivals_s, senders, alarm)
            senders.join()
        finally:  # its page may end a run in the middle
            alarm.close()
            gevent.killall(senders.greenlets, block=False)

    def hand_out(self, arrivals_s: array[float], senders: Senders, alarm: Alarm) -> None:
        """Give each arrival to the senders at the moment it is due."""
        for number, intended_s in enumerate(arrivals_s):
            wait_s = intended_s - RECORDER.now()
            if wait_s > 0:
                alarm.sleep(wait_s)
            elif number % 64 == 63:
                gevent.sleep(0)  # a generator that is behind must still let its greenlets run
            lag_s = RECORDER.now() - intended_s
            RECORDER.begin(intended_s, lag_s=lag_s)
            if lag_s < TIMEOUT_S:
                senders.put(intended_s, number)
            else:
                RECORDER.end(intended_s, UNSENT)


class Senders:
    """Greenlets with a connection each, made as they are needed, `limit` at most: then arrivals queue."""

    def __init__(self, send: Any, limit: int):
        self.send, self.limit = send, limit
        self.due: SimpleQueue[tuple[float, int] | None] = SimpleQueue()
        self.greenlets: list[Any] = []
        self.busy = 0

    def put(self, intended_s: float, number: int) -> None:
        """Hand one arrival to a sender."""
        self.due.put((intended_s, number))
        if self.busy + self.due.qsize() > len(self.greenlets) < self.limit:
            self.greenlets.append(gevent.spawn(self.run))

    def run(self) -> None:
        """Send what is due until the end is."""
        connection = Connection(WIRE)
        while (job := self.due.get()) is not None:
            self.busy += 1
            self.send(connection, *job)
            self.busy -= 1
        connection.close()

    def join(self) -> None:
        """Wait until everything was sent and answered."""
        for _ in self.greenlets:
            self.due.put(None)
        gevent.joinall(self.greenlets, raise_error=True)


class OpenUser(Caller):
    """Open loop: requests leave on schedule, latency counts from then."""

    fixed_count = 1

    @task_to_the_end
    def run_schedule(self) -> None:
        """Send everything, wait for the answers, write the result."""
        self.announce_start()
        self.send_on_schedule(self.send)
        self.finish(RECORDER.report())

    def send(self, connection: Connection, intended_s: float, number: int) -> None:
        """Send one arrival."""
        self.request_and_record(connection, intended_s, number, "open")


class ClosedUser(Caller):
    """Closed loop: each user sends its next request when the last one was answered."""

    fixed_count = SPEC["users"][PART] if SPEC["users"] else 1
    begun: Any = None
    count = 0
    finished = 0

    @task_to_the_end
    def send_in_turn(self) -> None:
        """Send until the window closes; the last user to finish writes the result."""
        if ClosedUser.begun is None:
            ClosedUser.begun = Event()
            self.announce_start()
            ClosedUser.begun.set()
        ClosedUser.begun.wait()
        connection = Connection(WIRE)
        while (now_s := RECORDER.now()) < END_S:
            ClosedUser.count += 1
            RECORDER.begin(now_s)
            self.request_and_record(connection, now_s, ClosedUser.count, "closed")
        ClosedUser.finished += 1
        if ClosedUser.finished == self.fixed_count:
            self.finish(RECORDER.report())
        gevent.sleep(TIMEOUT_S + END_S)  # until locust ends


class BurstUser(Caller):
    """Open loop in which every 202 is followed until its answer, or until the collection ends."""

    fixed_count = 1

    @task_to_the_end
    def run_burst(self) -> None:
        """Send the burst, collect what was promised, write the result."""
        self.accepted, self.refused, self.answered, self.answered_with_error = 0, 0, 0, 0
        self.failures: dict[str, int] = {}
        self.answers_us, self.acceptances_us = array("q"), array("q")
        self.promised: Queue[tuple[float, str]] = Queue()
        self.collect_until_s = END_S + SPEC["collect_timeout_s"]
        self.is_sending = True
        self.announce_start()
        # few followers, oldest promise first: long polls must not crowd out the burst itself
        followers = [gevent.spawn(self.follow) for _ in range(SPEC["followers"])]
        self.send_on_schedule(self.send)
        self.is_sending = False
        gevent.joinall(followers, raise_error=True)
        names = ("accepted", "refused", "failures", "answered", "answered_with_error")
        self.finish(
            {
                **{name: getattr(self, name) for name in names},
                "started_at": RECORDER.started_at,
                "offered": len(read_arrivals()),
                "answer_us": buckets(self.answers_us),
                "accept_us": buckets(self.acceptances_us),
                "generator_cpu_share": RECORDER.cpu_share,
            }
        )

    def send(self, connection: Connection, intended_s: float, number: int) -> None:
        """Send one request of the burst and sort it by what the service said."""
        outcome, answer = self.exchange(connection, number, intended_s + TIMEOUT_S)
        latency_us = round(1e6 * RECORDER.end(intended_s, outcome))
        status = answer.get_code() if answer is not None else 0
        if status == 200:
            self.accepted += 1
            self.answered += 1
            self.acceptances_us.append(latency_us)
            self.answers_us.append(latency_us)
        elif status == 202 and (location := find_location(answer)):
            self.accepted += 1
            self.acceptances_us.append(latency_us)
            self.promised.put((intended_s, location))
        elif status in (429, 503):
            self.refused += 1
        else:
            kind = outcome if status != 202 else "202 without a Location"
            self.failures[kind] = self.failures.get(kind, 0) + 1

    def follow(self) -> None:
        """Ask for the oldest promise; put it back while it is not done. After the end, ask once more."""
        connection = Connection(WIRE)
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
            request = WIRE.request("GET", path)
            outcome, answer = self.call(connection, request, "GET", RECORDER.now() + wait_s + TIMEOUT_S)
            status = read_status(answer)
            if status == DONE:
                self.answered += 1
                self.answers_us.append(round(1e6 * (RECORDER.now() - intended_s)))
            elif status in FAILED_STATUSES:
                self.answered_with_error += 1
            elif left_s > 0:
                self.promised.put((intended_s, location))
                if outcome not in (OK, "HTTP 202"):
                    gevent.sleep(0.1)  # the service is in trouble: do not hammer it


def find_location(answer: Any) -> str:
    """Return path and query of the Location header, or an empty string."""
    parts = urlsplit(answer.get("Location") or "")
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def read_status(answer: Any) -> str:
    """Return the ``status`` of a task's JSON, whatever the HTTP status; a 200 without one is an answer."""
    try:
        status = json.loads(answer.body).get("status")
    except (ValueError, AttributeError):  # no JSON, no object, or no answer at all
        status = None
    return str(status) if status else DONE if answer is not None and answer.get_code() == 200 else ""


def report_to_locust(user: Caller, kind: str, latency_s: float, outcome: str) -> None:
    """Fire locust's request event, for its page: under a type of its own, apart from any plain rows."""
    user.environment.events.request.fire(
        request_type=kind,
        name=SPEC["path"],
        response_time=1e3 * latency_s,
        response_length=0,
        exception=None if outcome == OK else RuntimeError(outcome),
        context={},
    )


@events.quitting.add_listener
def exit_cleanly(environment: Any, **_: Any) -> None:
    """Failed requests are results, not a failure of locust."""
    environment.process_exit_code = 0
