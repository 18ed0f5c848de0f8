"""Subcommands of ``scalelab train`` that start ranks; `scalelab.cli.train` gathers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from scalelab.core.stats import PairedRatio

recorded = click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Add what came out, with machine and versions, to this file of JSON lines.",
)


@click.command()
@click.option("--processes", default=2, show_default=True, help="Ranks over all machines, one thread each.")
@click.option(
    "--model",
    type=click.Choice(["reader", "gpt", "mlp"]),
    default="reader",
    show_default=True,
    help="What they train: the PIN reader, the character GPT, or dense layers with many bytes a step.",
)
@click.option("--batch-size", default=64, show_default=True, help="Samples of one step, over all ranks.")
@click.option("--steps", default=12, show_default=True, help="Measured steps of each way.")
@click.option("--width", type=int, help="Of the model's layers.  [default: reader 2048, gpt 128, mlp 1024]")
@click.option("--seed", default=0, show_default=True, help="Seed of weights and samples.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="cuda: a GPU for each rank, NCCL; auto: that, if this machine has enough of them, else the CPU.",
)
@click.option("--machines", default=1, show_default=True, help="Give the same command on each of them.")
@click.option("--machine", "number", default=0, show_default=True, help="Number of this one, from 0.")
@click.option("--rendezvous", default="", help="Where they meet: machine 0's HOST:PORT.")
@recorded
def ddp(
    processes: int,
    model: str,
    batch_size: int,
    steps: int,
    width: int | None,
    seed: int,
    device: str,
    machines: int,
    number: int,
    rendezvous: str,
    record: Path | None,
) -> None:
    """Train on several processes and, in turn, on one.

    On several machines, give each the same command with its own --machine:

    \b
      machine 0$ scalelab train ddp --processes 4 --machines 2 --machine 0 --rendezvous 10.0.0.1:29500
      machine 1$ scalelab train ddp --processes 4 --machines 2 --machine 1 --rendezvous 10.0.0.1:29500

    Where a machine has several networks, GLOO_SOCKET_IFNAME (for GPUs NCCL_SOCKET_IFNAME) names the one to
    use.
    """
    from rich.console import Console

    from scalelab.core.errors import ConfigError
    from scalelab.core.units import format_bytes, format_rate
    from scalelab.train import DdpConfig, run_ddp
    from scalelab.train.placement import Machines

    if machines == 1 and (number or rendezvous):
        raise ConfigError("--machine and --rendezvous are for several machines", hint="give --machines too")
    config = DdpConfig(processes, batch_size, steps, width, seed, model=model)
    several = None if machines == 1 else Machines(machines, number, rendezvous)
    with Console(stderr=True).status(f"{processes} processes train"):
        report = run_ddp(config, device=device, machines=several)
    if report is None:
        click.echo(f"machine {number} of {machines} is done; machine 0 shows the numbers")
        return
    for row in report.rows:
        click.echo(
            f"{row.name:<30} {format_rate(row.images_per_s):>9} samples   "
            f"{format_bytes(row.bytes_per_step):>9} exchanged a step"
        )
    click.echo(f"DDP: {_shown(report.speedup)} as fast as one process")
    click.echo(
        f"with an exchange every {config.accumulate} batches: {_shown(report.speedup_no_sync)} as fast"
    )
    same = "the same" if report.same_parameters else "DIFFERENT"
    click.echo(
        f"{report.world_size} ranks on {report.device} end with {same} parameters; "
        f"gradient {report.gradient_error:.0e} off"
    )
    click.echo(f"bytes a step: {report.bytes_per_step:,}, parameters x 4: {report.expected_bytes_per_step:,}")
    ratios = {"ddp_speedup": report.speedup, "no_sync_speedup": report.speedup_no_sync}
    _keep(record, "train/ddp", config, ratios, {"exchanged": ("B", report.bytes_per_step)})


@click.command()
@click.option("--processes", default=2, show_default=True, help="Ranks, one thread each.")
@click.option(
    "--batch-size", default=32, show_default=True, help="Windows of text in a step, over all ranks."
)
@click.option("--blocks", default=15, show_default=True, help="Turns of four steps that each way takes.")
@click.option(
    "--frameworks",
    is_flag=True,
    help="Also by accelerate, Lightning and DeepSpeed: those that are installed.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of weights and text.")
@recorded
def overhead(
    processes: int, batch_size: int, blocks: int, frameworks: bool, seed: int, record: Path | None
) -> None:
    """Compare our loops with bare torch and raw DDP."""
    from rich.console import Console

    from scalelab.train.frameworks import OPTIONAL, FrameworksConfig, compare_frameworks, installed_ways
    from scalelab.train.frameworks.compare import how_to_get

    more = installed_ways() if frameworks else ()
    config = FrameworksConfig(processes, batch_size, blocks, seed=seed)
    config = replace(config, ways=(*config.ways, *more))
    with Console(stderr=True).status(f"{processes} processes train"):
        report = compare_frameworks(config)
    for one in report.overheads:
        verdict = f"  {one.verdict.value}" if one.verdict else ""
        click.echo(
            f"{one.way:<14} takes {_shown(one.ratio)} as long as {one.base}, "
            f"weights {one.difference:.0e} apart{verdict}"
        )
    for way in OPTIONAL:
        if frameworks and way not in more:
            click.echo(f"{way:<14} is not installed, so not compared: {how_to_get(way)}")
    _keep(record, "train/overhead", config, {f"{one.way}, time": one.ratio for one in report.overheads})


@click.command()
@click.option("--processes", default=2, show_default=True, help="Ranks, one thread each.")
@click.option("--latency-ms", default=0.5, show_default=True, help="Of each message over the injected link.")
@click.option("--mbit-per-s", default=1000.0, show_default=True, help="Bandwidth of the injected link.")
@click.option(
    "--batch-size", default=8, show_default=True, help="Windows of text in a batch, over all ranks."
)
@click.option("--width", default=256, show_default=True, help="Of the character GPT.")
@click.option("--turns", default=9, show_default=True, help="Turns of eight batches that each way takes.")
@click.option("--seed", default=0, show_default=True, help="Seed of weights and text.")
def link(
    processes: int, latency_ms: float, mbit_per_s: float, batch_size: int, width: int, turns: int, seed: int
) -> None:
    """Compare ways to exchange gradients over an injected slow link."""
    from rich.console import Console

    from scalelab.core.units import format_bytes, format_percent, format_seconds
    from scalelab.train.data_parallel.link_report import BASE, LinkConfig, compare_over_link

    config = LinkConfig(
        processes, latency_ms / 1e3, mbit_per_s * 1e6 / 8, batch_size, turns=turns, width=width, seed=seed
    )
    with Console(stderr=True).status(f"{processes} processes train"):
        report = compare_over_link(config)
    click.echo(report.label)
    for row in report.rows:
        click.echo(
            f"{row.way:<20} {format_seconds(row.seconds):>9} a batch, "
            f"{format_bytes(row.bytes_per_batch):>9}, {row.speedup.ratio} times as fast as {BASE!r}"
        )
    click.echo(
        f"{format_percent(report.late_share)} of messages were held up by this machine, not by the link"
    )


@click.command("real-link")
@click.option("--mbit-per-s", default=1000.0, show_default=True, help="What `tc` lets through each way.")
@click.option("--batch-size", default=32, show_default=True, help="Images of one batch, over both ranks.")
@click.option("--accumulate", default=8, show_default=True, help="Batches of one optimizer step.")
@click.option("--turns", default=9, show_default=True, help="Optimizer steps that each way takes.")
@click.option("--width", type=int, help="Of the dense layers.  [default: 1024]")
@click.option("--seed", default=0, show_default=True, help="Seed of weights and images.")
@recorded
def real_link(
    mbit_per_s: float,
    batch_size: int,
    accumulate: int,
    turns: int,
    width: int | None,
    seed: int,
    record: Path | None,
) -> None:
    """Accumulate over a real slow cable, with `no_sync` and without.

    Two network namespaces of Linux stand for two machines; the cable between them (a veth pair) is slowed
    down by `tc`. Needs iproute2 and either root or user namespaces. Elsewhere: scalelab train link, which
    injects a link instead.
    """
    from rich.console import Console

    from scalelab.core.units import format_bytes, format_seconds
    from scalelab.train.data_parallel.real_link import RealLinkConfig, compare_over_real_link

    config = RealLinkConfig(mbit_per_s * 1e6 / 8, batch_size, accumulate, turns, width, seed=seed)
    with Console(stderr=True).status("two machines train"):
        report = compare_over_real_link(config)
    click.echo(report.label)
    for row in report.rows:
        click.echo(
            f"{row.way:<18} {format_seconds(row.seconds):>9} a batch, "
            f"{format_bytes(row.handed_bytes):>9} handed over, {format_bytes(row.wire_bytes):>9} on the cable"
        )
    click.echo(
        f"{report.rows[-1].way}: {_shown(report.speedup)} as fast, at {report.handed_share:.6g} of the bytes "
        f"({report.wire_share:.4f} by the cable's own counter); weights {report.difference:.0e} apart"
    )
    click.echo(f"an all-reduce alone sees {report.cable_bytes_per_s * 8 / 1e6:.0f} Mbit/s")
    numbers = {
        "handed_share": ("1", report.handed_share),
        "wire_share": ("1", report.wire_share),
        "cable": ("B/s", report.cable_bytes_per_s),
    }
    _keep(record, "train/real-link", config, {"no_sync_speedup": report.speedup}, numbers)


@click.command()
@click.option("--processes", default=2, show_default=True, help="Ranks, one thread each.")
@click.option("--width", default=512, show_default=True, help="Of the character GPT.")
@click.option("--layers", default=6, show_default=True, help="Of the character GPT.")
@click.option("--seed", default=0, show_default=True, help="Seed of weights and text.")
@recorded
def peak(processes: int, width: int, layers: int, seed: int, record: Path | None) -> None:
    """Compare the memory that DDP and FSDP2 need at most."""
    from rich.console import Console

    from scalelab.core.units import format_bytes
    from scalelab.train.parallel.peak import PeakConfig, compare_peaks

    config = PeakConfig(processes, width, layers, batch_size=4 * processes, seed=seed)
    with Console(stderr=True).status(f"{processes} processes train"):
        report = compare_peaks(config)
    for row in report.rows:
        click.echo(
            f"{row.way:<18} state {format_bytes(row.state_bytes):>9} a rank, "
            f"peak {format_bytes(row.peak_bytes):>9} above {format_bytes(row.before_bytes)} of imports"
        )
    click.echo(
        f"FSDP2 holds {report.state_share:.4f} of DDP's state, and {report.peak_share:.3f} of its peak"
    )
    numbers = {f"{row.way}, peak": ("B", row.peak_bytes) for row in report.rows}
    numbers |= {f"{row.way}, state": ("B", row.state_bytes) for row in report.rows}
    _keep(record, "train/peak", config, {}, numbers)


def _shown(ratio: PairedRatio) -> str:
    noise = "" if ratio.is_quiet else f"; noisy: the fastest turns alone say {ratio.ratio_of_minimums:.3g}"
    return f"{ratio.ratio} times (n={ratio.ratio.n}{noise})"


def _keep(
    path: Path | None,
    subject: str,
    config: Any,
    ratios: Mapping[str, PairedRatio],
    numbers: Mapping[str, tuple[str, float]] | None = None,
) -> None:
    """Append a record: of a ratio each pair's value, of a number its unit and value."""
    if path is None:
        return
    from scalelab.core.records import RecordStore, RunRecord, metric

    pairs = {name: [a / b for a, b in zip(one.a_s, one.b_s, strict=True)] for name, one in ratios.items()}
    metrics = [metric(name, "1", values) for name, values in pairs.items()]
    metrics += [metric(name, unit, value) for name, (unit, value) in (numbers or {}).items()]
    notes = {
        "ratios": {name: _shown(one) for name, one in ratios.items()},
        "quiet": all(one.is_quiet for one in ratios.values()),
    }
    RecordStore(path).append(RunRecord(subject, asdict(config), tuple(metrics), notes, config.seed))
    click.echo(f"record: {path}")
