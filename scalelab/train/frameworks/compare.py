"""What a loop costs: the same training step by bare torch, by ours, by raw DDP and by frameworks, in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from scalelab.core.errors import ConfigError, MissingDependency, RunFailed, did_you_mean
from scalelab.core.lazy import how_to_install, is_installed
from scalelab.core.stats import PairedRatio, Verdict, judge, paired_ratio
from scalelab.train.launch import run_ranks

BASES = {
    "ours alone": "bare torch",
    "ours over DDP": "raw DDP",
    "our buckets": "raw DDP",
    "accelerate": "raw DDP",
    "Lightning": "raw DDP",
    "DeepSpeed": "raw DDP",
}
"""what each way is compared with"""
OPTIONAL = {
    "accelerate": "accelerate",
    "Lightning": "lightning",
    "DeepSpeed": "deepspeed",
}
"""ways that need a package, and its name; Lightning by its Fabric, DeepSpeed by ZeRO stage 1 (it
first compiles a small extension: minutes, and a C++ compiler)"""
_OURS = tuple(way for way in BASES if way not in OPTIONAL)
LIMITS = {"ours alone": 1.02, "ours over DDP": 1.03}
"""the most time that our loops may take, as a multiple of their base's"""


@dataclass(frozen=True)
class FrameworksConfig:
    """What every rank is told: the character GPT, one thread a rank."""

    world_size: int = 2
    batch_size: int = 32
    """windows of text in a step, over all ranks; a way that runs alone takes one rank's share"""
    blocks: int = 15
    """turns that each way takes; one more before them warms up"""
    block_steps: int = 4
    """optimizer steps of a turn"""
    context: int = 64
    layers: int = 4
    heads: int = 4
    width: int = 128
    ways: tuple[str, ...] = _OURS
    """keys of `BASES`; their bases are run too"""
    seed: int = 0
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        for name in ("batch_size", "blocks", "block_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", hint=f"give {name} of at least 1")
        if self.world_size < 2 or self.batch_size % self.world_size:
            raise ConfigError(
                f"a batch of {self.batch_size} windows cannot be shared equally by {self.world_size} ranks",
                hint="give 2 ranks or more and a multiple of them: plain DDP averages the ranks' means",
            )
        for way in self.ways:
            if way not in BASES:
                raise ConfigError(f"there is no way {way!r}", hint=did_you_mean(way, BASES))


@dataclass(frozen=True)
class Overhead:
    """One way beside the one it is built on."""

    way: str
    base: str
    ratio: PairedRatio
    """how many times longer a step takes, turn by turn on rank 0"""
    difference: float
    """relative distance of its weights from the base's, after the same steps (float rounding)"""
    verdict: Verdict | None
    """of its limit, where it has one"""


@dataclass(frozen=True)
class FrameworksReport:
    """What the ranks found."""

    world_sizes: dict[str, int]
    """ranks that each way says it ran on: a launcher may start one process and say nothing"""
    overheads: tuple[Overhead, ...]
    seconds: float
    """wall time of everything, start of the processes included"""


def compare_frameworks(
    config: FrameworksConfig, *, on_poll: Callable[[], None] | None = None
) -> FrameworksReport:
    """Take the same steps in every way, interleaved, on ranks under torchrun.

    Raises:
        MissingDependency: a framework is asked for and not installed.
        RunFailed: a way ran on another number of ranks than it was given.
    """
    for way in config.ways:
        if way in OPTIONAL and not is_installed(OPTIONAL[way]):
            raise MissingDependency(f"{way} is not installed", hint=how_to_get(way))
    report = run_ranks(
        "scalelab.train.frameworks.rank:measure",
        asdict(config),
        world_size=config.world_size,
        timeout_s=config.timeout_s,
        on_poll=on_poll,
    )
    found = report.results[0]
    check_world_sizes(found["world_sizes"], config.world_size)
    overheads = []
    for way in config.ways:
        base = BASES[way]
        ratio = paired_ratio(found["seconds"][way], found["seconds"][base], seed=config.seed)
        limit = LIMITS.get(way)
        verdict = judge(ratio.ratio, at_most=limit) if limit else None
        overheads.append(Overhead(way, base, ratio, found["differences"][way], verdict))
    return FrameworksReport(found["world_sizes"], tuple(overheads), report.seconds)


def installed_ways() -> tuple[str, ...]:
    """Return the optional ways that could run here."""
    return tuple(way for way, package in OPTIONAL.items() if is_installed(package))


def how_to_get(way: str) -> str:
    """Return the command that brings an optional way's package."""
    if way == "DeepSpeed":  # it is built on the spot and asks the torch that is there
        return "DS_BUILD_OPS=0 pip install deepspeed --no-build-isolation"
    return how_to_install(["frameworks"])


def check_world_sizes(found: dict[str, int], wanted: int) -> None:
    """Make sure that each way ran on all ranks, or on one if it is meant to run alone.

    Raises:
        RunFailed: one did not; its times would look good.
    """
    for way, size in found.items():
        alone = way in ("bare torch", "ours alone")
        if size != (1 if alone else wanted):
            raise RunFailed(
                f"{way} ran on {size} rank(s), asked for {wanted}",
                hint="start it by torchrun (`accelerate launch --cpu` may start a single process)",
            )
