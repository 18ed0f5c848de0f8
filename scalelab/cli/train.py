"""``scalelab train``: train the reader; its subcommands measure ways to train."""

from __future__ import annotations

from pathlib import Path

import click

from scalelab.cli.train_ranks import ddp, link, overhead, peak, real_link


@click.group(invoke_without_command=True)
@click.option("--steps", type=int, help="Optimizer steps.  [default: the recipe's 500]")
@click.option("--batch-size", default=128, show_default=True, help="Images of a step.")
@click.option("--width", default=2048, show_default=True, help="Units of each dense layer.")
@click.option("--seed", default=0, show_default=True, help="Seed of weights and images.")
@click.option("--test-pins", default=2000, show_default=True, help="Images of the test split at the end.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Model file to write.  [default: runs/reader.safetensors]",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.pass_context
def train(
    ctx: click.Context,
    steps: int | None,
    batch_size: int,
    width: int,
    seed: int,
    test_pins: int,
    out: Path | None,
    force: bool,
) -> None:
    """Train the PIN reader and test it; a minute on two cores."""
    if ctx.invoked_subcommand is not None:
        return
    from scalelab.core.errors import ConfigError
    from scalelab.core.machine import check_room
    from scalelab.core.paths import make_folder, runs_folder
    from scalelab.core.units import GIB, MIB, format_bytes, format_percent, format_seconds

    path = out or runs_folder() / "reader.safetensors"
    if path.exists() and not force:
        raise ConfigError(f"{path} exists", hint="give --force to replace it, or another --out")
    check_room(path.parent, disk_bytes=200 * MIB, memory_bytes=GIB)
    make_folder(path.parent)

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from scalelab.data import compose_pins
    from scalelab.models import accuracy, save_reader
    from scalelab.train import TrainConfig, predict, train_reader

    recipe = {"batch_size": batch_size, "width": width, "seed": seed}
    config = TrainConfig(**recipe, **({} if steps is None else {"steps": steps}))
    test = compose_pins(test_pins, "test", seed=1)  # first: a wrong number should not cost a training
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("training", total=config.steps, loss=float("nan"))
        model, report = train_reader(
            config, lambda step, _, loss: progress.update(task, completed=step, loss=loss)
        )
    save_reader(model, path)
    score = accuracy(predict(model, test.images), test.labels)
    click.echo(
        f"trained {report.steps} steps in {format_seconds(report.seconds)} "
        f"({format_seconds(report.cpu_s)} of processor time), "
        f"peak memory {format_bytes(report.peak_memory_bytes)}"
    )
    click.echo(
        f"test split: {format_percent(score.digit)} of digits, "
        f"{format_percent(score.pin)} of {score.n_pins:,} PIN codes"
    )
    click.echo(f"{path}: {format_bytes(path.stat().st_size)}")


@train.command()
@click.option("--batch-size", default=250, show_default=True, help="Images of one optimizer step.")
@click.option("--width", default=2048, show_default=True, help="Units of each dense layer.")
@click.option("--seed", default=0, show_default=True, help="Seed of weights and images.")
def accumulation(batch_size: int, width: int, seed: int) -> None:
    """Compare a batch with its micro-batches: memory and time."""
    from scalelab.core.units import format_bytes, format_seconds
    from scalelab.train import measure_accumulation

    report = measure_accumulation(batch_size, width, seed)
    click.echo("micro-batch  gradient error  (float32)  activations       time")
    for row in report.rows:
        click.echo(
            f"{row.micro_batch:>11}  {row.relative_error:>14.1e}  {row.float32_error:>9.1e}"
            f"  {format_bytes(row.saved_bytes):>11}  {format_seconds(row.seconds):>9}"
        )
    click.echo(f"32 + 32 + 6 divided by the number of steps: gradient {report.error_of_step_mean:.0%} off")
    click.echo(f"32 + 32 + 6 with live batch norm: gradient {report.error_of_batch_statistics:.0%} off")


for command in (ddp, overhead, link, real_link, peak):
    train.add_command(command)
