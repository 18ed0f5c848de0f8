"""A real slow cable: two network namespaces of Linux, a veth pair between them, `tc` to limit its rate.

To the ranks these are two machines: each namespace runs torchrun, as `placement.Machines` tells it.
Everything hangs on living processes: when they end, in whatever way, the kernel removes namespaces and cable.
Root is not needed where an ordinary user may make user namespaces. The limit is tc-tbf(8), a token bucket.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalelab.core import processes
from scalelab.core.errors import MissingDependency, ResourceError, RunFailed, ScalelabError
from scalelab.train.launch import read_json, run_ranks
from scalelab.train.placement import Machines

DEVICE = "cable"
"""what both ends are called"""
_ADDRESSES = ("10.77.0.1", "10.77.0.2")
_RENDEZVOUS = f"{_ADDRESSES[0]}:29500"  # a network of its own: the port is free
_INSTEAD = "the injected link runs everywhere: scalelab train link"
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])  # where Debian has tc


def need_cable() -> None:
    """Make sure that this machine lets us lay a cable, by laying one.

    Raises:
        ResourceError: no Linux, or neither root nor user namespaces.
        MissingDependency: `ip`, `tc`, `unshare` or `nsenter` is not installed.
    """
    if sys.platform != "linux":
        raise ResourceError(f"a cable needs Linux, this is {sys.platform}", hint=_INSTEAD)
    for program, package in {
        "ip": "iproute2",
        "tc": "iproute2",
        "unshare": "util-linux",
        "nsenter": "util-linux",
    }.items():
        if shutil.which(program, path=_PATH) is None:
            raise MissingDependency(
                f"the program {program!r} is not installed",
                hint=f"sudo apt-get install {package}; or without: {_INSTEAD}",
            )
    lay = f"ip link add name {DEVICE} type veth peer name other && {' '.join(_limit(125e6))}"
    tried = subprocess.run(
        [*_as_root(), "unshare", "--net", "sh", "-c", lay],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": _PATH},
        timeout=30,
    )
    if tried.returncode != 0:
        said = tried.stderr.strip().splitlines() or ["it gave no reason"]
        raise ResourceError(
            f"this machine refuses a network of our own: {said[-1]}",
            hint=f"run it as root, or allow user namespaces; or without: {_INSTEAD}",
        )


def run_over_cable(
    function: str, arguments: Mapping[str, Any], *, bytes_per_s: float, timeout_s: float = 300.0
) -> list[Any]:
    """Call ``function(rank, **arguments)`` on two ranks, each on a machine of its own; return both results.

    Args:
        function: as in `run_ranks`.
        bytes_per_s: what the cable lets through each way.

    Raises:
        RunFailed: a rank raised, died or hung.
        ResourceError, MissingDependency: as `need_cable`.
    """
    need_cable()
    with tempfile.TemporaryDirectory(prefix="scalelab-cable-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        plan = {"function": function, "arguments": dict(arguments), "bytes_per_s": bytes_per_s}
        (folder / "plan.json").write_text(json.dumps({**plan, "timeout_s": timeout_s, "path": sys.path}))
        finished = processes.run(
            [*_as_root(), *_ourselves(folder)], timeout_s=timeout_s + 15, env={"PATH": _PATH}
        )
        outcomes = [read_json(folder / f"outcome_{number}.json") for number in (0, 1)]
    errors = [one for one in outcomes if one is not None and "error" in one]
    if errors:
        first = min(errors, key=lambda one: one["when"])  # the other one fails because this one is gone
        raise RunFailed(first["error"], hint=first["hint"])
    if finished.returncode != 0 or None in outcomes:
        raise RunFailed(f"the cable broke off:\n{finished.output[-2000:]}", hint="run it again")
    return [one["result"] for one in outcomes if one is not None]


def sent_bytes() -> int:
    """Return what this end of the cable has sent so far, headers included, by the kernel's count."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == DEVICE:
            return int(numbers.split()[8])
    raise AssertionError(f"there is no {DEVICE} in this namespace")


