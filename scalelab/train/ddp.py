"""Data parallel training: processes share each batch and average gradients, measured beside one process.

The ranks run under torchrun in child processes (`ddp_rank`); what they found comes back as JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from scalelab.core.errors import ConfigError
from scalelab.train.launch import run_ranks


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
    stall_s: float = 60.0
    """a rank that does not come to the next exchange for so long hangs"""

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
    report = run_ranks(
        "scalelab.train.ddp_rank:measure",
        asdict(config),
        world_size=config.processes,
        timeout_s=config.timeout_s,
        stall_s=config.stall_s,
        folder=folder,
        on_poll=on_poll,
    )
    result = report.results[0]
    rows = tuple(DdpRow(**row) for row in result.pop("rows"))
    lists = {name: tuple(result.pop(name)) for name in ("checksums", "ratios", "ratios_no_sync")}
    return DdpReport(**result, **lists, rows=rows, seconds=report.seconds)
