"""What ``no_sync`` buys over a real slow cable (see `cable`): an exchange for each batch, or for several."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass

from scalelab.core.errors import ConfigError
from scalelab.core.stats import PairedRatio, paired_ratio
from scalelab.train.data_parallel.cable import run_over_cable

ALONE, EACH, RARE, RAW = "no exchange", "sync each time", "no_sync", "one all-reduce"
"""ways to take a step on a batch cut into parts; the last is no training but the cable's own speed"""
RANKS = 2


@dataclass(frozen=True)
class RealLinkConfig:
    """What both ranks are told: the wide MLP, one thread each."""

    bytes_per_s: float = 125e6
    """of the cable; 125e6 is 1 Gbit/s"""
    batch_size: int = 32
    """images of a batch, over both ranks: few, as where a large batch does not fit"""
    accumulate: int = 8
    """batches of an optimizer step"""
    turns: int = 9
    """optimizer steps of each way; one more before them warms up"""
    width: int | None = None
    """of the dense layers; None takes the workload's own: 24 MB of gradients"""
    seed: int = 0
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        for name in ("accumulate", "turns", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", hint=f"give {name} of at least 1")
        if self.batch_size % RANKS:
            raise ConfigError(
                f"a batch of {self.batch_size} cannot be shared equally by {RANKS} ranks",
                hint="give an even number",
            )
        if not self.bytes_per_s >= 1e4:
            raise ConfigError(f"a cable of {self.bytes_per_s} bytes/s", hint="give 0.1 Mbit/s or more")


@dataclass(frozen=True)
class RealLinkRow:
    """One way."""

    way: str
    seconds: float
    """of a batch, median of the turns"""
    handed_bytes: float
    """of gradients a batch, that a rank hands to all-reduce: our own count"""
    wire_bytes: float
    """a batch, that a rank sends over the cable, headers included: the kernel's count"""


@dataclass(frozen=True)
class RealLinkReport:
    """What both ranks found."""

    label: str
    gradient_bytes: int
    """of the model"""
    rows: tuple[RealLinkRow, ...]
    speedup: PairedRatio
    """how many times longer a step takes with an exchange each time than with ``no_sync``"""
    handed_share: float
    """bytes with ``no_sync`` over those with an exchange each time, by our count: exactly 1/accumulate"""
    wire_share: float
    """the same by the cable's own counter"""
    cable_bytes_per_s: float
    """as an all-reduce of all gradients sees it: near what was asked for, or the limit did not hold"""
    difference: float
    """relative distance of the weights that both ways end with (rounding, which AdamW makes larger)"""


def compare_over_real_link(config: RealLinkConfig) -> RealLinkReport:
    """Take the same steps in each way, interleaved, on two machines with a slow cable between them.

    Law: all ways that exchange end with the same weights, and ``no_sync`` sends 1/accumulate of the bytes.

    Raises:
        ResourceError, MissingDependency: no cable can be laid here; the hint says what to do instead.
        RunFailed: a rank raised, died or hung.
    """
    function = "scalelab.train.data_parallel.real_link_rank:measure"
    found = run_over_cable(
        function, asdict(config), bytes_per_s=config.bytes_per_s, timeout_s=config.timeout_s
    )[0]
    seconds, handed, wire = found["seconds"], found["handed"], found["wire"]
    rows = tuple(
        RealLinkRow(
            way,
            statistics.median(seconds[way]) / config.accumulate,
            handed[way] / config.turns / config.accumulate,
            wire[way] / config.turns / config.accumulate,
        )
        for way in (ALONE, EACH, RARE)
    )
    return RealLinkReport(
        f"real link: two network namespaces, a cable of {config.bytes_per_s * 8 / 1e6:g} Mbit/s",
        found["gradient_bytes"],
        rows,
        paired_ratio(seconds[EACH], seconds[RARE], seed=config.seed),
        handed[RARE] / handed[EACH],
        wire[RARE] / wire[EACH],
        found["gradient_bytes"] / statistics.median(seconds[RAW]),
        found["difference"],
    )
