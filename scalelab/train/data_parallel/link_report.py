"""What overlap, compression and rarer exchanges buy on a slow link, which is INJECTED (see `link`)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from scalelab.core.errors import ConfigError
from scalelab.core.stats import PairedRatio, paired_ratio
from scalelab.data import load_text
from scalelab.models import CharGpt
from scalelab.train.data_parallel.buckets import BucketedModel
from scalelab.train.data_parallel.exchange import TopK, exchange_bf16
from scalelab.train.data_parallel.link import LABEL, InjectedWire, Link
from scalelab.train.data_parallel.step import parallel_step, take
from scalelab.train.launch import run_ranks
from scalelab.train.rank import Rank
from scalelab.train.turns import take_turns

WAYS: dict[str, dict[str, Any]] = {
    "all at the end": {"overlap": False},
    "overlap": {},
    "overlap, bf16": {"exchange": exchange_bf16},
    "overlap, top 1 %": {"exchange": TopK},
    "once in all batches": {},
}
"""how `BucketedModel` is told; the last way accumulates over a turn and exchanges once"""
BASE, RARE = "all at the end", "once in all batches"


@dataclass(frozen=True)
class LinkConfig:
    """What every rank is told: the character GPT, one thread a rank."""

    world_size: int = 2
    alpha_s: float = 0.0005
    bytes_per_s: float = 125e6
    """of the injected link; 125e6 is 1 Gbit/s"""
    batch_size: int = 8
    """windows of text in a batch, over all ranks"""
    batches: int = 8
    """in a turn; the last way exchanges once for all of them"""
    turns: int = 9
    width: int = 256
    layers: int = 4
    context: int = 64
    bucket_bytes: int = 1 << 20
    seed: int = 0
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        for name in ("batches", "turns"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", hint=f"give {name} of at least 1")
        if self.world_size < 2 or self.batch_size < 1 or self.batch_size % self.world_size:
            raise ConfigError(
                f"a batch of {self.batch_size} windows cannot be shared equally by {self.world_size} ranks",
                hint="give 2 ranks or more, and a batch that is a multiple of them",
            )
        Link(self.alpha_s, self.bytes_per_s)


@dataclass(frozen=True)
class LinkRow:
    """One way, over the injected link."""

    way: str
    seconds: float
    """of a batch, median of the turns"""
    bytes_per_batch: float
    """of gradients, that each rank hands to collectives"""
    speedup: PairedRatio
    """how many times longer `BASE` takes, turn by turn"""


@dataclass(frozen=True)
class LinkReport:
    """All ways, the slowest kind first."""

    label: str
    """that the link is injected: belongs beside every number"""
    rows: tuple[LinkRow, ...]
    late_share: float
    """of messages, over a tenth later than the link would bring them: near 1, the rows tell of the machine"""
    seconds: float
    """wall time of everything"""


def compare_over_link(config: LinkConfig, *, on_poll: Callable[[], None] | None = None) -> LinkReport:
    """Train the same batches in every way, interleaved, on ranks under torchrun.

    Law: bytes are counted exactly: bf16 hands over half of them, one exchange for n batches an n-th.
    """
    report = run_ranks(
        "scalelab.train.data_parallel.link_report:measure",
        asdict(config),
        world_size=config.world_size,
        timeout_s=config.timeout_s,
        on_poll=on_poll,
    )
    found = report.results[0]
    rows = []
    for way in WAYS:
        speedup = paired_ratio(found["seconds"][BASE], found["seconds"][way], seed=config.seed)
        median_s = sorted(speedup.b_s)[len(speedup.b_s) // 2] / config.batches
        rows.append(LinkRow(way, median_s, found["bytes"][way], speedup))
    label = f"{LABEL}: {config.alpha_s * 1e3:g} ms, {config.bytes_per_s / 1e6:g} MB/s"
    return LinkReport(label, tuple(rows), found["late_share"], report.seconds)


def measure(rank: Rank, **settings: Any) -> dict[str, Any]:
    """Take turns on this rank; return seconds of each turn, and bytes of gradients a batch."""
    config = LinkConfig(**settings)
    windows = torch.from_numpy(load_text(50_000, seed=config.seed).windows(config.context))
    share = config.batch_size // rank.world_size
    wires, ways = {}, {}

    def turn_of(way: str, model: BucketedModel, optimizer: torch.optim.Optimizer, turn: int) -> None:
        starts = [
            ((turn * config.batches + i) * share) % (len(windows) - share) for i in range(config.batches)
        ]
        micro_batches = [take(windows, range(start, start + share)) for start in starts]
        groups = [micro_batches] if way == RARE else [[one] for one in micro_batches]
        for group in groups:
            parallel_step(model, optimizer, group, model.wire)

    for way, how in WAYS.items():
        torch.manual_seed(config.seed)
        gpt = CharGpt(context=config.context, layers=config.layers, width=config.width)
        wires[way] = InjectedWire(Link(config.alpha_s, config.bytes_per_s))
        told = {**how, "exchange": TopK(0.01)} if how.get("exchange") is TopK else how
        model = BucketedModel(gpt, wires[way], bucket_bytes=config.bucket_bytes, **told)
        ways[way] = functools.partial(turn_of, way, model, torch.optim.AdamW(gpt.parameters(), lr=1e-3))
    seconds = take_turns(rank, ways, config.turns)
    batches = config.batches * (config.turns + 1)
    steps = {way: batches // config.batches if way == RARE else batches for way in WAYS}
    # two numbers of 8 bytes a step are the step's own, not the gradients'
    handed = {way: (wires[way].traffic.handed_bytes - 16 * steps[way]) / batches for way in WAYS}
    return {
        "seconds": seconds,
        "bytes": handed,
        "late_share": sum(wire.late_share for wire in wires.values()) / len(wires),
    }