def _lay(folder: Path) -> int:
    """Make both machines and the cable, run the ranks on them; return 0 if all went well."""
    plan = json.loads((folder / "plan.json").read_text())
    with contextlib.ExitStack() as open_ones:
        pids = [open_ones.enter_context(_machine()) for _ in _ADDRESSES]
        _inside(pids[0], "ip", "link", "add", "name", DEVICE, "type", "veth",
                "peer", "name", DEVICE, "netns", str(pids[1]))  # fmt: skip
        for pid, address in zip(pids, _ADDRESSES, strict=True):
            _inside(pid, "ip", "link", "set", "lo", "up")
            _inside(pid, "ip", "address", "add", f"{address}/24", "dev", DEVICE)
            _inside(pid, "ip", "link", "set", DEVICE, "up")
            _inside(pid, *_limit(plan["bytes_per_s"]))
        children = [
            processes.start(
                [*_enter(pid), *_ourselves(folder, str(number))], env={"GLOO_SOCKET_IFNAME": DEVICE}
            )
            for number, pid in enumerate(pids)
        ]
        return _wait(children)


def _wait(children: list[subprocess.Popen[bytes]], grace_s: float = 5.0) -> int:
    """Wait for both machines; when one has failed, the other has a moment left to say so too."""
    gives_up_s = float("inf")
    while any(child.poll() is None for child in children) and time.monotonic() < gives_up_s:
        time.sleep(0.05)
        if gives_up_s == float("inf") and any(child.poll() for child in children):
            gives_up_s = time.monotonic() + grace_s
    for child in children:
        processes.stop_tree(child.pid, grace_s=0)
    return max(abs(child.wait()) for child in children)


def _run_ranks(folder: Path, number: int) -> int:
    """Be one of the machines: run its rank, write what came of it."""
    plan = json.loads((folder / "plan.json").read_text())
    sys.path[:] = plan["path"]
    own = folder / f"machine_{number}"
    own.mkdir()
    try:
        report = run_ranks(
            plan["function"],
            plan["arguments"],
            world_size=len(_ADDRESSES),
            timeout_s=plan["timeout_s"],
            stall_s=60,
            folder=own,
            machines=Machines(len(_ADDRESSES), number, _RENDEZVOUS),
        )
    except ScalelabError as error:
        outcome = {"error": error.message, "hint": error.hint, "when": time.time()}
    else:
        outcome = {"result": report.results[0]}
    (folder / f"outcome_{number}.json").write_text(json.dumps(outcome))
    return int("error" in outcome)


@contextlib.contextmanager
def _machine():  # type: ignore[no-untyped-def]
    """Hold a network namespace open by a process that waits for its input to end; yield its pid."""
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        holder.stdout.readline()  # now it is in its namespace
        yield holder.pid
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()


def _limit(bytes_per_s: float) -> list[str]:
    """Return the command that slows one end down: a queue of 50 ms, bursts of 2 ms."""
    burst = max(32_768, round(bytes_per_s * 0.002))
    rate = ["rate", f"{round(bytes_per_s * 8)}bit", "burst", f"{burst}b", "latency", "50ms"]
    return ["tc", "qdisc", "add", "dev", DEVICE, "root", "tbf", *rate]


def _as_root() -> list[str]:
    """Return what makes an ordinary user root of a user namespace; root needs nothing."""
    return [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]


def _enter(pid: int) -> list[str]:
    return ["nsenter", "--target", str(pid), "--net"]


def _inside(pid: int, *command: str) -> None:
    subprocess.run([*_enter(pid), *command], check=True)


def _ourselves(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "scalelab.train.data_parallel.cable", *map(str, words)]


if __name__ == "__main__":
    processes.die_with_parent()  # a user namespace takes away what `start` had arranged
    sys.exit(
        _lay(Path(sys.argv[1])) if len(sys.argv) == 2 else _run_ranks(Path(sys.argv[1]), int(sys.argv[2]))
    )
