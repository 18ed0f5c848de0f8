"""Data parallel training: processes share each batch and average gradients, measured beside one process.

The ranks run under torchrun in child processes (`ddp_rank`); what they found comes back as JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from scalelab.core.errors import ConfigError, did_you_mean
from scalelab.core.stats import PairedRatio, paired_ratio
from scalelab.train.launch import run_ranks
from scalelab.train.placement import Machines

MODELS = ("reader", "gpt", "mlp")
"""what `workload.make_workload` makes"""


@dataclass(frozen=True)
class DdpConfig:
    """What every rank is told."""

    processes: int = 2
    """ranks, over all machines"""
    batch_size: int = 64
    """images (windows of text) of one step, over all ranks"""
    steps: int = 12
    """measured steps of each variant; rounded up to whole rounds of `accumulate`"""
    width: int | None = None
    """of the model's layers; None takes the model's own"""
    seed: int = 0
    accumulate: int = 4
    """batches between two exchanges in the variant that uses ``no_sync``"""
    timeout_s: float = 180.0
    """for everything, start included"""
    stall_s: float = 60.0
    """a rank that does not come to the next exchange for so long hangs"""
    model: str = "reader"
    """one of `MODELS`"""

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "width", "accumulate"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}", hint=f"give {name} of at least 1")
        if self.model not in MODELS:
            raise ConfigError(f"there is no model {self.model!r}", hint=did_you_mean(self.model, MODELS))
        if self.processes < 2:
            raise ConfigError(f"{self.processes} process shares nothing", hint="give 2 processes or more")
        if self.batch_size % self.processes:
            raise ConfigError(
                f"a batch of {self.batch_size} cannot be shared equally by {self.processes} processes",
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
    speedup: PairedRatio
    """how many times longer one process takes than DDP, round by round: below 1, DDP is slower than alone"""
    speedup_no_sync: PairedRatio
    """the same with ``no_sync``"""
    device: str
    """of the ranks: ``cpu`` (messages by gloo) or ``cuda`` (by NCCL)"""
    seconds: float
    """wall time of everything, start of the processes included"""

    @property
    def ratios(self) -> tuple[float, ...]:
        """Throughput of DDP over that of one process, one value a round."""
        return _each(self.speedup)

    @property
    def ratios_no_sync(self) -> tuple[float, ...]:
        """The same with ``no_sync``."""
        return _each(self.speedup_no_sync)


def run_ddp(
    config: DdpConfig,
    *,
    folder: Path | None = None,
    on_poll: Callable[[], None] | None = None,
    device: str = "cpu",
    machines: Machines | None = None,
) -> DdpReport | None:
    """Train on `config.processes` ranks under torchrun and, in turn, on one; return what each way gave.

    Of several machines (see `placement`), number 0 has the report; the others get None.

    Nothing is left running, however this ends.

    Args:
        folder: where the ranks write their progress and result (JSON); None takes a temporary one.
        on_poll: called ten times a second meanwhile.
        device: ``cpu``, ``cuda`` (a GPU for each rank, NCCL) or ``auto``.
        machines: of which this one is one.

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
        device=device,
        machines=machines,
    )
    result = report.results[0]
    if result is None:
        return None
    took_s = result.pop("seconds")
    return DdpReport(
        rows=tuple(DdpRow(**row) for row in result.pop("rows")),
        checksums=tuple(result.pop("checksums")),
        speedup=paired_ratio(took_s["alone"], took_s["ddp"], seed=config.seed),
        speedup_no_sync=paired_ratio(took_s["alone"], took_s["no_sync"], seed=config.seed),
        seconds=report.seconds,
        **result,
    )


def _each(ratio: PairedRatio) -> tuple[float, ...]:
    return tuple(a / b for a, b in zip(ratio.a_s, ratio.b_s, strict=True))
