"""``scalelab doctor``: what this machine is, what it can run, what is missing and what brings it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from scalelab.core.errors import ScalelabError

MAIN_EXTRAS = (
    "torch",
    "onnx",
    "serve",
    "load",
    "bench",
    "lab",
    "grade",
    "author",
    "data",
    "frameworks",
    "openvino",
    "minilm",
    "dev",
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def doctor(as_json: bool) -> None:
    """Show what this machine can run, and what brings the rest.

    Exit code 0 if `scalelab demo` can run here, 2 if something that it needs is missing.
    """
    import dataclasses
    import json

    from scalelab.core.machine import fingerprint
    from scalelab.core.requirements import RUNGS, extra_readiness, known_extras, rung_readiness

    machine = fingerprint()
    checks = _look()
    rungs = [rung_readiness(rung, checks) for rung in RUNGS]
    extras = [extra_readiness(extra) for extra in MAIN_EXTRAS if extra in known_extras()]
    bench = extra_readiness("bench")
    can_run = all(check.is_ok for check in checks if check.is_needed) and bench.is_ready
    if as_json:
        rows: dict[str, Any] = {"checks": checks, "rungs": rungs, "extras": extras}
        plain = {name: [dataclasses.asdict(row) for row in found] for name, found in rows.items()}
        click.echo(json.dumps({"demo_can_run": can_run, "machine": machine, **plain}, indent=2))
    else:
        _show(machine, checks, rungs, extras)
        blocking = [
            f"{check.name}: {check.remedy}" for check in checks if check.is_needed and not check.is_ok
        ]
        if not bench.is_ready:
            blocking.append(f"packages ({_first_three(bench.missing)}): {bench.remedy}")
        if can_run:
            click.secho("The demo can run here: scalelab demo", fg="green")
        else:
            click.secho("The demo cannot run here yet:", fg="red")
            for step in blocking:
                click.echo(f"  {step}")
    raise SystemExit(0 if can_run else 2)


def _look() -> list[Any]:
    """Carry out all checks, those of the subjects included."""
    from scalelab.core import requirements
    from scalelab.core.paths import runs_folder

    return [
        requirements.check_python(),
        requirements.check_installed(),
        *requirements.check_machine(runs_folder()),
        _trial("data", _verified_data),
        _trial("notebooks", _suite_file),
        _trial(requirements.BROKER, _broker_binary),
        requirements.check_program(
            "browser",
            ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
            use="some tests take screenshots",
            remedy="make system-packages, or install Chromium",
        ),
    ]


def _trial(name: str, look: Callable[[], str]) -> Any:
    """Turn what `look` returns, or the error it raises, into a check."""
    from scalelab.core.requirements import Check

    try:
        return Check(name, True, look())
    except ScalelabError as error:
        return Check(name, False, error.message, error.hint or "see the message")


def _verified_data() -> str:
    from scalelab.core.units import format_bytes
    from scalelab.data.files import verify_all

    files = verify_all()
    return f"{len(files)} files, {format_bytes(sum(file.bytes for file in files))}, sha256 as in the manifest"


def _suite_file() -> str:
    from scalelab.core.errors import LabFileError
    from scalelab.core.paths import shipped

    suite = shipped("benchmarks") / "road.toml"
    if not suite.is_file():
        raise LabFileError(
            f"{suite} is missing", hint="install scalelab again, or check the repository out again"
        )
    return str(suite)


def _broker_binary() -> str:
    from scalelab.serve.embedded import find_server

    return str(find_server())


def _first_three(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _show(machine: dict[str, Any], checks: list[Any], rungs: list[Any], extras: list[Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from scalelab import __version__
    from scalelab.core.requirements import how_to_install
    from scalelab.core.units import format_bytes

    flags = ", ".join(machine["flags"]) or "none known"
    click.echo(f"ScaleLab {__version__} on {machine['system']} {machine['machine']}: {machine['cpu']}")
    click.echo(f"{machine['cores']} cores, {format_bytes(machine['ram_bytes'])} of memory; flags: {flags}")
    rows = []
    for check in checks:
        sign = "[green]ok" if check.is_ok else "[red]missing" if check.is_needed else "[yellow]note"
        rows.append((sign, check.name, check.found, check.remedy))
    rows += [("[green]ok", "rungs", ", ".join(row.name for row in rungs if row.is_ready) or "none", "")]
    lacking: dict[tuple[Any, str], list[str]] = {}
    for row in rungs:
        if not row.is_ready:
            lacking.setdefault((row.missing, row.remedy), []).append(row.name)
    for (missing, remedy), names in lacking.items():
        rows.append(("[yellow]no", "rungs", f"{', '.join(names)}: {_first_three(missing)} missing", remedy))
    rows.append(("[green]ok", "extras", ", ".join(row.name for row in extras if row.is_ready) or "none", ""))
    if absent := [row.name for row in extras if not row.is_ready]:
        rows.append(("[yellow]no", "extras", ", ".join(absent), how_to_install(["NAME"])))
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(overflow="fold")  # a path cut short could not be copied
    for sign, name, text, remedy in rows:
        table.add_row(sign, name, escape(text) + (f"\n[bold]-> {escape(remedy)}" if remedy else ""))
    Console(highlight=False).print(table)
