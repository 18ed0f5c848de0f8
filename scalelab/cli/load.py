"""``scalelab load``: put load on a running service, and say what it bore."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalelab.cli.load_compare import compare
from scalelab.cli.load_judge import judge
from scalelab.cli.load_options import (
    OBJECTIVE_MISSED,
    leave,
    make_target,
    processes_option,
    progress,
    save,
    show,
    target_options,
    warn,
)
from scalelab.core.errors import ConfigError

if TYPE_CHECKING:
    from scalelab.loadtest import LoadResult, Profile, Target

SECONDS = 10.0
MOST_USERS = 256


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def load() -> None:
    """Put load on a running service and measure what it bears.

    \b
    scalelab load run --rate 200 --duration 10
    scalelab load run --arrivals step:100..500/5x10s --slo-p95-ms 200
    scalelab load knee --slo-p95-ms 200
    scalelab load compare http://127.0.0.1:8000 http://127.0.0.1:8001 --rate 200
    scalelab load judge --model reader.onnx

    Without --url the stack of `scalelab serve up` is the target, and images of PIN codes are sent.
    Latencies of an arrival rate count from the intended send time; requests that were never answered count
    as infinitely late.

    Exit codes: 0 measured, 2 a wrong option, 4 the run failed (nothing listens there, say),
    5 measured, and the objective was missed, 6 measured, and too close or too noisy to tell.
    """


@load.command()
@target_options("/v1/pins?wait_s=5")
@click.option("--rate", type=float, help="Requests per second, sent on schedule (open loop).")
@click.option("--users", type=int, help="Users who wait for each answer (closed loop).  [default: 16]")
@click.option("--arrivals", default="poisson", show_default=True, help="Shape of the load, see above.")
@click.option("--duration", "duration_s", type=float, help="Measured time [s].  [default: 10]")
@click.option("--warmup", "warmup_s", default=1.0, show_default=True, help="Time before, not measured [s].")
@click.option("--timeout", "timeout_s", default=10.0, show_default=True, help="Limit on one request [s].")
@processes_option
@click.option(
    "--slo-p95-ms", type=float, help="Objective: p95 below this, errors <= 1 %; sets the exit code."
)
@click.option("--closed/--no-closed", "with_closed", default=True, show_default=True,
              help="After an open loop, run a closed one of as many users beside it.")  # fmt: skip
@click.option("--hgrm", "hgrm_file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
              help="Write the latencies as an HdrHistogram percentile file [ms].")  # fmt: skip
@click.option("--web", is_flag=True, help="Serve locust's own page over this load, until Ctrl-C.")
@click.option("--web-host", default="127.0.0.1", show_default=True, help="Who may see it; 0.0.0.0: all.")
@click.option("--web-port", default=8089, show_default=True, help="Its port; 0 takes a free one.")
def run(
    url: str | None, path: str, body_files: tuple[Path, ...], headers: tuple[str, ...], method: str,
    insecure: bool, seed: int, record_file: Path | None, as_json: bool, rate: float | None,
    users: int | None, arrivals: str, duration_s: float | None, warmup_s: float, timeout_s: float,
    processes: int | None, slo_p95_ms: float | None, with_closed: bool, hgrm_file: Path | None, web: bool,
    web_host: str, web_port: int,
) -> None:  # fmt: skip
    """Measure by an open loop (--rate, --arrivals) or --users.

    An open loop has a rate or a shape of arrivals; --users make a closed one.

    \b
    scalelab load run --rate 200 --duration 10
    scalelab load run --users 16 --url http://127.0.0.1:8000 --body image.png

    \b
    Shapes of --arrivals (Poisson within each part; /even at the end spaces them evenly):
      poisson, constant                  with --rate and --duration, or poisson:200/30s
      step:100..500/5x10s                five steps, 10 s each
      spike:100..1000/10s+2s+10s         before, spike, after
      diurnal:50..400/60s                a day, squeezed
      trace:100,400,200/10s              these rates, 10 s each
      trace:rates.csv                    columns time_s,rate_per_s
    """
    profile = _profile(arrivals, rate, users, duration_s)
    target = make_target(url, path, body_files, headers, method, insecure)
    slo_s = None if slo_p95_ms is None else slo_p95_ms / 1e3
    closed = None
    if web:
        found = _serve_page(target, profile, warmup_s, (web_host, web_port), timeout_s, seed)
        if found is None:
            return
        result = found
    else:
        target.check_answer(timeout_s, allow_busy=True)
        result = _measure(target, profile, users, duration_s or SECONDS, warmup_s, timeout_s, processes, seed)
        if profile is not None and with_closed:
            closed = _measure_beside(target, result, warmup_s, timeout_s)
    from scalelab.cli.load_tables import load_table, parts_table

    tables = [lambda: load_table(result, closed, slo_s)]
    if len(result.parts) > 1:
        tables.append(lambda: parts_table(result))
    values = result.to_json() | ({} if closed is None else {"closed_loop": closed.to_json()})
    show(as_json, values | _judged(result, slo_s), *tables)
    warn(result.warnings())
    if hgrm_file is not None:
        result.latency.write_hgrm(hgrm_file)
    from scalelab.loadtest.saved import record_run

    save(record_file, lambda: record_run(target, result, arrivals=arrivals, slo_s=slo_s, seed=seed))
    if slo_s is not None:
        claim = f"p95 < {slo_p95_ms:g} ms with at most 1 % errors"
        verdict = result.verdict(slo_s).value
        leave(verdict, f"{claim}: {_found(result)}{_why_unsure(result) if verdict == 'INCONCLUSIVE' else ''}")


def _profile(
    arrivals: str, rate: float | None, users: int | None, duration_s: float | None
) -> Profile | None:
    """Return the load of an open loop; None for a closed one."""
    if rate is not None and users is not None:
        raise ConfigError(
            f"--rate {rate:g} and --users {users} are two kinds of load", hint="give one of them"
        )
    from scalelab.loadtest import parse_profile
    from scalelab.loadtest.driver import check_users

    if users is not None:
        check_users(users)
    if rate is None and ":" not in arrivals:
        if arrivals not in ("poisson", "constant"):
            parse_profile(arrivals)  # which says what is wrong with it
        return None
    if users is not None:
        raise ConfigError(
            f"--users {users} and --arrivals {arrivals} are two kinds of load", hint="give one of them"
        )
    profile = parse_profile(arrivals, rate_per_s=rate, duration_s=duration_s or SECONDS)
    shape = arrivals.partition("/")[0]
    for name, given, is_said in (
        ("rate", rate, ":" in shape),
        ("duration", duration_s, "/" in arrivals.removesuffix("/even")),
    ):
        if given is not None and is_said:
            raise ConfigError(
                f"--{name} {given:g} and --arrivals {arrivals} both give a {name}", hint=f"leave out --{name}"
            )
    return profile


def _measure(
    target: Target, profile: Profile | None, users: int | None, duration_s: float, warmup_s: float,
    timeout_s: float, processes: int | None, seed: int,
) -> LoadResult:  # fmt: skip
    from scalelab.loadtest import run_closed, run_profile

    length_s = duration_s if profile is None else profile.duration_s
    with progress("measuring", warmup_s + length_s) as on_progress:
        if profile is not None:
            return run_profile(
                target, profile, warmup_s,
                timeout_s=timeout_s, processes=processes, seed=seed, on_progress=on_progress,
            )  # fmt: skip
        return run_closed(
            target, 16 if users is None else users, duration_s, warmup_s,
            timeout_s=timeout_s, processes=processes, on_progress=on_progress,
        )  # fmt: skip


def _measure_beside(target: Target, result: LoadResult, warmup_s: float, timeout_s: float) -> LoadResult:
    """Run the closed loop that a classical load test would: as many users as were in flight."""
    from scalelab.loadtest import run_closed

    users = min(MOST_USERS, max(1, math.ceil(result.mean_in_flight)))
    seconds = min(SECONDS, result.duration_s)
    with progress(f"the same with {users} users who wait", warmup_s + seconds) as on_progress:
        return run_closed(target, users, seconds, warmup_s, timeout_s=timeout_s, on_progress=on_progress)


def _serve_page(
    target: Target,
    profile: Profile | None,
    warmup_s: float,
    at: tuple[str, int],
    timeout_s: float,
    seed: int,
) -> LoadResult | None:
    if profile is None:
        raise ConfigError("--web shows a load on schedule", hint="give --rate or --arrivals")
    from scalelab.loadtest.page import serve_page

    return serve_page(
        target, profile, warmup_s, host=at[0], port=at[1], timeout_s=timeout_s, seed=seed,
        on_ready=lambda address: click.echo(
            f"locust's page: {address}  (Start sends {profile.requests:,.0f} requests in "
            f"{profile.duration_s:g} s, whatever number of users it says; Ctrl-C ends it)", err=True
        ),
    )  # fmt: skip


def _found(result: LoadResult) -> str:
    from scalelab.cli.load_tables import latency
    from scalelab.core.units import format_percent

    return f"p95 {latency(result, 95)} ms, errors {format_percent(result.error_share)}"


def _why_unsure(result: LoadResult) -> str:
    if result.generator_is_bottleneck:
        return "; but the generator was the bottleneck"
    too_few = result.percentile_interval(95) is None
    return "; too few requests" if too_few else "; the interval holds the limit: run longer"


def _judged(result: LoadResult, slo_s: float | None) -> dict[str, Any]:
    if slo_s is None:
        return {}
    return {"goodput_per_s": result.goodput_per_s(slo_s), "verdict": result.verdict(slo_s).value}


@load.command()
@target_options("/v1/pins?wait_s=5")
@click.option("--slo-p95-ms", default=200.0, show_default=True, help="p95 must stay below this.")
@click.option("--max-errors", default=0.01, show_default=True, help="Share of requests that may fail.")
@click.option("--budget", "budget_s", default=60.0, show_default=True, help="Time for the search [s].")
@click.option("--window", "window_s", default=3.0, show_default=True, help="Measured time per rate [s].")
@processes_option
@click.option("--at-least", type=float, help="Exit with 5 unless the knee is at least this rate.")
def knee(
    url: str | None, path: str, body_files: tuple[Path, ...], headers: tuple[str, ...], method: str,
    insecure: bool, seed: int, record_file: Path | None, as_json: bool, slo_p95_ms: float, max_errors: float,
    budget_s: float, window_s: float, processes: int | None, at_least: float | None,
) -> None:  # fmt: skip
    """Find the highest arrival rate that keeps p95 below the objective.

    A rate that fails is tried again with other arrivals before it is believed, and the winner must pass a
    window twice as long. Beside it stands where p95 crosses the objective, with a 95 % interval: how far
    that crossing moves when the tenths of every window are drawn anew.

    \b
    scalelab load knee --slo-p95-ms 200 --budget 60
    """
    from scalelab.cli.load_tables import knee_sentence, knee_table
    from scalelab.loadtest import find_knee
    from scalelab.loadtest.saved import record_knee

    target = make_target(url, path, body_files, headers, method, insecure)
    started = time.monotonic()
    with progress("searching", budget_s) as on_progress:
        found = find_knee(
            target, slo_p95_ms / 1e3, max_error_share=max_errors, budget_s=budget_s, window_s=window_s,
            processes=processes, seed=seed,
            on_point=lambda _: on_progress(min(1.0, (time.monotonic() - started) / budget_s)),
        )  # fmt: skip
    show(as_json, found.to_json(), lambda: knee_table(found))
    if not as_json:
        click.echo(knee_sentence(found))
    save(record_file, lambda: record_knee(target, found, seed=seed))
    if found.rate_per_s == 0 or (at_least is not None and found.rate_per_s < at_least):
        raise SystemExit(OBJECTIVE_MISSED)


@load.command()
@target_options("/v1/pins")
@click.option("--rate", type=float, required=True, help="Requests per second.")
@click.option("--duration", "duration_s", default=5.0, show_default=True, help="Length of the burst [s].")
@click.option("--accept-timeout", "accept_timeout_s", default=5.0, show_default=True,
              help="A request without 200 or 202 after this has failed [s].")  # fmt: skip
@click.option("--collect-timeout", "collect_timeout_s", default=30.0, show_default=True,
              help="An accepted request without an answer so long after the burst is lost [s].")  # fmt: skip
def burst(
    url: str | None, path: str, body_files: tuple[Path, ...], headers: tuple[str, ...], method: str,
    insecure: bool, seed: int, record_file: Path | None, as_json: bool, rate: float, duration_s: float,
    accept_timeout_s: float, collect_timeout_s: float,
) -> None:  # fmt: skip
    """Send a burst and follow every request to its answer.

    Exits with 5 if one that was accepted was lost.

    \b
    scalelab load burst --rate 500 --duration 5
    """
    from scalelab.cli.load_tables import burst_table
    from scalelab.loadtest import run_burst
    from scalelab.loadtest.arrivals import check_positive
    from scalelab.loadtest.saved import record_burst

    target = make_target(url, path, body_files, headers, method, insecure)
    check_positive("a rate", rate, "requests per second")
    target.check_answer(accept_timeout_s, allow_busy=True, also=(202,))
    with progress("burst, then collecting", duration_s) as on_progress:
        result = run_burst(
            target, rate, duration_s, accept_timeout_s, collect_timeout_s, seed=seed, on_progress=on_progress
        )
    show(as_json, result.to_json(), lambda: burst_table(result))
    save(record_file, lambda: record_burst(target, result, seed=seed))
    if result.lost:
        raise SystemExit(OBJECTIVE_MISSED)


load.add_command(compare)
load.add_command(judge)
