"""Start a function on several ranks under torchrun, and say which rank is to blame if that fails.

A rank imports the function by its name, so it lives in a module; what goes in and comes out is JSON.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.core import processes
from scalelab.core.errors import ConfigError, RunFailed
from scalelab.core.lazy import need_installed
from scalelab.core.units import format_seconds
from scalelab.train.placement import Machines, local_ranks, torchrun_flags

_SILENT_S = 3.0
"""a rank that did not touch its file for so much longer than another stands still"""


@dataclass(frozen=True)
class RanksReport:
    """What came back from all ranks."""

    results: tuple[Any, ...]
    """what the function returned on rank 0, 1, ...; of several machines, on those of this one"""
    seconds: float
    """wall time of everything, start of the processes included"""
    restarts: int
    """how often torchrun had to start all ranks again"""


def run_ranks(
    function: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    world_size: int,
    threads: int = 1,
    timeout_s: float = 180.0,
    stall_s: float | None = None,
    max_restarts: int = 0,
    folder: Path | None = None,
    on_poll: Callable[[], None] | None = None,
    device: str = "cpu",
    machines: Machines | None = None,
    env: Mapping[str, str] | None = None,
) -> RanksReport:
    """Call ``function(rank, **arguments)`` on `world_size` ranks under torchrun; return all results.

    Nothing is left running, however this ends. The ranks talk by gloo, or on GPUs by NCCL; they may be those
    of several machines, if each of them calls this (see `placement`).

    Args:
        function: ``module:name``; it gets a `scalelab.train.rank.Rank` and returns plain data.
        threads: of each rank. Ranks x threads above the cores makes every rank slower.
        timeout_s: for everything, start included.
        stall_s: give up when, after the first exchange, no rank has come to another one for so long.
        max_restarts: so often all ranks are started again after one died.
        folder: where ranks write how far they are; None takes a temporary one.
        on_poll: called ten times a second meanwhile.
        device: ``cpu``, ``cuda`` (a GPU for each rank) or ``auto``; the function finds it in ``rank.device``.
        machines: of which this one is one; results are those of its own ranks. None: this one is all.
        env: variables of the ranks, on top of this process's.

    Raises:
        RunFailed: a rank raised, died or hung (the message names it), or there were fewer ranks.
    """
    if world_size < 1 or threads < 1 or max_restarts < 0:
        raise ConfigError(
            f"{world_size} ranks of {threads} threads with {max_restarts} restarts",
            hint="give ranks and threads from 1 up, restarts from 0 up",
        )
    if folder is None:
        # a killed rank's file may appear while the folder is removed
        with tempfile.TemporaryDirectory(prefix="scalelab-ranks-", ignore_cleanup_errors=True) as temporary:
            return run_ranks(
                function,
                arguments,
                world_size=world_size,
                threads=threads,
                timeout_s=timeout_s,
                stall_s=stall_s,
                max_restarts=max_restarts,
                folder=Path(temporary),
                on_poll=on_poll,
                device=device,
                machines=machines,
                env=env,
            )
    need_installed(["torch"], extra="torch")
    ranks = local_ranks(world_size, machines)
    plan = {"function": function, "arguments": dict(arguments or {}), "world_size": world_size}
    plan |= {"threads": threads, "device": device, "path": sys.path}
    (folder / "plan.json").write_text(json.dumps(plan))
    command = [sys.executable, "-m", "torch.distributed.run", *torchrun_flags(world_size, machines)]
    command += [
        f"--log-dir={folder / 'logs'}",
        f"--max-restarts={max_restarts}",
        "-m",
        "scalelab.train.rank",
        str(folder),
    ]
    watch = _Watch(folder, ranks, stall_s, on_poll)
    environment = {**_environment(threads, is_alone=machines is None), **(env or {})}
    try:
        finished = processes.run(command, timeout_s=timeout_s, env=environment, on_poll=watch.look)
    except RunFailed as error:
        raise RunFailed(f"{_slowest(folder, ranks, machines)}; {error.message}", hint=error.hint) from None
    if finished.returncode != 0:
        raise _failure(folder, ranks, finished.output)
    results = [read_json(folder / f"result_{rank}.json") for rank in ranks]
    given = [result for result in results if result is not None]
    if len(given) < len(ranks):
        raise RunFailed(
            f"asked for {len(ranks)} ranks, torchrun gave {len(given)} rank(s) with a result",
            hint="run it again",
        )
    restarts = max(result["restarts"] for result in given)
    return RanksReport(tuple(result["result"] for result in given), finished.wall_s, restarts)


def progress_path(folder: Path, rank: int) -> Path:
    """Return the file in which a rank says how far it is, and that it lives (touched twice a second)."""
    return folder / f"rank_{rank}.json"


class _Watch:
    """Looks ten times a second whether any rank still gets on."""

    def __init__(self, folder: Path, ranks: range, stall_s: float | None, on_poll: Callable[[], None] | None):
        self.folder, self.ranks, self.stall_s, self.on_poll = folder, ranks, stall_s, on_poll
        self.seen: list[int] = []
        self.changed_s = time.monotonic()

    def look(self) -> None:
        if self.on_poll is not None:
            self.on_poll()
        if self.stall_s is None:
            return
        found = [read_json(progress_path(self.folder, rank)) for rank in self.ranks]
        exchanges = [one["exchanges"] if one else 0 for one in found]
        if exchanges != self.seen or min(exchanges) == 0:
            self.seen, self.changed_s = exchanges, time.monotonic()
        elif time.monotonic() - self.changed_s > self.stall_s:
            raise RunFailed(
                f"no rank got on for {format_seconds(self.stall_s)}",
                hint="look at what that rank does between two exchanges; all ranks must take part in each",
            )


def _environment(threads: int, *, is_alone: bool) -> dict[str, str]:
    loopback = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
    return {
        "OMP_NUM_THREADS": str(threads),
        **({"GLOO_SOCKET_IFNAME": loopback} if loopback and is_alone else {}),
        # torch's Windows wheels come without libuv
        **({"USE_LIBUV": "0"} if sys.platform == "win32" else {}),
    }


def _failure(folder: Path, ranks: range, output: str) -> RunFailed:
    """Blame the rank that said first what is wrong; without such a word, the one torchrun saw fail first."""
    said = [(rank, read_json(folder / f"error_{rank}.json")) for rank in ranks]
    known = [(found["when"], rank, found) for rank, found in said if found is not None]
    if known:
        _, rank, found = min(known, key=lambda one: one[:2])
        return RunFailed(f"rank {rank}: {found['message']}", hint=found["hint"])
    rank, how = _culprit(folder, output)
    return RunFailed(
        f"{how}; the last lines:\n{_last_lines(output, rank)}",
        hint="run it again; with too little memory, give a smaller model or batch",
    )


def _culprit(folder: Path, output: str) -> tuple[str, str]:
    """Return which rank failed first and how, from torchrun's report.

    One that was killed comes first: the others fail because it is gone, and torchrun may see them end before.
    SIGTERM is torchrun's own, to the rest.
    """
    report = output[output.rfind("FAILED") :]
    found = [
        (int(code), rank)
        for rank, code in re.findall(r"rank\s*: (\d+).*?exitcode\s*: (-?\d+)", report, re.DOTALL)
    ]
    if not found:
        return "", "torchrun failed before a rank did"
    killed = [one for one in found if one[0] < 0 and one[0] != -signal.SIGTERM]
    code, rank = killed[0] if killed else found[-1]  # torchrun puts the first to fail last
    how = f"was killed by signal {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    progress = read_json(progress_path(folder, int(rank))) or {}
    return rank, f"rank {rank} {how} at step {progress.get('step', 0)}"


def _slowest(folder: Path, ranks: range, machines: Machines | None) -> str:
    """Name the rank that the others wait for: the one that got least far."""
    progress = {rank: read_json(progress_path(folder, rank)) for rank in ranks}
    absent = [rank for rank in progress if progress[rank] is None]
    if absent and machines is not None:
        return (
            f"rank {absent[0]} of machine {machines.number} did not join the others: the same command must "
            f"run on all {machines.count} machines, and each must reach {machines.rendezvous}"
        )
    if absent:
        return f"rank {absent[0]} did not start"
    touched_s = {rank: progress_path(folder, rank).stat().st_mtime for rank in progress}
    exchanges = {rank: (found or {})["exchanges"] for rank, found in progress.items()}
    silent_s = max(touched_s.values()) - _SILENT_S
    last = min(progress, key=lambda rank: (touched_s[rank] > silent_s, exchanges[rank]))
    step = (progress[last] or {})["step"]
    if touched_s[last] <= silent_s:
        return f"rank {last} hangs at step {step}: it stands still"
    if exchanges[last] < max(exchanges.values()):
        return f"rank {last} hangs at step {step}: the others wait for it"
    if machines is not None:
        return f"all {len(ranks)} ranks of machine {machines.number} came to step {step}; another's may hang"
    return f"all {len(ranks)} ranks were at work, at step {step}"


def read_json(path: Path) -> dict[str, Any] | None:
    """Return what a file holds, or None while it is not there or not whole."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        return content
    except (OSError, ValueError):
        return None


def _last_lines(output: str, rank: str, count: int = 12) -> str:
    """Return the end of that rank's traceback; without one, of any rank's, or of all that was said."""
    lines = [line for line in output.splitlines() if line.strip()]
    of_rank = [line for line in lines if line.startswith(f"[rank{rank}]")]
    of_ranks = [line for line in lines if line.startswith("[rank")]
    return "\n".join((of_rank or of_ranks or lines)[-count:])
