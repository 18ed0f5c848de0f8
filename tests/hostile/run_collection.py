# ruff: noqa: T201
"""Run a collection of hostile submissions that lies outside of the project, and judge the grader by it.

    python tests/hostile/run_collection.py FOLDER [--user ordinary] [--only a02 g01]

FOLDER (or the environment's HOSTILE_COLLECTION) holds a folder for each case: ``exploit.json`` (id, expected,
solo, kill_s), ``cells.py`` (percent cells: ``pre``, ``task: NAME``, ``post``, ``all-good``) and, where the
file itself is changed, ``transform.py``. Cases that are not solo are graded in one class; a solo case alone
beside two honest neighbours. Exit code 1 if the grader was fooled, harmed or slow anywhere. On a machine that
others keep busy, ``kill_s`` is that many times longer as a busy loop takes there, before and after a run.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import runpy
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import hostile_ground as ground
from hostile_case import RIGHT, WRONG, Link, Pipe, notebook

SECTION = re.compile(r"^# %% *(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Exploit:
    """One case of the collection."""

    id: str
    facts: dict[str, Any]
    folder: Path

    def files(self) -> dict[str, Any]:
        """Return what its student hands in, as the tables of `hostile_case` have it."""
        before, answers, after = self._cells()
        book = notebook({**WRONG, **answers}, before=tuple(before), after=tuple(after))
        book["cells"].insert(0, {"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# Lab 1"})
        for number, cell in enumerate(book["cells"]):
            cell.setdefault("id", f"cell{number}")
        raw = json.dumps(copy.deepcopy(book), indent=1).encode()
        made = self._transformed(raw)
        files = made if isinstance(made, dict) else {"lab1.ipynb": made}
        kinds = {"symlink": lambda target: Link(target), "fifo": lambda _: Pipe()}
        return {
            name: kinds[content[0]](content[1]) if isinstance(content, tuple) else content
            for name, content in files.items()
        }

    def _cells(self) -> tuple[list[str], dict[str, str], list[str]]:
        path = self.folder / "cells.py"
        parts = SECTION.split(path.read_text(encoding="utf-8") if path.exists() else "")[1:]
        before, answers, after = [], {}, []
        for title, text in zip(parts[::2], parts[1::2], strict=True):
            if title.startswith("task:"):
                answers[title.removeprefix("task:").strip()] = text.strip("\n")
            elif title.startswith("all-good"):
                answers.update(RIGHT)
            else:
                (before if title.startswith("pre") else after).append(text.strip("\n"))
        return before, answers, after

    def _transformed(self, raw: bytes) -> Any:
        path = self.folder / "transform.py"
        return runpy.run_path(str(path))["transform"](raw) if path.exists() else raw

    def faults(self, outcome: ground.Outcome, slow: float) -> list[str]:
        """Return what the grader did wrong by this case, on a machine so much slower than an idle one."""
        if self.id not in outcome.rows:
            return ["no row"]
        expected = self.facts["expected"]
        due = expected.get("score", expected.get("score_max", 0))
        return ground.faults_of(
            outcome.row(self.id),
            points=due,
            at_most="score" not in expected,
            limit_s=slow * self.facts["kill_s"],
        )


def read(folder: Path, only: list[str]) -> list[Exploit]:
    """Return the cases, by id."""
    found = []
    for path in sorted(folder.glob("*/exploit.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not only or any(facts["id"].startswith(each) for each in only):
            found.append(Exploit(facts["id"], facts, path.parent))
    return found


def slowness(*, cpu_s: float = 0.3) -> float:
    """Return how much longer work takes here than on an idle machine, as others have the processors."""
    began, done = time.perf_counter(), time.thread_time() + cpu_s
    while time.thread_time() < done:
        pass
    return max(1.0, (time.perf_counter() - began) / cpu_s)


def run(cases: list[Exploit], **how: Any) -> tuple[ground.Outcome, float]:
    """Grade a class of these cases; return what came of it, and the mean slowness around it."""
    before = slowness()
    outcome = ground.run({case.id: case.files() for case in cases}, full_limits=True, **how)
    return outcome, (before + slowness()) / 2


def main() -> int:
    """Run all cases; print a line for each that went wrong, and the count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default=os.environ.get("HOSTILE_COLLECTION"))
    parser.add_argument("--user", choices=["own", "ordinary"], default="own")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--at-once", type=int, default=2, help="solo cases run at one time")
    given = parser.parse_args()
    if not given.folder:
        parser.error("name the collection's folder, or set HOSTILE_COLLECTION")
    user = ground.ORDINARY if given.user == "ordinary" else 0
    cases = read(Path(given.folder), given.only)
    assert cases, f"no exploit.json below {given.folder}"
    together = [case for case in cases if not case.facts["solo"]]
    alone = [case for case in cases if case.facts["solo"]]
    wrong = 0

    def tell(cases: list[Exploit], outcome: ground.Outcome, slow: float) -> None:
        nonlocal wrong
        told = {case.id: case.faults(outcome, slow) for case in cases}
        if outcome.faults:
            told["+".join(told) if len(told) < 3 else "the class"] = outcome.faults
        if len(cases) == 1 and outcome.seconds > slow * cases[0].facts["kill_s"]:
            told[cases[0].id].append(f"the whole run took {outcome.seconds:.0f} s")
        for name, faults in told.items():
            wrong += bool(faults)
            row = outcome.rows.get(name, [{}])[0]
            how = f"{row.get('status')}, {row.get('points')} points, {row.get('seconds')} s"
            print(f"{'WRONG' if faults else 'ok   '} {name}: {how} {' '.join(faults)}", flush=True)
        print(
            f"      ({len(cases)} cases in {outcome.seconds:.0f} s, {slow:.1f} x an idle one's)", flush=True
        )

    if together:
        tell(together, *run(together, user=user))
    with ThreadPoolExecutor(given.at_once) as pool:
        runs = [(case, pool.submit(run, [case], user=user, jobs=1)) for case in alone]
        for case, running in runs:
            tell([case], *running.result())
    print(f"{len(cases)} cases as {given.user} user: {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
