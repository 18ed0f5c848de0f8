"""The same face in every mode: namespaces, a forked process group, a fresh process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest
from ordinary_user import ROOT
from sandboxes import AS_ROOT, HAS_NAMESPACES, SMALL, ask, is_alive, wait_until, warm_process

from scalelab.core.errors import ConfigError
from scalelab.grader import spawning
from scalelab.grader.sandbox import MODES, Learner, WarmProcess
from scalelab.grader.wire import Closed

CANARY = "CANARY-52c0"


def _others_can_read(path: str) -> bool:
    folders = [os.path.dirname(path)]
    while folders[-1] != "/":
        folders.append(os.path.dirname(folders[-1]))
    return all(os.stat(folder).st_mode & 0o001 for folder in folders)


def _modes_here() -> list[str]:
    """Return the modes to try; in "fork", the user that root gives a learner process must see this Python."""
    works = {
        "namespaces": HAS_NAMESPACES,
        "fork": not AS_ROOT or _others_can_read(os.__file__),
        "spawn": True,
    }
    return [mode for mode in MODES if works[mode]]


@pytest.fixture(scope="module", params=_modes_here())
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def warm(mode: str) -> Iterator[WarmProcess]:
    os.environ["SCALELAB_SECRET"] = CANARY
    with warm_process(mode=mode, setup_cells=["import os, time; table = {'answer': 42}"]) as process:
        yield process
    del os.environ["SCALELAB_SECRET"]


def after_its_end(learner: Learner, source: str) -> str:
    learner.channel.send({"source": source})
    with pytest.raises(Closed):
        learner.channel.receive(time.monotonic() + 40)
    return learner.ended


def test_it_runs_with_set_up_cells_and_files(warm):
    with warm.learner({"data.csv": b"1,2", "sub/more.txt": b"x"}) as learner:
        assert ask(learner, "table['answer'] += 1; result = table") == {"answer": 43}
        assert ask(learner, "result = sorted(os.listdir()) + os.listdir('sub')") == [
            "data.csv",
            "sub",
            "more.txt",
        ]
    with warm.learner() as learner:
        assert ask(learner, "result = table, os.listdir()") == ({"answer": 42}, [])


def test_neither_environment_nor_descriptors_come_along(warm):
    source = """
result = [name for name in os.environ if canary in os.environ[name]]
for number in range(3, 100):
    try: result += [number] if canary in os.pread(number, 100, 0).decode(errors="replace") else []
    except OSError: pass
"""
    with warm.learner() as learner:
        assert ask(learner, source, canary=CANARY) == []


@pytest.mark.parametrize(
    ("source", "how"), [("os._exit(0)", "ok"), ("os._exit(4)", "exit 4"), ("os.abort()", "signal 6")]
)
def test_how_it_ended_is_told(warm, source, how):
    with warm.learner() as learner:
        assert after_its_end(learner, source) == how


def test_it_is_killed_with_what_it_started(warm):
    source = """
result = [os.getpid()]
child = os.fork()
if child == 0:
    time.sleep(600)
result.append(child)
"""
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    with warm.learner() as learner:
        ask(learner, source)
        started = [p for p in psutil.Process().children(recursive=True) if p.pid not in before]
        assert len(started) >= 2
        assert learner.kill().how == "killed"
    assert wait_until(lambda: not any(map(is_alive, started)))


def test_time_and_memory_have_limits(mode):
    limits = replace(SMALL, submission_s=1.0)
    with warm_process(mode=mode, limits=limits) as warm:
        with warm.learner() as learner:
            assert after_its_end(learner, "while True: pass") == "time"
        with warm.learner() as learner:
            source = f"held = bytearray({2 * SMALL.memory_bytes})"
            assert str(ask(learner, source)).startswith("MemoryError")


def test_memory_of_many_processes_is_watched(mode):
    source = f"""
