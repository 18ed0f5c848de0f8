"""Put load on a system from a process of its own: closed loop by wrk, open loop by `peers.generator`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scalelab.core.errors import RunFailed
from scalelab.core.processes import start
from scalelab.loadtest.arrivals import poisson

CONNECTIONS = 64
"""of the closed loop"""
OPEN_CONNECTIONS = 512
_LUA = """\
local requests, at = {}, 0
function init(args)
  for number = 1, %(count)d do
    local file = io.open("%(folder)s/" .. number, "rb")
    local headers = {["Content-Type"] = "%(content_type)s"}
    requests[number] = wrk.format("POST", "%(path)s", headers, file:read("*a"))
    file:close()
  end
end
function request()
  at = at %% %(count)d + 1
  return requests[at]
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %%d %%d %%d %%d\\n", summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@dataclass(frozen=True)
class Door:
    """Where requests of one kind go, and what they carry."""

    host: str
    port: int
    path: str
    content_type: str
    bodies: tuple[bytes, ...]
    labels: tuple[int, ...]
    """what the model says of each body: an answer given to the wrong request is found"""

    def plan(self, **more: Any) -> dict[str, Any]:
        """Return the plan of a run for `peers.generator`."""
        return {
            "host": self.host, "port": self.port, "path": self.path, "content_type": self.content_type,
            "bodies": [body.decode("latin-1") for body in self.bodies], "labels": list(self.labels), **more,
        }  # fmt: skip


@dataclass(frozen=True)
class Closed:
    """One window of a closed loop."""

    per_second: float
    """good answers"""
    answered: int
    """good answers, those of the warm-up too"""
    bad: int
    """answers of another status, broken connections, timeouts"""
    generator: str


def closed_loop(door: Door, seconds: float, warmup_s: float = 0.5) -> Closed:
    """Keep 64 connections busy; by wrk where it is installed, else by `peers.generator`."""
    wrk = shutil.which("wrk")
    if wrk is None:
        found = open_loop(door, None, seconds, warmup_s=warmup_s, connections=CONNECTIONS)
        rate = found["throughput_per_s"]
        return Closed(rate, round(rate * (seconds + warmup_s)), found["n"] - found["ok"], "peers.generator")
    with tempfile.TemporaryDirectory(prefix="peers-wrk-") as name:
        folder = Path(name)
        for number, body in enumerate(door.bodies, 1):
            (folder / str(number)).write_bytes(body)
        script = folder / "load.lua"
        script.write_text(
            _LUA % {"count": len(door.bodies), "folder": folder, "path": door.path,
                    "content_type": door.content_type}
        )  # fmt: skip
        before = _wrk(wrk, door, script, warmup_s).answered if warmup_s else 0
        found = _wrk(wrk, door, script, seconds)
        return replace(found, answered=found.answered + before)


def _wrk(wrk: str, door: Door, script: Path, seconds: float) -> Closed:
    # wrk counts whole seconds, so it is ended by SIGINT, after which it reports
    command = [wrk, "-t1", f"-c{CONNECTIONS}", "-d3600s", "--timeout", "10s", "-s", str(script)]
    with start([*command, f"http://{door.host}:{door.port}"], pipes=True) as process:
        try:
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
            output = process.communicate(timeout=20)[0].decode(errors="replace")
        finally:
            process.kill()
    result = next((line for line in output.splitlines() if line.startswith("RESULT")), None)
    if result is None:
        raise RunFailed(f"wrk said nothing of its run:\n{output[-500:]}", hint="run it by hand")
    requests, duration_us, bad_status, broken = map(int, result.split()[1:])
    good = requests - bad_status
    return Closed(good / duration_us * 1e6, good, bad_status + broken, "wrk")


def open_loop(
    door: Door,
    rate_per_s: float | None,
    seconds: float,
    *,
    warmup_s: float = 0.5,
    timeout_s: float = 2.0,
    connections: int = OPEN_CONNECTIONS,
    seed: int = 0,
    during: tuple[float, Callable[[], object]] | None = None,
) -> dict[str, Any]:
    """Send Poisson arrivals (a rate of None: a closed loop) and return what `peers.generator` saw.

    Args:
        during: seconds after the start, and what is called then.

    Raises:
        RunFailed: the generator failed; its last words are in the message.
    """
    arrivals_s = poisson(rate_per_s, warmup_s + seconds, seed=seed).tolist() if rate_per_s else None
    plan = door.plan(arrivals_s=arrivals_s, duration_s=seconds, warmup_s=warmup_s, timeout_s=timeout_s,
                     connections=connections)  # fmt: skip
    with tempfile.TemporaryFile("w+") as errors:
        command = [sys.executable, "-m", "peers.generator"]
        with start(command, env=with_peers(), output=errors, pipes=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(json.dumps(plan).encode())
                process.stdin.close()
                started = process.stdout.readline()
                if started and during is not None:
                    time.sleep(during[0])
                    during[1]()
                answer = process.stdout.readline()
            finally:
                process.kill()
        if not answer:
            errors.seek(0)
            raise RunFailed(f"the load generator failed:\n{errors.read()[-1000:]}", hint="is the system up?")
    result: dict[str, Any] = json.loads(answer)
    return result


def with_peers() -> dict[str, str]:
    """Return the variable that lets a child process import the package `peers`."""
    places = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, places))}
