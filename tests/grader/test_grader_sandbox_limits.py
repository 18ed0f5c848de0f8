"""What a learner process takes is bounded, and the next one is served as if nothing had happened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sandboxes import SMALL, ask, in_namespaces, processes_below, wait_until, warm_process

from scalelab.grader.limits import MIB
from scalelab.grader.sandbox import Learner, WarmProcess
from scalelab.grader.wire import Closed

pytestmark = in_namespaces


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmProcess]:
    with warm_process() as process:
        yield process


@pytest.fixture
def neighbour(warm: WarmProcess) -> Iterator[Learner]:
    """Another submission, which must not feel what happens beside it."""
    with warm.learner() as learner:
        assert ask(learner, "result = 'there'") == "there"
        yield learner
        assert ask(learner, "import os, threading; result = os.getpid()") == 2
        threading_works = "t = threading.Thread(target=lambda: None); t.start(); t.join(); result = 'well'"
        assert ask(learner, threading_works) == "well"


def ended_by_itself(learner: Learner, source: str, within_s: float = 40) -> str:
    learner.channel.send({"source": source})
    with pytest.raises(Closed):
        learner.channel.receive(time.monotonic() + within_s)
    return learner.ended


def test_one_process_cannot_have_more_memory_than_the_limit(warm, neighbour):
    fill = "held = bytearray(size); result = len(held)"
    with warm.learner() as learner:
        assert ask(learner, fill, size=SMALL.memory_bytes // 2) == SMALL.memory_bytes // 2
        assert str(ask(learner, fill, size=2 * SMALL.memory_bytes)).startswith("MemoryError")
        assert ask(learner, "held = None; result = 'goes on'") == "goes on"


def test_many_processes_cannot_either(warm, neighbour):
    source = f"""
import os, time
for _ in range(6):
    if os.fork() == 0:
        held = bytearray({SMALL.memory_bytes // 2})
        for at in range(0, len(held), 4096): held[at] = 1
        time.sleep(60)
time.sleep(60)
"""
    with warm.learner() as learner:
        assert ended_by_itself(learner, source) == "memory"


SHARED = f"""
import mmap
held = [mmap.mmap(-1, {SMALL.memory_bytes // 4}) for _ in range(8)]
for part in held:
    for at in range(0, len(part), 4096): part[at] = 1
result = "had it all"
"""


def test_memory_that_is_shared_counts_too(warm, neighbour):
    with warm.learner() as learner:
        assert ended_by_itself(learner, SHARED) == "memory"


def test_memory_of_a_process_that_hides_itself_counts_too(warm, neighbour):
    hide = "import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE"
    with warm.learner() as learner:
        assert ended_by_itself(learner, hide + SHARED) == "memory"


def test_control_a_larger_limit_grants_it():
    source = f"held = bytearray({2 * SMALL.memory_bytes}); result = len(held)"
    with (
        warm_process(limits=replace(SMALL, memory_bytes=3 * SMALL.memory_bytes)) as warm,
        warm.learner() as learner,
    ):
        assert ask(learner, source) == 2 * SMALL.memory_bytes


def test_a_fork_bomb_stops_at_the_limit(warm, neighbour):
    source = """
import os, time
result = 0
try:
    while True:
        if os.fork() == 0: time.sleep(600)
        result += 1
except BlockingIOError: pass
"""
    before = len(processes_below(warm.pid))
    with warm.learner() as learner:
        assert 0 < ask(learner, source) <= 2 * SMALL.tasks
        assert len(processes_below(warm.pid)) > before + 2
    assert wait_until(lambda: len(processes_below(warm.pid)) == before)


def test_threads_stop_at_the_limit(warm, neighbour):
    source = """
import threading
wait, result = threading.Event(), 0
try:
    while result < 500:
        threading.Thread(target=wait.wait, daemon=True).start()
        result += 1
except RuntimeError: pass
wait.set()
"""
    with warm.learner() as learner:
        assert 0 < ask(learner, source) <= 2 * SMALL.tasks


def test_the_working_folder_has_a_limit(warm, neighbour):
    source = """
result = 0
try:
    for number in range(100):
        with open(f"{folder}/{number}", "wb") as file:
            for _ in range(4): result += file.write(bytes(1 << 20))
except OSError as error: reason = error.errno
"""
    with warm.learner() as learner:
        written = sum(ask(learner, source, folder=folder) for folder in (".", "/tmp", "/dev/shm"))
        assert SMALL.disk_bytes // 2 < written <= SMALL.disk_bytes
        assert ask(learner, "import errno; result = reason == errno.ENOSPC") is True


def test_one_file_has_a_limit(warm):
    source = "file = open('large', 'wb', buffering=0)\nfor _ in range(20): file.write(bytes(1 << 20))"
    with warm.learner() as learner:
        assert str(ask(learner, source)).startswith("OSError")
        assert ask(learner, "import os; result = os.path.getsize('large')") == SMALL.file_bytes


def test_small_files_have_a_limit(warm):
    source = """
result = 0
try:
    while result < 100_000:
        open(f"{result}", "w").close()
        result += 1
except OSError: pass
"""
    with warm.learner() as learner:
        assert ask(learner, source) < 5_000


def test_open_files_have_a_limit(warm):
    with warm.learner() as learner:
        assert str(ask(learner, "held = [open('/dev/null') for _ in range(200)]")).startswith("OSError")


def test_what_is_printed_goes_nowhere(warm, neighbour):
    source = "import os\nfor _ in range(400): os.write(1 + _ % 2, bytes(1 << 20))\nresult = 'done'"
    with warm.learner() as learner:
        assert ask(learner, source) == "done"


DEAF = """
import signal, time
for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
while True: time.sleep(600)
"""
LOOPS = {"loop": "while True: pass", "sleep": "import time; time.sleep(600)", "deaf": DEAF}


@pytest.mark.parametrize("source", LOOPS.values(), ids=LOOPS)
def test_it_ends_at_the_limit_on_time(source):
    with warm_process(limits=replace(SMALL, submission_s=0.5)) as warm, warm.learner() as learner:
        assert ended_by_itself(learner, source) == "time"


def test_the_judge_ends_it_at_any_moment(warm, neighbour):
    with warm.learner() as learner:
        learner.channel.send({"source": "while True: pass"})
        ending = learner.kill()
    assert ending.how == "killed"
    assert ending.wall_s < 20


@pytest.mark.parametrize(
    ("source", "how"),
    [
        ("import os; os._exit(0)", "ok"),
        ("import os; os._exit(3)", "exit 3"),
        ("import os; os.abort()", "signal 6"),
        ("import ctypes; ctypes.string_at(0)", "signal 11"),
    ],
)
def test_how_it_ended_is_told(warm, neighbour, source, how):
    with warm.learner() as learner:
        assert ended_by_itself(learner, source) == how


def test_a_daemon_dies_with_its_submission(warm):
    source = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(600)
    os._exit(0)
os.wait()
result = len([name for name in os.listdir("/proc") if name.isdigit()])
"""
    with warm.learner() as learner:
        assert ask(learner, source) == 3
        assert len(processes_below(warm.pid)) == 4  # warm process, supervisor, learner process, daemon
    assert wait_until(lambda: len(processes_below(warm.pid)) == 1)


def test_what_it_took_is_told(warm):
    with warm.learner() as learner:
        ask(learner, f"import time; held = bytearray({100 * MIB})\nwhile time.process_time() < 0.3: pass")
        ending = learner.kill()
    assert ending.cpu_s >= 0.25
    assert 100 * MIB < ending.peak_memory_bytes < 300 * MIB
    assert ending.wall_s >= 0.25
