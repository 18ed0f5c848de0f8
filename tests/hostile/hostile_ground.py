"""The ground of the hostile runs: a class of students in a folder, a grader let loose on it, what came of it.

The grader runs by its command line in namespaces of its own (processes, mounts, IPC, no network), as root or
as an ordinary user. Marks (``CANARY_...``) stand where no submission may look: in the grader's environment,
in a file that anybody may read, in the hidden checks, in a solution, in a neighbour's notebook.
"""

from __future__ import annotations

import csv
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hostile_watch
from hostile_case import HALF, LAB, POINTS, RIGHT, Files, Link, Pipe, notebook

ROOT = Path(__file__).resolve().parent.parent.parent
ORDINARY = 65534
CHECK_S = 4
"""limit of one check in the copy of the lab [s]: endless loops are many here"""
LAB_TOML = "[grading]\ncell_s = 5\n"
NEIGHBOURS = {"a_honest": POINTS, "z_half": 6.0}
CANARY = re.compile(r"CANARY_(?:ENV|FILE|HIDDEN|SOLUTION|OTHER_STUDENT)")


@dataclass(frozen=True)
class Outcome:
    """What one run of the grader left."""

    exit: int
    seconds: float
    said: str
    left: list[str]
    """processes, mounts, temporary files that are still there"""
    rows: Mapping[str, list[dict[str, Any]]]
    """all rows, by student"""
    leaks: list[str]
    """places of the grader's output where a mark stands"""
    injected: list[str]
    """places in pages and tables that would run as a script or a formula"""
    untouched: bool
    """the lab's and the submissions' files are as they were"""
    pages: frozenset[str]
    """what lies in the output folder"""

    def row(self, student: str) -> dict[str, Any]:
        """Return the row that counts: the only one, or that of the repeat of a noisy measurement."""
        rows = self.rows.get(student, [])
        assert rows, f"{student} has no row\n{self.said[-3000:]}"
        for repeated in rows[:-1]:
            assert any(check["outcome"] == "inconclusive" for check in repeated["checks"]), (student, rows)
        return rows[-1]

    @property
    def faults(self) -> list[str]:
        """Return what concerns nobody in particular."""
        found = [f"left behind: {each}" for each in self.left] + [f"leaked: {each}" for each in self.leaks]
        if self.exit != 0:
            found.append(f"the grader ended with {self.exit}: {self.said[-2000:]}")
        found += [f"would run: {each}" for each in self.injected]
        if not self.untouched:
            found.append("files of the lab or of the class were changed")
        for name, points in NEIGHBOURS.items():
            found += [f"{name}: {fault}" for fault in faults_of(self.row(name), points=points)]
        return found


