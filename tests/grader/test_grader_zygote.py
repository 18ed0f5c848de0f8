"""The warm process: nothing passes from one submission to the next, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from sandboxes import ask, in_namespaces, is_alive, processes_below, wait_until, warm_process

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.grader.sandbox import WarmProcess
from scalelab.grader.wire import Closed

pytestmark = in_namespaces
SETUP = """
import json, mmap, multiprocessing
shared = mmap.mmap(-1, 4096)
shared[:4] = b"mine"
lock = multiprocessing.RLock()
table = {"answer": 42}
open("data.txt", "w").write("from the set-up")
"""


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmProcess]:
    with warm_process(setup_cells=[SETUP]) as process:
        yield process


def test_what_the_set_up_cells_made_is_there(warm):
    with warm.learner() as learner:
        assert ask(learner, "result = [table, open('data.txt').read()]") == [
            {"answer": 42},
            "from the set-up",
        ]


@pytest.mark.parametrize(
    ("attack", "look", "found"),
    [
        ("json.dumps = lambda *_: '100 points'", "result = json.dumps(1)", "1"),
        ("table['answer'] = 0", "result = table", {"answer": 42}),
        ("shared[:4] = b'ours'", "result = shared[:4]", b"mine"),
        ("lock.acquire()", "result = lock.acquire(timeout=5)", True),
        ("open('data.txt', 'w').write('changed')", "result = open('data.txt').read()", "from the set-up"),
        (
            "import tempfile; open('left', 'w'); open(tempfile.gettempdir() + '/left', 'w')",
            "import os, tempfile; result = os.listdir() + os.listdir(tempfile.gettempdir())",
            ["data.txt"],
        ),
        ("open('/dev/shm/left', 'w').write('x')", "import os; result = os.listdir('/dev/shm')", []),
        (
            "import socket; socket.sethostname('left')",
            "import socket; result = socket.gethostname() == 'left'",
            False,
        ),
        ("import os; os.environ['LEFT'] = '1'", "import os; result = 'LEFT' in os.environ", False),
        ("import sys; sys.path.insert(0, '.')", "import sys; result = '.' in sys.path", False),
    ],
)
def test_no_state_is_left_for_the_next(warm, attack, look, found):
    with warm.learner() as neighbour:
        ask(neighbour, "result = 1")
        with warm.learner() as learner:
            ask(learner, attack)
        assert ask(neighbour, look) == found
    with warm.learner() as following:
        assert ask(following, look) == found


def test_files_come_with_the_submission_and_stay_with_it(warm):
    with warm.learner({"model.bin": b"\0\1" * 100_000, "sub/notes.txt": b"x"}) as learner:
        read = "result = [len(open('model.bin', 'rb').read()), open('sub/notes.txt').read()]"
        assert ask(learner, read) == [200_000, "x"]
    with warm.learner() as learner:
        assert ask(learner, "import os; result = os.listdir()") == ["data.txt"]


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "a/../../b", "", "..\\b", "a\0b"])
def test_a_file_outside_the_working_folder_is_refused(warm, name):
    with pytest.raises(ConfigError, match="a file of a submission"):
        warm.learner({name: b"x"})


def test_files_over_the_limit_are_told(warm):
    with warm.learner({"large.bin": bytes(32 << 20)}) as learner:
        with pytest.raises(Closed):
            learner.channel.receive(time.monotonic() + 20)
        assert learner.ended.startswith("not started: OSError")


def test_many_at_once_are_kept_apart(warm):
    def grade(number: int) -> int:
        with warm.learner({"number": b"%d" % number}) as learner:
            return ask(
                learner, "import time; time.sleep(0.05); result = int(open('number').read())", within_s=60
            )

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(grade, range(24))) == list(range(24))
    assert wait_until(lambda: len(processes_below(warm.pid)) == 1)


def test_hundreds_leave_nothing(warm):
    held = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        with warm.learner() as learner:
            pass
        assert learner.ended in ("killed", "ok")
    assert len(os.listdir("/proc/self/fd")) == held
    assert wait_until(lambda: len(psutil.Process(warm.pid).children(recursive=True)) <= 2)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"setup_cells": ["1/0"]}, "ZeroDivisionError"),
        ({"setup_cells": ["import threading; threading.Timer(60, print).start()"]}, "1 threads run"),
        ({"preload": ["no_such_module"]}, "No module named 'no_such_module'"),
        ({"setup_cells": ["import os; os._exit(1)"]}, "ended without a word"),
    ],
)
def test_what_is_wrong_with_the_warm_process_is_said(settings, said):
    with pytest.raises(ConfigError, match=said):
        warm_process(**settings)


def test_the_sandbox_can_be_demanded():
    warm_process(require_sandbox=True).close()


def test_after_its_end_there_are_no_learner_processes():
    with warm_process() as warm:
        learner = warm.learner()
        assert ask(learner, "result = 1") == 1
        below = [psutil.Process(warm.pid), *processes_below(warm.pid)]
    assert wait_until(lambda: not any(map(is_alive, below)))
    assert learner.ended == "lost"
    with pytest.raises(RunFailed, match="the warm process is gone"):
        warm.learner()


def test_a_warm_process_that_was_killed_is_started_again():
    with warm_process(setup_cells=[SETUP]) as warm:
        killed = psutil.Process(warm.pid)
        killed.kill()
        assert wait_until(lambda: not is_alive(killed))
        with warm.learner() as learner:
            assert ask(learner, "result = table") == {"answer": 42}
        assert warm.pid != killed.pid


JUDGE = """
import sys, time
sys.path.insert(0, "tests/grader")
from sandboxes import ask, warm_process
warm = warm_process(mode=sys.argv[1])
learner = warm.learner()
ask(learner, '''
import os, time
if os.fork() == 0:
    os.setsid()
    time.sleep(600)
open("left", "w")
''')
print(warm.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("mode", ["namespaces", "fork"])
@pytest.mark.parametrize("victim", ["judge", "warm process"])
def test_after_a_kill_nothing_is_left(mode, victim):
    if mode == "fork" and os.getuid() == 0:
        mode = "namespaces"  # this Python may lie where root's other users cannot read it
    mounts = Path("/proc/self/mountinfo").read_text()
    judge = subprocess.Popen([sys.executable, "-c", JUDGE, mode], stdout=subprocess.PIPE)
    try:
        warm = int(judge.stdout.readline())
        below = [psutil.Process(warm), *processes_below(warm)]
        assert len(below) >= 4
        os.kill(judge.pid if victim == "judge" else warm, signal.SIGKILL)
        assert wait_until(lambda: not any(map(is_alive, below))), [p for p in below if is_alive(p)]
    finally:
        judge.kill()
        judge.wait()
        judge.stdout.close()
    if victim == "warm process":
        warm_process(mode=mode).close()  # removes what two kills together have left
    assert wait_until(lambda: not list(Path(tempfile.gettempdir()).glob(f"scalelab-grader-{judge.pid}-*")))
    assert Path("/proc/self/mountinfo").read_text() == mounts


FORK_FAILS_ONCE = """
import os, sys
real, seen = os.fork, []
def fork():
    if sys._getframe(1).f_code.co_name == "fork":  # of a supervisor: the first is that of the layers' trial
        seen.append(1)
        if len(seen) == 2: raise BlockingIOError(11, "Resource temporarily unavailable")
    return real()
os.fork = fork
"""


def test_a_fork_that_fails_costs_one_submission_and_not_the_warm_process():
    with warm_process(setup_cells=[FORK_FAILS_ONCE]) as warm:
        with warm.learner() as learner:
            with pytest.raises(Closed):
                ask(learner, "result = 1")
            assert learner.ended.startswith("not started")
        with warm.learner() as learner:
            assert ask(learner, "result = 1") == 1
