"""``scalelab load``: put load on a running service, and say what it bore."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalelab.core.errors import ConfigError, RunFailed

if TYPE_CHECKING:
    from rich.table import Table

    from scalelab.loadtest import BurstResult, Knee, LatencyHistogram, LoadResult, Target

OBJECTIVE_MISSED = 5
IMAGE_TYPES = {".png": "image/png", ".json": "application/json"}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def load() -> None:
    """Put load on a running service and measure what it bears.

    \b
    scalelab load run --rate 200 --duration 10
    scalelab load burst --rate 500 --url http://127.0.0.1:8000 --body image.png

    Without --url the stack of `scalelab serve up` is the target, and images of PIN codes are sent.
    Latencies of an arrival rate count from the intended send time; requests that were never answered count
    as infinitely late.

    Exit codes: 0 measured, 2 a wrong option, 4 the run failed (nothing listens there, say),
    5 measured, and the objective was missed.
    """


def _target_options(default_path: str) -> Callable[[Any], Any]:
    """Add the options that say what is called."""
    options = [
        click.option("--url", help="Scheme, host and port of the service.  [default: the running stack]"),
        click.option("--path", default=default_path, show_default=True, help="Path and query."),
        click.option("--body", "body_files", multiple=True, metavar="FILE",
                     type=click.Path(exists=True, dir_okay=False, path_type=Path),
                     help="File to send; may be repeated, files rotate.  [default: 64 test images]"),
        click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="Header to send."),
        click.option("--method", default="", help="HTTP method; GET sends no body.  [default: POST]"),
        click.option("--seed", default=0, show_default=True, help="Draws the arrivals."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    ]  # fmt: skip

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@load.command()
@_target_options("/v1/pins?wait_s=5")
@click.option("--rate", type=float, help="Requests per second, sent on schedule (open loop).")
@click.option("--users", type=int, help="Users who wait for each answer (closed loop).  [default: 16]")
@click.option("--duration", "duration_s", default=10.0, show_default=True, help="Measured time [s].")
@click.option("--warmup", "warmup_s", default=1.0, show_default=True, help="Time before, not measured [s].")
@click.option("--timeout", "timeout_s", default=10.0, show_default=True, help="Limit on one request [s].")
@click.option("--arrivals", default="poisson", show_default=True, help="poisson or constant.")
@click.option("--slo-p95-ms", type=float, help="Exit with 5 unless p95 is below this, errors <= 1 %.")
def run(
    url: str | None, path: str, body_files: tuple[Path, ...], headers: tuple[str, ...], method: str,
    seed: int, as_json: bool, rate: float | None, users: int | None, duration_s: float, warmup_s: float,
    timeout_s: float, arrivals: str, slo_p95_ms: float | None,
) -> None:  # fmt: skip
    """Measure at a fixed --rate (open loop) or with --users (closed).

    \b
    scalelab load run --rate 200 --duration 10
    scalelab load run --users 16 --url http://127.0.0.1:8000 --body image.png
    """
    from scalelab.loadtest import run_closed, run_open

    if rate is not None and users is not None:
        raise ConfigError(
            f"--rate {rate:g} and --users {users} are two kinds of load", hint="give one of them"
        )
    target = _target(url, path, body_files, headers, method)
    with _progress("measuring", warmup_s + duration_s) as on_progress:
        if rate is not None:
            result = run_open(
                target, rate, duration_s, warmup_s,
                arrivals=arrivals, timeout_s=timeout_s, seed=seed, on_progress=on_progress,
            )  # fmt: skip
        else:
            count = 16 if users is None else users
            result = run_closed(
                target, count, duration_s, warmup_s, timeout_s=timeout_s, on_progress=on_progress
            )
    _show(as_json, result.to_json(), lambda: _load_table(result))
    _warn(result.warnings())
    if slo_p95_ms is not None:
        p95_s = result.p95_s
        if p95_s is None or p95_s * 1e3 >= slo_p95_ms or result.error_share > 0.01:
            click.echo(f"objective missed: p95 < {slo_p95_ms:g} ms with at most 1 % errors", err=True)
            raise SystemExit(OBJECTIVE_MISSED)


@load.command()
@_target_options("/v1/pins?wait_s=5")
@click.option("--slo-p95-ms", default=200.0, show_default=True, help="p95 must stay below this.")
@click.option("--max-errors", default=0.01, show_default=True, help="Share of requests that may fail.")
@click.option("--budget", "budget_s", default=60.0, show_default=True, help="Time for the search [s].")
@click.option("--window", "window_s", default=3.0, show_default=True, help="Measured time per rate [s].")
@click.option("--at-least", type=float, help="Exit with 5 unless the knee is at least this rate.")
def knee(
    url: str | None, path: str, body_files: tuple[Path, ...], headers: tuple[str, ...], method: str,
    seed: int, as_json: bool, slo_p95_ms: float, max_errors: float, budget_s: float, window_s: float,
    at_least: float | None,
) -> None:  # fmt: skip
    """Find the highest arrival rate that keeps p95 below the objective.

    \b
    scalelab load knee --slo-p95-ms 200 --budget 60
    """
    import time

    from scalelab.loadtest import find_knee

    target = _target(url, path, body_files, headers, method)
    started = time.monotonic()
    with _progress("searching", budget_s) as on_progress:
        found = find_knee(
            target, slo_p95_ms / 1e3, max_error_share=max_errors, budget_s=budget_s, window_s=window_s,
            seed=seed, on_point=lambda _: on_progress(min(1.0, (time.monotonic() - started) / budget_s)),
        )  # fmt: skip
    _show(as_json, found.to_json(), lambda: _knee_table(found))
    if not as_json:
        click.echo(_knee_sentence(found))
    if found.rate_per_s == 0 or (at_least is not None and found.rate_per_s < at_least):
        raise SystemExit(OBJECTIVE_MISSED)


@load.command()
@_target_options("/v1/pins")
@click.option("--rate", type=float, required=True, help="Requests per second.")
@click.option("--duration", "duration_s", default=5.0, show_default=True, help="Length of the burst [s].")
@click.option("--accept-timeout", "accept_timeout_s", default=5.0, show_default=True,
              help="A request without 200 or 202 after this has failed [s].")  # fmt: skip
@click.option("--collect-timeout", "collect_timeout_s", default=30.0, show_default=True,
              help="An accepted request without an answer so long after the burst is lost [s].")  # fmt: skip
def burst(
    url: str | None, path: str, body_files: tuple[Path, ...], headers: tuple[str, ...], method: str,
    seed: int, as_json: bool, rate: float, duration_s: float, accept_timeout_s: float,
    collect_timeout_s: float,
) -> None:  # fmt: skip
    """Send a burst and follow every request to its answer.

    Exits with 5 if one that was accepted was lost.

    \b
    scalelab load burst --rate 500 --duration 5
    """
    from scalelab.loadtest import run_burst

    target = _target(url, path, body_files, headers, method)
    with _progress("burst, then collecting", duration_s) as on_progress:
        result = run_burst(
            target, rate, duration_s, accept_timeout_s, collect_timeout_s, seed=seed, on_progress=on_progress
        )
    _show(as_json, result.to_json(), lambda: _burst_table(result))
    if result.lost:
        raise SystemExit(OBJECTIVE_MISSED)


def _target(
    url: str | None, path: str, body_files: tuple[Path, ...], headers: tuple[str, ...], method: str
) -> Target:
    from scalelab.loadtest import Target

    if url is None:
        from scalelab.serve.stack import default_folder
        from scalelab.serve.state import running

        state = running(default_folder())
        if state is None:  # a state file alone may be that of a killed stack
            raise RunFailed(
                f"no stack runs in {default_folder()}",
                hint="start one: scalelab serve up --detach; or name another: --url http://127.0.0.1:8000",
            )
        url = state.url
    named = dict(_split_header(text) for text in headers)
    if method.upper() in ("GET", "HEAD"):
        return Target(url, path, (), named, method)
    kind = "application/octet-stream"
    if body_files:
        bodies = [file.read_bytes() for file in body_files]
        kind = IMAGE_TYPES.get(body_files[0].suffix.lower(), kind)
    else:
        from scalelab.data import compose_pins

        bodies = [image.tobytes() for image in compose_pins(64, "test").images]
    if not any(name.lower() == "content-type" for name in named):
        named["Content-Type"] = kind
    return Target(url, path, tuple(bodies), named, method)


def _split_header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ConfigError(f"--header {text!r} is no header", hint='write it as "Name: value"')
    return name.strip(), value.strip()


@contextmanager
def _progress(what: str, seconds: float) -> Iterator[Callable[[float], None]]:
    """Show a bar on stderr for what takes over two seconds; yields the function that moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn(f"of {seconds:g} s"),
    )
    console = Console(stderr=True)
    is_hidden = seconds < 2 or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=is_hidden) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _show(as_json: bool, values: dict[str, Any], table: Callable[[], Table]) -> None:
    if as_json:
        click.echo(json.dumps(values, indent=1))
        return
    from rich.console import Console

    Console().print(table())


