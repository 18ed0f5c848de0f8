"""Data parallel training: processes share each batch and average gradients, measured beside one process.

The ranks run under torchrun in child processes (`ddp_rank`); what they found comes back as JSON.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scalelab.core import processes
from scalelab.core.errors import ConfigError, RunFailed
from scalelab.core.lazy import need_installed

_SILENT_S = 3.0
"""a rank that did not touch its file for so much longer than another stands still"""


@dataclass(frozen=True)
class DdpConfig:
    """What every rank is told."""

    processes: int = 2
    batch_size: int = 64
    """images of one step, over all ranks"""
    steps: int = 12
    """measured steps of each variant; rounded up to whole rounds of `accumulate`"""
    width: int = 2048
    seed: int = 0
    accumulate: int = 4
    """batches between two exchanges in the variant that uses ``no_sync``"""
    timeout_s: float = 180.0
    """for everything, start included"""

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "width", "accumulate"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", hint=f"give {name} of at least 1")
        if self.processes < 2:
            raise ConfigError(f"{self.processes} process shares nothing", hint="give 2 processes or more")
        if self.batch_size % self.processes:
            raise ConfigError(
                f"a batch of {self.batch_size} images cannot be shared equally by {self.processes} processes",
                hint=f"give a multiple of {self.processes}: with unequal shares the mean of the ranks' "
                "gradients is not the gradient of the batch",
            )


@dataclass(frozen=True)
class DdpRow:
    """One way to train; every process has one thread."""

    name: str
    images_per_s: float
    """median over the rounds"""
    bytes_per_step: float
    """handed to all-reduce by each rank, per batch of `batch_size` images"""


@dataclass(frozen=True)
class DdpReport:
    """What the ranks found."""

    world_size: int
    parameters: int
    steps: int
    """measured steps of each variant"""
    same_parameters: bool
    """all ranks ended with the same bytes"""
    checksums: tuple[str, ...]
    """sha256 of each rank's parameters"""
    gradient_error: float
    """relative distance of the averaged gradient to one process's on the whole batch (float rounding)"""
    bytes_per_step: int
    """counted by a communication hook on rank 0, DDP that exchanges at each step"""
    expected_bytes_per_step: int
    """parameters x 4"""
    rows: tuple[DdpRow, ...]
    """one process, DDP, DDP with ``no_sync``"""
    ratios: tuple[float, ...]
    """throughput of DDP over that of one process, round by round: below 1 it is slower than alone"""
    ratios_no_sync: tuple[float, ...]
    """the same with ``no_sync``"""
    seconds: float
    """wall time of everything, start of the processes included"""


def run_ddp(
    config: DdpConfig, *, folder: Path | None = None, on_poll: Callable[[], None] | None = None
) -> DdpReport:
    """Train on `config.processes` ranks under torchrun and, in turn, on one; return what each way gave.

    Nothing is left running, however this ends.

    Args:
        folder: where the ranks write their progress and result (JSON); None takes a temporary one.
        on_poll: called ten times a second meanwhile.

    Raises:
        RunFailed: a rank died or hung (the message names it), or torchrun started another number of ranks.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="scalelab-ddp-") as temporary:
            return run_ddp(config, folder=Path(temporary), on_poll=on_poll)
    need_installed(["torch"], extra="torch")
    (folder / "config.json").write_text(json.dumps(asdict(config)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    command += [
        f"--log-dir={folder / 'logs'}",
        f"--nproc-per-node={config.processes}",
        "-m",
        "scalelab.train.ddp_rank",
        str(folder),
    ]
    try:
        finished = processes.run(command, timeout_s=config.timeout_s, env=_environment(), on_poll=on_poll)
    except RunFailed as error:
        raise RunFailed(f"{_slowest(folder, config.processes)}; {error.message}", hint=error.hint) from None
    if finished.returncode != 0:
        raise RunFailed(
            f"{_culprit(folder, finished.output)}; the last lines:\n{_last_lines(finished.output)}",
            hint="run it again; with too little memory, give a smaller width or batch",
        )
    result = _read(folder / "result.json")
    if result is None or result["world_size"] != config.processes:
        found = "no result" if result is None else f"{result['world_size']} rank(s)"
        raise RunFailed(f"asked for {config.processes} ranks, torchrun gave {found}", hint="run it again")
    rows = tuple(DdpRow(**row) for row in result.pop("rows"))
    lists = {name: tuple(result.pop(name)) for name in ("checksums", "ratios", "ratios_no_sync")}
    return DdpReport(**result, **lists, rows=rows, seconds=finished.wall_s)


def progress_path(folder: Path, rank: int) -> Path:
    """Return the file in which a rank says how far it is, and that it lives (touched twice a second)."""
    return folder / f"rank_{rank}.json"


def _environment() -> dict[str, str]:
    loopback = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
    return {
        "OMP_NUM_THREADS": "1",
        **({"GLOO_SOCKET_IFNAME": loopback} if loopback else {}),
        # torch's Windows wheels come without libuv
        **({"USE_LIBUV": "0"} if sys.platform == "win32" else {}),
    }


def _culprit(folder: Path, output: str) -> str:
    """Say which rank failed first and how, from torchrun's report."""
    first = output[output.rfind("Root Cause") :]
    rank = re.search(r"rank\s*:\s*(\d+)", first)
    code = re.search(r"exitcode\s*:\s*(-?\d+)", first)
    if not rank:
        return "torchrun failed before a rank did"
    number = int(code.group(1)) if code else 1
    how = (
        f"was killed by signal {signal.Signals(-number).name}" if number < 0 else f"ended with code {number}"
    )
    progress = _read(progress_path(folder, int(rank.group(1)))) or {}
    return f"rank {rank.group(1)} {how} at step {progress.get('step', 0)}"


def _slowest(folder: Path, world_size: int) -> str:
    """Name the rank that the others wait for: the one that got least far."""
    progress = {rank: _read(progress_path(folder, rank)) for rank in range(world_size)}
    absent = [rank for rank in progress if progress[rank] is None]
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
    return f"all {world_size} ranks were at work, at step {step}"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        return content
    except (OSError, ValueError):
        return None


def _last_lines(output: str, count: int = 12) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    of_ranks = [line for line in lines if line.startswith("[rank")]  # tracebacks, not torchrun's own report
    return "\n".join((of_ranks or lines)[-count:])
