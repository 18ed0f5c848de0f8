from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from scalelab.core import processes
from scalelab.core.errors import RunFailed
from scalelab.core.locks import hold_lock

pytestmark = pytest.mark.slow  # starts real processes

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="uses POSIX signals")

FOREVER = "import time; time.sleep(300)"
PARENT_OF_FOREVER = f"""
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {FOREVER!r}], start_new_session="away" in sys.argv)
pathlib.Path(sys.argv[1]).with_suffix(".part").write_text(str(child.pid))
pathlib.Path(sys.argv[1]).with_suffix(".part").rename(sys.argv[1])
"wait" in sys.argv and child.wait()
"""


def python(code, *arguments):
    return [sys.executable, "-c", code, *map(str, arguments)]


def wait_until(condition, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        os.sched_yield() if hasattr(os, "sched_yield") else None


def gone(pid):
    return not processes.is_alive(pid)


def test_a_run_returns_exit_code_and_both_streams():
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)"
    finished = processes.run(python(code), timeout_s=30)
    assert finished.returncode == 3
    assert finished.output == "out\nerr"
    assert 0 < finished.wall_s < 30


def test_of_a_long_output_the_end_is_kept():
    finished = processes.run(python("print('x' * 300_000); print('the end')"), timeout_s=30)
    assert finished.output.endswith("the end")
    assert len(finished.output) <= 65536


def test_bytes_that_are_no_text_do_not_break_a_run():
    finished = processes.run(python(r"import sys; sys.stdout.buffer.write(b'a\xffb')"), timeout_s=30)
    assert finished.output == "a\ufffdb"


def test_variables_come_on_top_of_our_own_and_the_folder_is_set(tmp_path, monkeypatch):
    monkeypatch.setenv("OURS", "1")
    code = "import os; print(os.environ['OURS'], os.environ['MORE'], os.getcwd())"
    finished = processes.run(python(code), timeout_s=30, env={"MORE": "2"}, cwd=tmp_path)
    assert finished.output == f"1 2 {tmp_path.resolve()}"


def test_the_child_keeps_the_pid_that_start_returned(tmp_path):
    with (tmp_path / "out").open("wb") as output:
        child = processes.start(python("import os; print(os.getpid())"), output=output)
        assert child.wait(30) == 0
    assert int((tmp_path / "out").read_text()) == child.pid


@pytest.mark.parametrize("program", ["no-such-program-of-anyone", "./no/such/program"])
@pytest.mark.parametrize("detached", [False, True])
def test_a_missing_program_is_named(program, detached):
    with pytest.raises(RunFailed, match=f"cannot start '{program}'"):
        processes.start([program], detached=detached)


def test_a_program_is_looked_for_in_the_childs_own_path_and_folder(tmp_path):
    script = tmp_path / "bin" / "hello"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\necho hello\n")
    script.chmod(0o755)
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    if sys.platform == "win32":
        pytest.skip("a shell script is no program there")
    assert processes.run(["hello"], timeout_s=30, env={"PATH": path}).output == "hello"
    assert processes.run(["bin/hello"], timeout_s=30, cwd=tmp_path).output == "hello"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(RunFailed, match="nowhere"):
        processes.start(python("pass"), cwd=tmp_path / "nowhere")


@pytest.mark.parametrize("away", ["", "away"])
def test_the_time_limit_kills_the_grandchildren_too(tmp_path, away):
    note = tmp_path / "pid"
    started = time.monotonic()
    with pytest.raises(RunFailed, match=r"did not finish in 1\.50 s"):
        processes.run(python(PARENT_OF_FOREVER, note, "wait", away), timeout_s=1.5)
    assert time.monotonic() - started < 60
    assert gone(int(note.read_text()))


@posix_only
def test_a_grandchild_that_is_left_behind_is_gone_when_a_run_returns(tmp_path):
    note = tmp_path / "pid"
    assert processes.run(python(PARENT_OF_FOREVER, note), timeout_s=30).returncode == 0
    wait_until(lambda: gone(int(note.read_text())))


def test_the_last_output_is_in_the_message_of_a_timeout():
    with pytest.raises(RunFailed, match="I am at step 7"):
        processes.run(python(f"print('I am at step 7', flush=True); {FOREVER}"), timeout_s=1.5)


def test_the_memory_limit_ends_a_run_with_both_numbers():
    code = f"import time; block = b'x' * (200 << 20); {FOREVER}"
    with pytest.raises(RunFailed, match=r"used .* MiB of memory, its limit is 100 MiB"):
        processes.run(python(code), timeout_s=60, memory_bytes=100 << 20)


def test_the_peak_of_memory_is_that_of_the_whole_tree():
    code = "import time; block = b'x' * (100 << 20); time.sleep(1)"
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    assert processes.run(python(inner), timeout_s=30).peak_memory_bytes > 100 << 20


def test_a_run_polls_while_it_waits_and_an_error_there_stops_the_child(tmp_path):
    note = tmp_path / "pid"

    def stop_once_it_runs():
        if note.exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        processes.run(python(PARENT_OF_FOREVER, note, "wait"), timeout_s=60, on_poll=stop_once_it_runs)
    assert gone(int(note.read_text()))


