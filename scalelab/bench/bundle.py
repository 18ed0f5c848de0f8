"""A bundle: one file with all that a claim rests on, so that others can check it and run it again.

``records.jsonl`` (as the store has it), ``suite.toml``, ``notebooks/`` (executed), ``sources/`` (the
notebooks as they were run, and the modules beside them), ``code.json`` (of the package that measured); and
what follows from these: ``machine.json``, ``tables.json``, ``report.html``. The files that points leave for
each other are not in it; their sha256 are in the records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from scalelab.bench.as_run import unlike_their_run
from scalelab.bench.evidence import (
    RECORDS,
    SOURCES,
    SUITE,
    derived,
    parse_records,
    read_json,
    tables_of,
)
from scalelab.bench.keys import code_files, code_hash, code_versions, modules_beside
from scalelab.bench.results import Results
from scalelab.bench.sealed import json_bytes, seal, unseal
from scalelab.core.errors import ConfigError, DataError
from scalelab.core.locks import try_lock
from scalelab.core.paths import shipped
from scalelab.core.records import RunRecord

CODE, NOTEBOOKS = "code.json", "notebooks/"
SUFFIX = ".bench.zip"
FORMAT = 1


def make_bundle(folder: Path, out: Path | None = None, *, suite: Path | None = None) -> Path:
    """Pack the folder of results `folder` into one file; return its path.

    The same folder gives the same bytes, wherever it lies. Tables, machine and report are made anew from the
    records.

    Args:
        out: the file; default: the folder's name with ``.bench.zip``, beside it.
        suite: the ``.toml`` that was run; default: the folder's copy, with its notebooks where they were run
            from, or those that ship with ScaleLab.

    Raises:
        DataError: the folder has no records.
        ConfigError: a notebook is not at hand or no longer the one that was run, or a file cannot be packed.
    """
    folder = folder.resolve()
    with _at_rest(folder):
        return seal(_members(folder, suite), out or folder.with_name(folder.name + SUFFIX))


def _members(folder: Path, suite: Path | None) -> dict[str, bytes]:
    stored = _read(folder / RECORDS) or b""
    if not stored:
        raise DataError(f"{folder} has no {RECORDS}", hint=_other_folders(folder))
    records, _ = parse_records(stored)
    executed = {
        f"{NOTEBOOKS}{path.name}": _read(path) or b"" for path in sorted((folder / NOTEBOOKS).glob("*.ipynb"))
    }
    text = _read(folder / SUITE)
    if suite:
        told = _read(suite)
        if told is None or text not in (None, told):
            raise ConfigError(f"{suite} is not the suite that was run", hint=f"it was {folder / SUITE}")
        text = told
    sources = {} if text is None else _sources(text, executed, suite)
    given = {RECORDS: stored, **({} if text is None else {SUITE: text}), **executed, **sources}
    for name, why in unlike_their_run(given, records):
        raise ConfigError(
            f"{name.removeprefix(SOURCES)} has changed since it was run: {why}",
            hint="run the suite again (what has not changed is kept), or give the old one: --suite PATH",
        )
    return {
        **given,
        CODE: json_bytes(_code(records)),
        **derived(stored, records, text or b""),
    }


def read_bundle(path: Path) -> Results:
    """Return the records of a bundle.

    Raises:
        DataError: it is no bundle, or a byte of it has changed since it was packed.
    """
    records, damaged = parse_records(open_bundle(path)[RECORDS])
    return Results(path, records, damaged)


def open_bundle(path: Path) -> Mapping[str, bytes]:
    """Return the members of a bundle that is as it was packed.

    Raises:
        DataError: it is no bundle, one of a later format, or a byte of it has changed.
    """
    found = unseal(path)
    if found.changed:
        name, why = found.changed[0]
        raise DataError(
            f"{path} has changed since it was packed: {name}: {why}",
            hint=f"see: scalelab bench verify {path}",
        )
    check_format(path, found.members)
    return found.members


def check_format(path: Path, members: Mapping[str, bytes]) -> None:
    """Refuse what is no bundle, or a later kind of it."""
    code = read_json(members.get(CODE, b""))
    if not isinstance(code, dict) or type(code.get("format")) is not int or RECORDS not in members:
        raise DataError(
            f"{path} is no bundle of results", hint="give a file that `scalelab bench bundle` wrote"
        )
    if code["format"] > FORMAT:
        raise DataError(
            f"{path} has format {code['format']}, this version reads up to {FORMAT}", hint="update scalelab"
        )


def _sources(text: bytes, executed: Mapping[str, bytes], suite: Path | None) -> dict[str, bytes]:
    """Return the notebooks as they lie where they were run from, and their modules."""
    names = sorted({str(point.get("notebook")) for point in tables_of(text, "point")})
    outside = [name for name in names if ".." in Path(name).parts or Path(name).is_absolute()]
    if outside:
        raise ConfigError(
            f"{outside[0]} lies outside of the suite's folder", hint="move the notebook beside the suite"
        )
    roots = [suite.resolve().parent] if suite else [*_run_from(names, executed), shipped("benchmarks")]
    root = next((root for root in roots if all((root / name).is_file() for name in names)), None)
    if root is None:
        missing = next(name for name in names if not (roots[0] / name).is_file())
        raise ConfigError(
            f"the suite's notebook {missing} is not in {roots[0]}",
            hint="say where the suite that was run lies: --suite PATH",
        )
    files = {root / name for name in names}
    for notebook in list(files):
        files.update(modules_beside(notebook))
    return {f"{SOURCES}{path.relative_to(root).as_posix()}": path.read_bytes() for path in sorted(files)}


def _run_from(names: Sequence[str], executed: Mapping[str, bytes]) -> Iterator[Path]:
    """Yield the folders that papermill says the notebooks were run from."""
    for notebook in executed.values():
        raw = read_json(notebook)
        try:
            ran = Path(raw["metadata"]["papermill"]["input_path"])
        except (KeyError, TypeError):
            continue
        for name in names:
            if ran.parts[-len(Path(name).parts) :] == Path(name).parts:
                yield ran.parents[len(Path(name).parts) - 1]


def _code(records: Sequence[RunRecord]) -> dict[str, Any]:
    """Say which code measured: the newest record's hash; its files, if that code is the one here."""
    ran = next((record for record in reversed(records) if record.run.get("code")), records[-1])
    hashed = str(ran.run.get("code", ""))
    is_here = hashed == code_hash()
    return {
        "format": FORMAT,
        "hash": hashed,
        "git": ran.git,
        "files": code_files() if is_here else {},
        "versions": code_versions() if is_here else dict(ran.machine.get("versions", {})),
    }


@contextmanager
def _at_rest(folder: Path) -> Iterator[None]:
    """Keep runs out of the folder of results meanwhile.

    Raises:
        ConfigError: one is at work there.
    """
    with ExitStack() as stack:
        with suppress(OSError):  # nobody ever ran here, or nobody can: it is read-only
            lock = stack.enter_context((folder / ".lock").open("rb+"))
            if not try_lock(lock):
                raise ConfigError(f"a run is at work in {folder}", hint="wait until it has ended, or stop it")
        yield


def _read(path: Path) -> bytes | None:
    if path.is_symlink():
        raise ConfigError(f"{path} is a link, a bundle holds files", hint="put the file itself there")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _other_folders(folder: Path) -> str:
    inside = sorted(path.parent.name for path in folder.glob(f"*/{RECORDS}"))
    if inside:
        return f"there are results in folders below it: bundle one of {', '.join(inside)}"
    return "give a folder that `scalelab bench run` wrote"