def _warn(sentences: list[str]) -> None:
    for sentence in sentences:
        click.secho(f"warning: {sentence}", fg="yellow", err=True)


def _load_table(result: LoadResult) -> Table:
    from scalelab.core.units import format_percent, format_rate

    load_was = (
        f"{result.users} users" if result.users else f"{format_rate(result.offered_rate_per_s or 0)} offered"
    )
    table = _two_columns(f"{load_was}, {result.duration_s:g} s")
    table.add_row("throughput", format_rate(result.throughput_per_s))
    _add_latencies(table, "latency", result.latency)
    table.add_row("sent", f"{result.sent:,} requests")
    table.add_row("answered", f"{result.ok:,}")
    table.add_row("refused (429)", f"{result.rejected:,}")
    for kind, count in sorted(result.errors.items()):
        table.add_row(f"error: {kind}", f"{count:,} ({format_percent(count / result.sent)})")
    if result.mode == "open":
        lag_s = result.lag_p95_s
        table.add_row("sent late by, p95", "too few requests" if lag_s is None else f"{1e3 * lag_s:.1f} ms")
    table.add_row("generator's CPU", f"{100 * result.generator_cpu_share:.0f} % of a core")
    return table


def _burst_table(result: BurstResult) -> Table:
    from scalelab.core.units import format_percent, format_rate

    table = _two_columns(f"burst of {format_rate(result.offered_rate_per_s)} for {result.duration_s:g} s")
    for name in ("offered", "accepted", "refused", "failed", "answered", "answered_with_error", "lost"):
        count = getattr(result, name)
        share = f" ({format_percent(count / result.offered)})" if result.offered else ""
        table.add_row(name.replace("_", " "), f"{count:,}{share}")
    for kind, count in sorted(result.failures.items()):
        table.add_row(f"failed: {kind}", f"{count:,}")
    _add_latencies(table, "time to answer", result.latency)
    return table