@functools.lru_cache
def wrap() -> tuple[str, ...] | None:
    """Return the words that start a command in namespaces of its own; None where that cannot be had."""
    if not shutil.which("unshare"):
        return None
    words = ("unshare", *(() if os.geteuid() == 0 else ("-Ur",)), "-pfmin", "--mount-proc", "--kill-child")
    tried = subprocess.run([*words, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    return words if tried.returncode == 0 else None


def users() -> list[int]:
    """Return the users to run as: 0 is whoever runs the tests."""
    return [0, ORDINARY] if os.geteuid() == 0 else [0]


def run(students: Mapping[str, Files], *, user: int = 0, jobs: int = 2, limit_s: float = 600.0,
        full_limits: bool = False) -> Outcome:  # fmt: skip
    """Grade a class of these students and two honest neighbours; without `full_limits`, loops end sooner."""
    words = wrap()
    assert words, "no namespaces here"
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    try:
        for name in ("lab", "home", "tmp", "submissions"):
            (folder / name).mkdir()
        _make_lab(folder / "lab" / "tiny_lab", full_limits=full_limits)
        for name, answers in (("a_honest", RIGHT), ("z_half", HALF)):
            _hand_in(folder / "submissions" / name, _marked(answers))
        for student, files in students.items():
            _hand_in(folder / "submissions" / student, files)
        (folder / "home" / "secret.txt").write_text("CANARY_FILE")
        plan = {
            "command": [
                sys.executable, "-m", "scalelab", "grade", str(folder / "lab" / "tiny_lab"),
                str(folder / "submissions"), "--out", str(folder / "grades"), "--jobs", str(jobs),
            ],
            "user": user, "limit_s": limit_s, "folder": str(folder / "home"),
            "report": str(folder / "report"),
            "environment": {
                "PATH": os.environ["PATH"], "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"),
                "SCALELAB_SECRET": "CANARY_ENV", "EXPLOIT_SANDBOX": "1",
                "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8",
            },
        }  # fmt: skip
        (folder / "plan").write_text(json.dumps(plan))
        if user:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, user, user, follow_symlinks=False)
        before = _content(folder)
        done = subprocess.run(
            [*words, sys.executable, hostile_watch.__file__, str(folder / "plan")],
            capture_output=True, text=True, timeout=limit_s + 60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        report = json.loads((folder / "report").read_text())
        return Outcome(
            **report,
            rows=_rows(folder / "grades" / "results.jsonl"),
            leaks=_leaks(folder / "grades", report["said"]),
            injected=_injected(folder / "grades"),
            untouched=_content(folder) == before,
            pages=frozenset(
                str(each.relative_to(folder / "grades"))
                for each in (folder / "grades").rglob("*")
                if each.is_file()
            ),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_lab(folder: Path, *, full_limits: bool) -> None:
    """Copy the tiny lab, with shorter limits, a mark in its hidden checks, and a solution beside it."""
    shutil.copytree(LAB, folder, ignore=shutil.ignore_patterns("__pycache__", "answers.py"))
    if not full_limits:
        (folder / "lab.toml").write_text(LAB_TOML)
    for name in () if full_limits else ("checks.py", "hidden_checks.py"):
        text = (folder / name).read_text().replace("points=1, ", f"points=1, limit_s={CHECK_S}, ")
        (folder / name).write_text(text)
    with (folder / "hidden_checks.py").open("a") as file:
        file.write("\n\nMARK = 'CANARY_HIDDEN'  # CANARY_HIDDEN\n")
    solution = notebook(RIGHT)
    for cell in solution["cells"]:
        cell["source"] = ["# CANARY_SOLUTION ### BEGIN SOLUTION\n", *cell["source"]]
    (folder / "solution.ipynb").write_text(json.dumps(solution))


def _marked(answers: Mapping[str, str]) -> Files:
    book = notebook(answers, after=("mark = 'CANARY_' 'OTHER'  # CANARY_OTHER_STUDENT",))
    for cell in book["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("solution"):
            cell["source"] = [*cell["source"], "\n# CANARY_OTHER_STUDENT"]
    return {"lab1.ipynb": json.dumps(book).encode()}


def _hand_in(folder: Path, files: Files) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            path.symlink_to(content.target)
        elif isinstance(content, Pipe):
            os.mkfifo(path)
        else:
            path.write_bytes(content)


def _content(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for part in ("lab", "submissions", "home")
        for path in (folder / part).rglob("*")
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts
    }


def _rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        row = json.loads(line)
        rows.setdefault(row["student"], []).append(row)
    return rows


def _leaks(folder: Path, said: str) -> list[str]:
    found = [f"output: {each}" for each in CANARY.findall(said)]
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            for hit in CANARY.finditer(text := path.read_bytes().decode("utf8", "replace")):
                found.append(f"{path.relative_to(folder)}: ...{text[max(0, hit.start() - 80) : hit.end()]}")
    return found[:20]


def _injected(folder: Path) -> list[str]:
    """Return markup of a student's in the pages, and cells of tables that a spreadsheet would compute."""
    found = [
        str(path.relative_to(folder))
        for path in folder.rglob("*.html")
        if re.search(r"<(?:script|img)[^>]*>?[^<]{0,40}PWNED", path.read_text(encoding="utf-8"))
    ]
    for path in folder.rglob("*.csv"):
        with path.open(encoding="utf-8-sig", newline="") as file:
            cells = [cell for line in csv.reader(file) for cell in line]
        assert cells, path
        found += [f"{path.name}: {cell[:60]!r}" for cell in cells if cell[:1] in tuple("=+-@\t\r")]
    return found


def faults_of(row: Mapping[str, Any], *, points: float, at_most: bool = False, statuses: Sequence[str] = (),
              limit_s: float = 60.0) -> list[str]:  # fmt: skip
    """Return what is wrong with the row of one student."""
    found = []
    if not (row["points"] <= points if at_most else row["points"] == points):
        wrong = [
            {name: check[name] for name in ("name", "outcome", "message")}
            for check in row["checks"]
            if (check["outcome"] == "passed") != bool(points)
        ]
        found.append(f"{row['points']} points, due are {points}: {row['reason']} {wrong} {row['notes']}")
    if statuses and row["status"] not in statuses:
        found.append(f"status {row['status']!r}, wanted {statuses}: {row['reason']}")
    if row["status"] != "graded" and not row["reason"]:
        found.append(f"{row['status']} without a reason")
    if row["seconds"] > limit_s:
        found.append(f"took {row['seconds']} s")
    return found
