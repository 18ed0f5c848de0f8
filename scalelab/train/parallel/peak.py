"""The most memory that a training needs on a rank: DDP, which copies everything, beside FSDP2's shards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from scalelab.core.errors import ConfigError
from scalelab.train.launch import run_ranks

WAYS = DDP, FSDP = "DDP", "FSDP2"
_GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "262144"}
"""glibc raises the size from which it gives freed memory back each time that a larger piece is freed: FSDP2,
which frees each block's weights after use, then needs more than DDP at its peak (seen: 1.24 times). A fixed
size (mallopt(3)) stops that; other systems ignore the variable."""


@dataclass(frozen=True)
class PeakConfig:
    """What every rank is told: the character GPT with AdamW, one thread a rank."""

    world_size: int = 2
    width: int = 512
    layers: int = 6
    heads: int = 8
    context: int = 64
    batch_size: int = 8
    """windows of text in a step, over all ranks: few, so that state and not activations fill the memory"""
    steps: int = 3
    seed: int = 0
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", hint=f"give {name} of at least 1")
        if self.world_size < 2 or self.batch_size % self.world_size:
            raise ConfigError(
                f"a batch of {self.batch_size} windows cannot be shared equally by {self.world_size} ranks",
                hint="give 2 ranks or more and a multiple of them",
            )


@dataclass(frozen=True)
class PeakRow:
    """One way; of the ranks, the one that needs most."""

    way: str
    state_bytes: int
    """parameters, gradients and optimizer state after a step, counted"""
    before_bytes: int
    """resident before the model was made: the interpreter and its libraries"""
    peak_bytes: int
    """most resident memory above that, by the system's own high-water mark"""
    loss: float
    """of the last step, rank 0 [nats/character]"""


@dataclass(frozen=True)
class PeakReport:
    """Both ways, each in processes of its own."""

    rows: tuple[PeakRow, ...]
    state_share: float
    """FSDP2's state over DDP's, on the rank that holds most"""
    peak_share: float
    """FSDP2's peak over DDP's: below 1, or sharding saved nothing where it counts"""
    loss_difference: float
    """relative distance of FSDP2's last loss from DDP's (float rounding)"""


def compare_peaks(config: PeakConfig, *, on_poll: Callable[[], None] | None = None) -> PeakReport:
    """Take the same steps in both ways, one after the other, and return the memory that each needed.

    DDP is the lean one: gradients share their memory with its buckets. FSDP2's model is made in shards.

    Raises:
        RunFailed: a rank raised, died (of too little memory, perhaps) or hung.
    """
    rows = []
    for way in WAYS:
        found = run_ranks(
            "scalelab.train.parallel.peak_rank:measure",
            {"way": way, **asdict(config)},
            world_size=config.world_size,
            timeout_s=config.timeout_s,
            on_poll=on_poll,
            env=_GIVE_BACK,
        ).results
        most = {key: max(one[key] for one in found) for key in ("state_bytes", "before_bytes", "peak_bytes")}
        rows.append(PeakRow(way, **most, loss=found[0]["loss"]))
    ddp, fsdp = rows
    return PeakReport(
        tuple(rows),
        fsdp.state_bytes / ddp.state_bytes,
        fsdp.peak_bytes / ddp.peak_bytes,
        abs(fsdp.loss / ddp.loss - 1),
    )
