"""Warm processes for the tests of the sandbox, and sources that run inside or outside of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from scalelab.grader.limits import MIB, Limits
from scalelab.grader.sandbox import Learner, WarmProcess

SMALL = Limits(
    submission_s=60,
    memory_bytes=200 * MIB,
    processes=12,
    file_bytes=8 * MIB,
    disk_bytes=16 * MIB,
    open_files=64,
)
AS_ROOT = sys.platform == "linux" and os.getuid() == 0
HAS_NAMESPACES = shutil.which("unshare") is not None and not subprocess.call(
    ["unshare", "-Urmpf", "--mount-proc", "true"], stderr=subprocess.DEVNULL
)
in_namespaces = pytest.mark.skipif(not HAS_NAMESPACES, reason="only on Linux with namespaces switched on")
_OUTSIDE = """
import json, sys
names = json.load(sys.stdin)
exec(names["source"], names)
print(json.dumps(names["result"]))
"""


def warm_process(**settings: Any) -> WarmProcess:
    """Start a warm process whose learner processes run what `ask` sends."""
    settings = {"limits": SMALL, "import_paths": [Path(__file__).parent], **settings}
    return WarmProcess(shell="attacker:warm", serve="attacker:attack", **settings)


def ask(learner: Learner, source: str, *, within_s: float = 30, **names: Any) -> Any:
    """Run a source in a learner process and return its `result`; an exception comes back as its text."""
    learner.channel.send({"source": source, **names})
    answer = learner.channel.receive(time.monotonic() + within_s)
    return answer.get("result", answer.get("error"))


def ask_outside(source: str, **names: Any) -> Any:
    """Run the same source in a plain child process: the control, which must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", _OUTSIDE],
        input=json.dumps({"source": source, **names}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def processes_below(pid: int) -> list[psutil.Process]:
    """Return the living descendants of a process."""
    try:
        found = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [process for process in found if is_alive(process)]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(holds: Any, within_s: float = 20) -> bool:
    """Wait until a condition holds; False if it did not in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
