"""How a process of the stack is watched, and how its end is told."""

import os
import re
import sys
import threading

import psutil
import pytest

from scalelab.serve.crew import Crew
from scalelab.serve.ends import count_oom_kills, describe_end
from scalelab.serve.members import Member
from scalelab.serve.pulse import Pulse, PulseWatch
from scalelab.serve.state import Child, StackState

SLEEPER = [sys.executable, "-c", "import sys, time; print('began', flush=True); time.sleep(60)"]
TTL_S = 2.0


@pytest.mark.parametrize(
    ("code", "oom_kills", "reason", "said"),
    [
        (0, 0, "", "ended with exit code 0"),
        (77, 3, "", "ended with exit code 77"),
        (75, 0, "", "ended with exit code 75: its model did not come back from one batch in time"),
        (-15, 0, "", "ended by signal 15 (SIGTERM)"),
        (-11, None, "", "ended by signal 11 (SIGSEGV)"),
        (-9, 1, "", "ended by signal 9 (SIGKILL): out of memory, the kernel killed it (cgroup: oom_kill)"),
        (-9, None, "", "ended by signal 9 (SIGKILL): out of memory? `dmesg` or the container's events tell"),
        (-9, 0, "", "ended by signal 9 (SIGKILL): somebody killed it, it was not for want of memory"),
        (-9, 1, "was ended: it froze", "was ended: it froze"),
        (-99, 0, "", "ended by signal 99 (unknown)"),
    ],
)  # fmt: skip
def test_an_end_is_told_in_words(code, oom_kills, reason, said):
    assert describe_end(code, oom_kills=oom_kills, reason=reason) == said


@pytest.mark.parametrize(
    ("text", "count"), [("low 0\noom 4\noom_kill 3\n", 3), ("oom_kill_disable 0\noom_kill 1\n", 1)]
)
def test_kills_for_want_of_memory_are_read_from_the_control_group(tmp_path, text, count):
    (tmp_path / "events").write_text(text)
    assert count_oom_kills((str(tmp_path / "none"), str(tmp_path / "events"))) == count
    assert count_oom_kills((str(tmp_path / "none"),)) is None


def test_a_pulse_is_silent_since_the_last_beat_on_the_watchers_clock(tmp_path):
    watch, pulse = PulseWatch(tmp_path / "w.pulse"), Pulse(tmp_path / "w.pulse")
    pulse.beat()
    assert (watch.facts(), watch.silent_s(100.0)) == (None, 0.0)  # not ready: its start has another limit
    pulse.say(model="v1")
    assert (watch.facts(), watch.silent_s(100.0)) == ({"model": "v1"}, 0.0)
    assert watch.silent_s(103.0) == 3.0
    os.utime(watch.path, (1, 1))  # a clock that jumped back is a beat like any other
    assert watch.silent_s(104.0) == 0.0
    assert watch.silent_s(107.0) == 3.0
    watch.forgive(110.0)
    assert watch.silent_s(111.0) == 1.0


@pytest.fixture
def member(tmp_path):
    """A worker that said it is ready at 0 s and never beats."""
    member = Member(SLEEPER, {}, tmp_path / "worker-1.log", has_pulse=True, is_worker=True)
    member.log.write_text("of a run before\n")
    member.start(0.0)
    Pulse(member.pulse.path).say(model="v1")
    member.note_ready(1.5)
    yield member
    member.kill("was used")
    member.process.wait()


def ailment(member, now_s, **limits):
    return member.ailment(now_s, **{"ttl_s": TTL_S, "memory_bytes": 0, "start_s": 90.0, **limits})


@pytest.mark.slow
def test_a_silent_worker_is_frozen_only_if_it_is_stopped_or_was_silent_for_long(member):
    assert member.facts() == {"ready_s": 1.5, "model": "v1"}
    assert ailment(member, 0.0) == ""
    assert ailment(member, 10 * TTL_S) == ""  # a busy machine
    assert ailment(member, 31.0) == "froze: no sign of life for 31.0 s"
    frozen = psutil.Process(member.process.pid)
    frozen.suspend()
    while frozen.status() != psutil.STATUS_STOPPED:  # the signal is on its way
        threading.Event().wait(0.01)
    assert ailment(member, 1.5 * TTL_S) == "froze: no sign of life for 3.0 s"
    member.kill("froze")
    member.process.wait()
    assert member.note_end(3.0) == "was ended: it froze"
    assert member.note_end(3.1) == ""  # said once
    assert ailment(member, 100.0) == ""


@pytest.mark.slow
def test_a_worker_over_its_memory_and_one_that_is_never_ready_are_ended(member):
    while "began" not in member.log.read_text():
        threading.Event().wait(0.01)
    said = ailment(member, 0.0, memory_bytes=1 << 20)
    assert re.fullmatch(r"used [\d.]+ MiB of memory, its limit is 1.00 MiB", said)
    assert member.log_tail() == "began"
    member.ready_s = None
    assert ailment(member, 91.0) == "was not ready after 90 s"


@pytest.mark.slow
def test_a_process_that_ends_soon_is_started_ever_more_slowly(tmp_path):
    member = Member([sys.executable, "-c", "raise SystemExit(3)"], {}, tmp_path / "gateway.log")
    waits = []
    for now_s in (0.0, 10.0, 20.0, 30.0):
        member.start(now_s)
        member.process.wait()
        assert member.note_end(now_s) == "ended with exit code 3"
        waits.append(round(member.retry_at_s - now_s, 3))
    assert waits == [0.2, 0.4, 0.8, 1.6]
    member.start(40.0)
    member.note_ready(41.0)  # it had served: what ended it was a task
    member.process.wait()
    assert member.note_end(42.0)
    assert member.retry_at_s - 42.0 == pytest.approx(0.4)


def test_a_full_disk_keeps_the_state_in_hand_until_it_can_be_written(tmp_path):
    crew = Crew(tmp_path / "full", StackState("ready", Child(1, 1.0), "http://x"), on_death=print)
    crew.write(restarts=2)  # the folder is not there: an error of the system like that of a full disk
    assert (crew.state.restarts, crew.is_written) == (2, False)
    (tmp_path / "full").mkdir()
    crew.write()
    assert crew.is_written
    assert StackState.read(tmp_path / "full") == crew.state


def test_a_worker_without_a_supervisor_beats_for_nobody(monkeypatch):
    monkeypatch.delenv("SCALELAB_PULSE", raising=False)
    pulse = Pulse.from_environment()
    pulse.say(model="v1")
    pulse.beat()