import mmap, os, time
for _ in range(4):
    if os.fork() == 0:
        held = mmap.mmap(-1, {SMALL.memory_bytes // 2})
        for at in range(0, len(held), 4096): held[at] = 1
        time.sleep(600)
time.sleep(600)
"""
    with warm_process(mode=mode, limits=replace(SMALL, processes=200)) as warm, warm.learner() as learner:
        assert after_its_end(learner, source) == "memory"


def test_a_broken_set_up_is_said_and_leaves_nothing(mode):
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        warm_process(mode=mode, setup_cells=["1/0"])


@pytest.mark.parametrize("weak", MODES[1:])
def test_a_weaker_mode_is_named_and_can_be_refused(weak, mode):
    if weak != mode:
        return
    with pytest.raises(ConfigError, match=r"the sandbox lacks: .*own process space.*no network"):
        warm_process(mode=mode, require_sandbox=True)


def test_a_machine_without_namespaces_gets_the_next_best(monkeypatch):
    from scalelab.grader import forking, sandbox

    started = []

    class Refusing:
        def __init__(self, plan, ward):
            started.append(ward)
            raise forking.NotHere("unshare: Operation not permitted")

    monkeypatch.setattr(sandbox, "ForkingHost", Refusing)
    monkeypatch.setattr(sandbox, "_modes_here", lambda: MODES)
    with warm_process() as warm, warm.learner() as learner:
        assert ask(learner, "result = 1") == 1
    assert started == ["namespaces", "group"]
    assert warm.why_weaker == "unshare: Operation not permitted"


def test_only_who_knows_the_token_becomes_a_channel():
    token = bytes(range(spawning._TOKEN_BYTES))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()

        def knock() -> None:
            with socket.create_connection(address) as stranger:
                stranger.sendall(bytes(spawning._TOKEN_BYTES))
                stranger.recv(1)  # until it is turned away
            with socket.create_connection(address) as learner:
                learner.sendall(token + b"hello")

        visitors = threading.Thread(target=knock)
        visitors.start()
        with spawning._accept(server, token, process=_Running()) as channel:
            assert channel.recv(5) == b"hello"
        visitors.join()


class _Running:
    def poll(self) -> None:
        """It has not ended."""


def test_honest_work_is_not_hindered(warm):
    source = """
import concurrent.futures, getpass, multiprocessing, os, pathlib, socket, subprocess, sys, tempfile
result = {}
with tempfile.TemporaryDirectory() as folder: pathlib.Path(folder, "x").write_text("x")
result["shell"] = subprocess.run("echo $((6 * 7)) | cat", shell=True, capture_output=True, text=True).stdout
result["python"] = subprocess.check_output([sys.executable, "-c", "import numpy; print(1)"], text=True)
with concurrent.futures.ThreadPoolExecutor(2) as pool: result["threads"] = list(pool.map(abs, [-1, -2]))
with multiprocessing.get_context("fork").Pool(2) as pool: result["processes"] = pool.map(abs, [-3, -4])
pathlib.Path("made.txt").write_text("made")
result["home"] = os.access(pathlib.Path.home(), os.W_OK)
result["cores"] = os.cpu_count() > 0
"""
    with warm.learner() as learner:
        assert ask(learner, source) == {
            "shell": "42\n",
            "python": "1\n",
            "threads": [1, 2],
            "processes": [3, 4],
            "home": True,
            "cores": True,
        }


WITHOUT_UNIX = """
import os, psutil, shutil, subprocess, sys, tempfile  # these know the system that they run on
sys.platform = "win32"
for name in ("resource", "fcntl", "termios", "tty", "pty", "pwd", "grp"): sys.modules[name] = None
for name in ("fork", "getuid", "setsid", "wait4", "pidfd_open", "sysconf"): delattr(os, name)
sys.path.insert(0, "tests/grader")
from scalelab.grader.sandbox import WarmProcess
with WarmProcess(shell="attacker:warm", serve="attacker:attack", import_paths=["tests/grader"]) as warm:
    with warm.learner({"a.txt": b"a"}) as learner:
        learner.channel.send({"source": "result = open('a.txt').read()"})
        print(learner.channel.receive(), learner.ended, warm.pid)
"""


def test_the_judge_needs_nothing_that_only_unix_has():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_UNIX],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "{'result': 'a'} killed None\n", done.stderr


IN_A_POOR_CONTAINER = """
import sys
sys.path.insert(0, "tests/grader")
from sandboxes import ask, warm_process
from scalelab.core.errors import ConfigError
with warm_process() as warm, warm.learner() as learner:
    print(ask(learner, "import os; result = os.getpid() > 2"), "no privileges" in warm.isolation)
    print("own process space" in warm.isolation, warm.why_weaker)
try: warm_process(require_sandbox=True)
except ConfigError as error: print(error.message)
"""


@pytest.mark.skipif(not HAS_NAMESPACES, reason="only on Linux: a container is made of namespaces")
def test_in_a_container_that_allows_none_the_weaker_layers_hold_and_are_named():
    no_more = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    command = ["unshare", "-Ur", "sh", "-c", no_more, "sh", sys.executable, "-c", IN_A_POOR_CONTAINER]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    works, weaker, refused = done.stdout.splitlines()
    assert works == "True True"
    assert weaker.startswith("False [Errno")
    assert refused.startswith("the sandbox lacks: own process space, no network")
    assert "unshare" in refused