STARTER = f"""
import subprocess, sys, time
from scalelab.core import processes
command = [sys.executable, "-c", {FOREVER!r}]
child = processes.start(command, output=subprocess.DEVNULL, detached="detached" in sys.argv)
print(child.pid, flush=True)
time.sleep(600)
"""


def killed_parent(code, *arguments):
    """Run `code` as a process, kill it with -9 after it printed a pid, return that pid."""
    parent = subprocess.Popen(python(code, *arguments), stdout=subprocess.PIPE, text=True)
    try:
        pid = int(parent.stdout.readline())
        assert processes.is_alive(pid)
    finally:
        parent.kill()
        parent.communicate()
    return pid


@linux_only
def test_a_child_dies_with_a_parent_that_is_killed_with_9():
    pid = killed_parent(STARTER)
    wait_until(lambda: gone(pid))


@posix_only
def test_a_detached_child_outlives_its_parent():
    pid = killed_parent(STARTER, "detached")
    try:
        assert processes.is_alive(pid)
    finally:
        processes.stop_tree(pid, grace_s=0)
    assert gone(pid)


@posix_only
def test_a_python_child_that_asks_for_it_dies_with_its_parent_without_the_kernels_help(tmp_path):
    watching = f"""
import psutil, sys
from scalelab.core import processes
sys.platform = "another"  # leaves the watching thread alone with the work
processes.die_with_parent()
print("ready", flush=True)
{FOREVER}
"""
    starter = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {watching!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""
    pid = killed_parent(starter)
    wait_until(lambda: gone(pid))


@posix_only
def test_a_python_child_whose_own_parent_was_gone_too_early_dies_with_the_starter_of_its_tree():
    """A rank of torchrun: its parent may be killed while it still imports torch."""
    starter = subprocess.Popen(python(FOREVER))
    watching = f"""
from scalelab.core import processes
processes.die_with_parent()
print("ready", flush=True)
{FOREVER}
"""
    environment = {**os.environ, "SCALELAB_STARTED_BY": str(starter.pid)}
    child = subprocess.Popen(python(watching), stdout=subprocess.PIPE, env=environment)
    try:
        assert child.stdout.readline() == b"ready\n"
        starter.kill()
        starter.wait(30)
        assert child.wait(30) == 143
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("detached", [False, True])
def test_a_child_knows_who_started_it_unless_it_is_detached(tmp_path, detached):
    with (tmp_path / "out").open("wb") as output:
        code = "import os; print(os.environ['SCALELAB_STARTED_BY'])"
        assert processes.start(python(code), output=output, detached=detached).wait(30) == 0
    assert (tmp_path / "out").read_text().strip() == ("" if detached else str(os.getpid()))


STUBBORN = """
import pathlib, signal, sys, time
def asked(*_):
    pathlib.Path(sys.argv[1]).write_text("asked")
    if "stubborn" not in sys.argv:
        sys.exit(0)
signal.signal(signal.SIGTERM, asked)
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""


@posix_only
@pytest.mark.parametrize(("temper", "returncode"), [("polite", 0), ("stubborn", -signal.SIGKILL)])
def test_stopping_asks_first_and_kills_who_does_not_listen(tmp_path, temper, returncode):
    child = processes.start(python(STUBBORN, tmp_path / "note", temper), output=subprocess.PIPE)
    with child.stdout:
        assert child.stdout.readline() == b"ready\n"
        processes.stop_tree(child.pid, grace_s=10 if temper == "polite" else 0.5)
        assert child.wait(10) == returncode
    assert (tmp_path / "note").read_text() == "asked"


def test_stopping_what_is_gone_is_no_error():
    child = processes.start(python("pass"))
    child.wait(30)
    processes.stop_tree(child.pid)
    assert processes.tree_memory(child.pid) == 0


def test_a_zombie_and_another_process_of_the_same_pid_are_not_alive():
    child = processes.start(python(FOREVER))
    try:
        started_at = processes.start_time(child.pid)
        assert processes.is_alive(child.pid, started_at=started_at)
        assert not processes.is_alive(child.pid, started_at=started_at - 100)
        child.kill()
        wait_until(lambda: gone(child.pid))
        if sys.platform != "win32":
            assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    finally:
        child.kill()
        child.wait(30)


LOCKER = """
import sys, time, pathlib
from scalelab.core.locks import hold_lock
with hold_lock(pathlib.Path(sys.argv[1]), doing="training"):
    print(0, flush=True)
    time.sleep(600)
"""


def test_a_lock_names_its_holder_and_is_free_once_the_holder_was_killed(tmp_path):
    lock = tmp_path / "runs" / "lock"
    holder = subprocess.Popen(python(LOCKER, lock), stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        with (
            pytest.raises(ValueError, match=rf"runs is in use: training \(pid {holder.pid}\)"),
            hold_lock(lock, doing="serving"),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with hold_lock(lock, doing="serving"):
        assert f"serving (pid {os.getpid()})" in lock.read_text()
