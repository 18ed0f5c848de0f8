"""``scalelab load judge``: MLPerf LoadGen beside our own numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scalelab.cli.load_options import leave, make_target, progress, save, show, target_options
from scalelab.core.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from scalelab.core.records import RunRecord
    from scalelab.loadtest.judge import Agreement
    from scalelab.loadtest.loadgen import Plan

LOAD = 0.5
SCENARIOS = ("single_stream", "server", "offline")


@click.command()
@target_options("/v1/pins?wait_s=5")
@click.option("--model", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Judge this ONNX file in ONNX Runtime, in process, instead of a service.")  # fmt: skip
@click.option("--threads", default=1, show_default=True, help="Of the model.")
@click.option("--batch", default=16, show_default=True, help="Samples of a call in offline; of the model.")
@click.option("--connections", default=16, show_default=True, help="Requests on the wire at once.")
@click.option("--scenario", "scenarios", multiple=True, type=click.Choice(SCENARIOS),
              help="May be repeated.  [default: all three]")  # fmt: skip
@click.option("--rate", type=float, help="Arrivals per second in server.  [default: half of what it bears]")
@click.option("--bound-p99-ms", default=200.0, show_default=True, help="LoadGen's bound on p99 in server.")
@click.option("--duration", "duration_s", default=6.0, show_default=True, help="Of each run [s].")
@click.option("--rounds", default=10, show_default=True, help="Runs of each side, in turn.")
@click.option("--timeout", "timeout_s", default=10.0, show_default=True, help="Limit on one request [s].")
@click.option("--within", default=0.1, show_default=True, type=click.FloatRange(0, 1, min_open=True),
              help="Largest difference that counts as agreement, as a share.")  # fmt: skip
def judge(
    url: str | None, path: str, body_files: tuple[Path, ...], headers: tuple[str, ...], method: str,
    insecure: bool, seed: int, record_file: Path | None, as_json: bool, model: Path | None, threads: int,
    batch: int, connections: int, scenarios: tuple[str, ...], rate: float | None, bound_p99_ms: float,
    duration_s: float, rounds: int, timeout_s: float, within: float,
) -> None:  # fmt: skip
    """Let MLPerf LoadGen measure the same, beside us.

    LoadGen and our own instruments measure in turn (A B, B A, ...): single_stream (one after another, p90),
    server (Poisson arrivals, the same for both, p99) and offline (all at once, samples a second). They agree
    if the whole 95 % interval of the ratio is within --within. LoadGen's own verdict on its runs stands
    beside it, with its reasons; a submission to MLPerf needs runs of 600 s.

    \b
    scalelab load judge --model reader.onnx
    scalelab load judge --url http://127.0.0.1:8000 --scenario server --rate 200

    Exit codes: 0 they agree, 5 they differ by more, 6 could not tell.
    """
    from scalelab.loadtest.judge import find_rates, valid_sentence
    from scalelab.loadtest.judge import judge as judge_one
    from scalelab.loadtest.loadgen import ModelPlan, ServicePlan, need_loadgen

    need_loadgen()
    plan: Plan
    if model is not None:
        if url is not None:
            raise ConfigError(f"--model {model} and --url {url} are two things", hint="judge one at a time")
        plan = ModelPlan(model, threads, batch)
    else:
        plan = ServicePlan(
            make_target(url, path, body_files, headers, method, insecure), connections, timeout_s
        )
        plan.target.check_answer(timeout_s)
    chosen = scenarios or SCENARIOS
    rates = find_rates(plan, LOAD) | ({} if rate is None else {"server": rate})
    steps, found = 2 * rounds * len(chosen), []
    with progress("in turn", steps * (duration_s + 2)) as on_progress:
        for number, scenario in enumerate(chosen):
            found.append(
                judge_one(
                    scenario, plan, rate_per_s=rates[scenario],
                    bound_p99_s=bound_p99_ms / 1e3, duration_s=duration_s, rounds=rounds, seed=seed,
                    on_round=lambda done, before=2 * rounds * number: on_progress((before + done) / steps),
                )
            )  # fmt: skip
    values = {one.scenario: one.to_json() | {"verdict": one.verdict(within).value} for one in found}
    show(as_json, values, lambda: _table(found, within))
    for one in found:
        click.echo(f"LoadGen says of its {one.scenario} runs: {valid_sentence(one)}", err=True)
    given = {"model": model and str(model), "url": url, "rate_per_s": rate, "duration_s": duration_s}
    save(record_file, lambda: _record(found, {**given, "within": within}, within, seed))
    verdicts = [one.verdict(within).value for one in found]
    worst = next((v for v in ("FAIL", "INCONCLUSIVE") if v in verdicts), "PASS")
    grounds = "".join(f"\n  {one.scenario}: {one.why(within)}" for one in found)
    leave(worst, f"LoadGen and we agree within {100 * within:g} %{grounds}")


def _table(found: list[Agreement], within: float) -> Table:
    from rich.table import Table

    from scalelab.loadtest.judge import HEADER, cells

    table = Table(title="MLPerf LoadGen beside our own numbers, measured in turn")
    for name in HEADER:
        table.add_column(name, justify="right" if name in HEADER[2:6] else "left", no_wrap=name == "agree")
    for one in found:
        table.add_row(*cells(one, within))
    return table


def _record(found: list[Agreement], given: dict[str, object], within: float, seed: int) -> RunRecord:
    from scalelab.core.records import RunRecord

    notes = {one.scenario: one.to_json() | {"verdict": one.verdict(within).value} for one in found}
    metrics = tuple(metric for one in found for metric in one.metrics())
    return RunRecord("load/judge", given, metrics, notes, seed)
