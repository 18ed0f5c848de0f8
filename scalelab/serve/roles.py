"""One process of the service by itself: gateway here, workers there, each in a container of its own.

`run_role` is the first process of such a container (PID 1): it starts the process that works, hands SIGTERM
on, and says why that process ended. A Python that is itself PID 1 would ignore SIGTERM until its handlers
stand, and could say nothing when the kernel kills it at the memory limit.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from scalelab.core.errors import ConfigError
from scalelab.core.processes import start
from scalelab.core.units import format_bytes
from scalelab.serve.broker import check_url
from scalelab.serve.metrics import PORT_VARIABLE
from scalelab.serve.settings import BROKER_VARIABLE, StackSettings

log = logging.getLogger("scalelab.role")
KILLED = 137
"""exit code of a process that the kernel killed, as shells and container engines tell it"""
_FROZEN_S = 30.0
_CGROUP = Path("/sys/fs/cgroup")


def run_role(role: str, settings: StackSettings, *, broker: str, port: int = 0, metrics_port: int = 0) -> int:
    """Run a gateway or a worker until SIGTERM; return its exit code.

    Args:
        role: ``gateway`` or ``worker``.
        broker: URL of a broker that other machines reach too.
        port: of the gateway.
        metrics_port: of the worker; 0 answers no scrapes.

    Raises:
        ConfigError: there is no broker URL, or it is none.
    """
    if not broker:
        raise ConfigError(
            "no broker is named", hint="give --broker redis://HOST:6379/0, or set SCALELAB_BROKER"
        )
    check_url(broker)
    with tempfile.TemporaryDirectory(prefix="scalelab-") as folder:
        file = Path(folder) / "settings.json"
        settings.write(file)
        # a new name at each start: the broker must not take it for the one that died
        name = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns() // 1_000_000}"
        last = str(port) if role == "gateway" else name
        env = {BROKER_VARIABLE: broker}
        if metrics_port:
            env[PORT_VARIABLE] = str(metrics_port)
        return _run([sys.executable, "-m", f"scalelab.serve.{role}", str(file), last], env, role)


def _run(command: list[str], env: Mapping[str, str], role: str) -> int:
    asked: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def hand_on(number: int, _: object) -> None:
        asked.append(number)
        if child is not None:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hand_on)
    kills_before = oom_kills()
    child = start(command, env=env)
    if asked:  # before there was a child
        child.send_signal(asked[-1])
    code = child.wait()
    if code >= 0:
        return code
    if -code in asked:  # uvicorn ends in order and then raises the signal again
        return 0
    is_memory = code == -signal.SIGKILL and oom_kills() > kills_before
    log.error("the %s %s", role, _why_killed(-code, is_memory=is_memory))
    return 128 - code


def _why_killed(number: int, *, is_memory: bool) -> str:
    limit_bytes = memory_limit_bytes()
    limit = format_bytes(limit_bytes) if limit_bytes else "none of its own"
    if is_memory:
        return f"was killed at its container's memory limit of {limit}: raise it, or take smaller batches"
    return f"was ended by {signal.Signals(number).name} (its container's memory limit: {limit})"


def memory_limit_bytes() -> int:
    """Return the memory limit of this control group [bytes]; 0 if there is none."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limit = int((_CGROUP / name).read_text())
        except (OSError, ValueError):  # the other version of control groups; "max"
            continue
        return limit if limit < 1 << 60 else 0
    return 0


def oom_kills() -> int:
    """Return how many processes of this control group were killed at its memory limit."""
    for name in ("memory.events", "memory/memory.oom_control"):
        try:
            words = (_CGROUP / name).read_text().split()
        except OSError:
            continue
        return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0
    return 0


def check_alive(role: str, port: int) -> str:
    """Ask a gateway or a worker of this machine whether it lives; return what is wrong, or nothing.

    A worker that answers scrapes but has not looked for tasks for `_FROZEN_S` seconds is frozen.
    """
    path = "healthz" if role == "gateway" else "metrics"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/{path}", timeout=3) as reply:
            text = reply.read().decode()
    except OSError as error:
        return f"the {role} does not answer on port {port}: {error}"
    for line in text.splitlines():
        if line.startswith("scalelab_last_step_timestamp_seconds{"):
            silent_s = time.time() - float(line.rsplit(" ", 1)[1])
            if silent_s > _FROZEN_S:
                return f"the worker has not looked for tasks for {silent_s:.0f} s"
    return ""