def _knee_table(found: Knee) -> Table:
    from rich.table import Table

    from scalelab.core.units import format_percent

    table = Table(title=f"p95 < {1e3 * found.slo_p95_s:g} ms, errors <= {100 * found.max_error_share:g} %")
    for name in ("rate, 1/s", "p50, ms", "p95, ms", "p99, ms", "n", "errors", "verdict", "phase"):
        table.add_column(name, justify="left" if name in ("verdict", "phase") else "right")
    for point in found.curve():
        values = [_milliseconds(point.result.latency, percent) for percent in (50, 95, 99)]
        n, errors = f"{point.result.latency.n:,}", format_percent(point.result.error_share, 1)
        table.add_row(f"{point.rate_per_s:.1f}", *values, n, errors, point.verdict.value, point.phase)
    return table


def _knee_sentence(found: Knee) -> str:
    if found.rate_per_s == 0:
        return "no rate kept the objective"
    bound = "at least " if found.is_lower_bound else ""
    why = "; the load generator was the bottleneck above it" if found.generator_limited else ""
    sure = "" if found.is_confirmed else " (not confirmed by a longer window)"
    return f"knee: {bound}{found.rate_per_s:,.1f} requests/s{sure}{why}"


def _two_columns(title: str) -> Table:
    from rich.table import Table

    table = Table(title=title, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    return table


def _add_latencies(table: Table, what: str, latency: LatencyHistogram) -> None:
    for percent in (50, 95, 99):
        table.add_row(f"{what} p{percent}, ms (n = {latency.n:,})", _milliseconds(latency, percent))


def _milliseconds(latency: LatencyHistogram, percent: float) -> str:
    value = latency.percentile_or_none(percent)
    return "n too small" if value is None else "never" if value == float("inf") else f"{1e3 * value:,.1f}"
