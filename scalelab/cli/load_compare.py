"""``scalelab load compare A B``: two services, or two files of saved runs, ratio by ratio."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from scalelab.cli.load_options import (
    leave,
    make_target,
    processes_option,
    progress,
    read_share,
    save,
    show,
    target_options,
)
from scalelab.core.errors import ConfigError

if TYPE_CHECKING:
    from scalelab.core.records import RunRecord
    from scalelab.loadtest.compare import Comparison


@click.command()
@click.argument("a")
@click.argument("b")
@target_options("/v1/pins?wait_s=5", with_url=False)
@click.option("--rate", type=float, help="Requests per second, the same for both (addresses only).")
@click.option("--pairs", default=6, show_default=True, help="Windows on each side, in turn.")
@click.option("--window", "window_s", default=3.0, show_default=True, help="Measured time of each [s].")
@click.option("--timeout", "timeout_s", default=10.0, show_default=True, help="Limit on one request [s].")
@processes_option
@click.option("--fail-over", metavar="PER CENT", callback=lambda _c, _o, text: read_share(text),
              help="Exit with 5 if B is slower than A by more than this, such as 10%.")  # fmt: skip
@click.option("--by", default="p95", show_default=True, type=click.Choice(["p50", "p95", "p99"]),
              help="The latency that --fail-over judges.")  # fmt: skip
def compare(
    a: str, b: str, path: str, body_files: tuple[Path, ...], headers: tuple[str, ...], method: str,
    insecure: bool, seed: int, record_file: Path | None, as_json: bool, rate: float | None, pairs: int,
    window_s: float, timeout_s: float, processes: int | None, fail_over: float | None, by: str,
) -> None:  # fmt: skip
    """Compare two services in turn, or two records of them.

    Two services A and B, or two files that `load run --record` wrote.

    Addresses are loaded in turn (A B, B A, ...) at one rate, both sides of a pair with the same arrivals, so
    that a noisy machine hits both. An address may carry its own path. The interval is that of the median
    ratio over the pairs.

    \b
    scalelab load compare http://127.0.0.1:8000 http://127.0.0.1:8001 --rate 200 --fail-over 10%
    scalelab load compare before.jsonl after.jsonl --fail-over 10%

    Exit codes: 0 within the limit (or none given), 5 over it, 6 could not tell.
    """
    from scalelab.cli.load_tables import compare_table

    if _is_address(a) != _is_address(b):
        raise ConfigError(f"{a} and {b}: an address and a file", hint="give two addresses, or two files")
    if _is_address(a):
        if rate is None:
            raise ConfigError("two addresses are compared at one rate", hint="give it: --rate 100")
        found = _compare_addresses(
            a,
            b,
            path,
            body_files,
            headers,
            method,
            insecure,
            rate,
            pairs,
            window_s,
            timeout_s,
            processes,
            seed,
        )
    else:
        found = _compare_files(Path(a), Path(b), timeout_s)
    verdict = None if fail_over is None else found.verdict(fail_over, by=by)
    judged = {} if verdict is None else {"verdict": verdict.value}
    show(as_json, found.to_json() | judged, lambda: compare_table(found, (a, b)))
    save(record_file, lambda: _record(found, a, b, rate, judged, seed))
    if verdict is not None and fail_over is not None:
        leave(verdict.value, f"{by} of B is at most {100 * fail_over:g} % above that of A")


def _compare_addresses(
    a: str, b: str, path: str, body_files: tuple[Path, ...], headers: tuple[str, ...], method: str,
    insecure: bool, rate: float, pairs: int, window_s: float, timeout_s: float, processes: int | None,
    seed: int,
) -> Comparison:  # fmt: skip
    from scalelab.loadtest.compare import compare_targets

    targets = []
    for address in (a, b):
        parts = urlsplit(address)
        own = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        has_own = parts.path not in ("", "/") or parts.query
        base = f"{parts.scheme}://{parts.netloc}"
        targets.append(make_target(base, own if has_own else path, body_files, headers, method, insecure))
    for target in targets:
        target.check_answer(timeout_s)
    with progress("in turn", 2 * pairs * (window_s + 2.0)) as on_progress:
        return compare_targets(
            targets[0], targets[1], rate, pairs=pairs, window_s=window_s, timeout_s=timeout_s,
            processes=processes, seed=seed, on_window=lambda done: on_progress(done / (2 * pairs)),
        )  # fmt: skip


def _compare_files(a: Path, b: Path, timeout_s: float) -> Comparison:
    from scalelab.loadtest.compare import compare_windows
    from scalelab.loadtest.saved import read_windows

    (left, left_load), (right, right_load) = read_windows(a), read_windows(b)
    for name, value in left_load.items():
        if right_load[name] != value:
            raise ConfigError(
                f"{a} was run with {name} {value}, {b} with {right_load[name]}",
                hint="compare runs of the same load",
            )
    return compare_windows(left, right, longest_s=timeout_s)


def _record(
    found: Comparison, a: str, b: str, rate: float | None, judged: dict[str, str], seed: int
) -> RunRecord:
    from scalelab.core.records import RunRecord

    parameters = {"a": a, "b": b, "rate_per_s": rate}
    return RunRecord("load/compare", parameters, found.metrics(), found.to_json() | judged, seed)


def _is_address(text: str) -> bool:
    return text.startswith(("http://", "https://"))
