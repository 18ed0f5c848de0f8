"""The proof that a lab holds: its checks tell right from wrong, its notebooks run, and nothing leaks."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.authoring.build import build_lab
from scalelab.authoring.execute import cards, errors, scores
from scalelab.authoring.folders import LabFolders, declared_points, load_answers
from scalelab.authoring.judge import judge_answers, judge_trials
from scalelab.authoring.leaks import leaks_in_archive, leaks_in_lab, telling_texts
from scalelab.authoring.trials import Trial
from scalelab.core.errors import LabFileError, RunFailed
from scalelab.core.machine import Neighbours
from scalelab.core.processes import Finished, run

NOTEBOOK_BUDGET_S = 90.0
PATIENCE = 4
"""a notebook is stopped after this many budgets; what takes longer than one is a problem either way"""
TRIALS_LIMIT_S = 600.0
MIB = 2**20


@dataclass(frozen=True)
class Verification:
    """What came out for one lab."""

    slug: str
    problems: tuple[str, ...]
    """each names the file and says what is wrong"""
    points: float = 0.0
    trials: int = 0
    """answers times checks times inputs"""
    notebook_s: float = 0.0
    """wall time of the solution notebook, its kernel's start included"""
    peak_memory_bytes: int = 0
    """largest resident memory of the solution notebook's process tree"""
    disk_bytes: int = 0
    """what the solution notebook left on disk"""

    @property
    def holds(self) -> bool:
        """Tell whether there is no problem."""
        return not self.problems


def verify_lab(
    folders: LabFolders, *, notebooks: bool = True, on_step: Callable[[str], None] = lambda step: None
) -> Verification:
    """Verify one lab; takes about as long as its two notebooks and all its answers.

    Everything that runs learners' code runs in child processes with limits on time and memory.

    Args:
        notebooks: run them too, if they are up to date; without, their budgets and scores stay open.
        on_step: called with the name of each step as it begins.
    """
    problems: list[str] = []
    slug = folders.slug
    on_step("build")
    try:
        stale = [built.path for built in build_lab(folders, only_check=True) if not built.is_fresh]
        for path in stale:
            name = f"{path.parent.parent.name}/{slug}/{path.name}"
            problems.append(f"{name} is not what source.py gives; run: scalelab author build {slug}")
        points = declared_points(folders.read("checks.py"), f"labs/{slug}/checks.py")
        manifest = folders.manifest()
        folders.read("hidden_checks.py")
        if not (folders.lab / "README.md").exists():
            problems.append(f"labs/{slug}/README.md is missing")
        problems += judge_answers(load_answers(folders), points, slug=slug)
        on_step("leaks")
        problems += leaks_in_lab(folders)
    except LabFileError as error:
        return Verification(slug, (*problems, str(error)))
    memory_bytes = int(manifest.get("ram_mib", 0)) * MIB
    with tempfile.TemporaryDirectory() as made:
        work = Path(made)
        on_step("answers")
        trials, failure = _run_trials(folders, work, memory_bytes)
        problems += failure or judge_trials(trials, slug=slug)
        finished, disk_bytes = None, 0
        if notebooks and not stale:
            on_step("student's notebook")
            problems += _run_unsolved(folders, work, memory_bytes, points)
            on_step("solution notebook")
            finished, disk_bytes, failure = _run_solved(folders, work, memory_bytes, points)
            problems += failure
    if disk_bytes > int(manifest.get("disk_mib", 0)) * MIB:
        wrote = f"wrote {disk_bytes / MIB:.0f} MiB, lab.toml allows {manifest.get('disk_mib')}"
        problems.append(f"solutions/{slug}/solution.ipynb {wrote}")
    return Verification(
        slug,
        tuple(problems),
        sum(points.values()),
        len(trials),
        finished.wall_s if finished else 0.0,
        finished.peak_memory_bytes if finished else 0,
        disk_bytes,
    )


def verify_packages(labs: Sequence[LabFolders], root: Path) -> list[str]:
    """Build the wheel and the sdist of the checkout `root`, and return what they give away of the labs.

    Raises:
        RunFailed: the build failed.
    """
    telling = {folders.slug: telling_texts(folders) for folders in labs}
    with tempfile.TemporaryDirectory() as made:
        done = run([sys.executable, "-m", "hatchling", "build", "-d", made], timeout_s=300, cwd=root)
        archives = sorted(Path(made).iterdir())
        if done.returncode or len(archives) != 2:
            raise RunFailed(
                f"the wheel and the sdist cannot be built:\n{done.output[-2000:]}",
                hint='pip install "scalelab[dev]" brings hatchling',
            )
        return [leak for archive in archives for leak in leaks_in_archive(archive, telling)]


def _run_trials(folders: LabFolders, work: Path, memory_bytes: int) -> tuple[list[Trial], list[str]]:
    out = work / "trials.json"
    argv = [folders.slug, folders.lab, folders.solution, out]
    done, failure = _child("trials", argv, folders, work, TRIALS_LIMIT_S, memory_bytes)
    if failure:
        return [], [f"solutions/{folders.slug}/answers.py: {failure}"]
    if done is None or done.returncode or not out.exists():
        ended = f"exit code {done.returncode}; the last lines:\n{done.output[-1500:]}" if done else ""
        return [], [f"solutions/{folders.slug}/answers.py: trying the answers ended with {ended}"]
    return [Trial(**row) for row in json.loads(out.read_text(encoding="utf-8"))], []


def _run_unsolved(folders: LabFolders, work: Path, memory_bytes: int, points: dict[str, float]) -> list[str]:
    name = f"labs/{folders.slug}/lab.ipynb"
    _, document, failure = _execute(
        folders, folders.lab / "lab.ipynb", work / "unsolved", memory_bytes, go_on=True
    )
    if document is None:
        return [f"{name}: {failure}"]
    found, shown = scores(document), cards(document)
    problems = [
        f"{name}: check cell {check!r}, untouched, gives {found.get(check, 'nothing')}, wanted 0"
        for check in points
        if found.get(check) != 0.0
    ]
    problems += [
        f"{name}: check cell {check!r}, untouched, does not say 'not attempted'"
        for check in points
        if found.get(check) == 0.0 and "not attempted" not in shown.get(check, "")
    ]
    problems += [f"{name}: cell {number}, untouched, raises {what}" for number, what in errors(document)]
    return problems


def _run_solved(
    folders: LabFolders, work: Path, memory_bytes: int, points: dict[str, float]
) -> tuple[Finished | None, int, list[str]]:
    name = f"solutions/{folders.slug}/solution.ipynb"
    home = work / "solved"
    neighbours = Neighbours()
    done, document, failure = _execute(folders, folders.solution / "solution.ipynb", home, memory_bytes)
    if done is None or document is None:
        return None, 0, [f"{name}: {failure}"]
    problems = [f"{name}: cell {number} raises {what}" for number, what in errors(document)]
    found = scores(document)
    problems += [
        f"{name}: check cell {check!r} gives {found.get(check, 'nothing')} of {wanted:g} points"
        for check, wanted in points.items()
        if found.get(check) != wanted
    ]
    share = neighbours.share()
    allowed_s = NOTEBOOK_BUDGET_S / max(1 / PATIENCE, 1 - share)  # the budget is that of a machine of its own
    if done.wall_s > allowed_s:
        told = f"others had {share:.0%} of the processors"
        problems.append(f"{name} took {done.wall_s:.0f} s, at most {allowed_s:.0f} s may be ({told})")
    disk_bytes = sum(path.stat().st_size for path in (home / "folder").rglob("*") if path.is_file())
    return done, disk_bytes, problems


def _execute(
    folders: LabFolders, notebook: Path, home: Path, memory_bytes: int, *, go_on: bool = False
) -> tuple[Finished | None, dict[str, Any] | None, str]:
    """Return how the run ended, the executed notebook, and what went wrong if there is none."""
    (home / "folder").mkdir(parents=True)
    out = home / "executed.ipynb"
    argv = [notebook, out, *(["--go-on"] if go_on else [])]
    strict = {} if go_on else {"SCALELAB_STRICT": "1"}
    limit_s = PATIENCE * NOTEBOOK_BUDGET_S
    done, failure = _child("execute", argv, folders, home, limit_s, memory_bytes, strict, cwd=home / "folder")
    if failure or done is None:
        return None, None, failure
    if done.returncode or not out.exists():
        return done, None, f"cannot be run:\n{done.output[-1500:]}"
    return done, json.loads(out.read_text(encoding="utf-8")), ""


def _child(
    module: str,
    argv: Sequence[Any],
    folders: LabFolders,
    home: Path,
    limit_s: float,
    memory_bytes: int,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> tuple[Finished | None, str]:
    """Run a module of ours in a process that writes nothing outside `home`; return how it failed, too."""
    command = [sys.executable, "-m", f"scalelab.authoring.{module}", *map(str, argv)]
    own = {
        "SCALELAB_HOME": str(home / "folder" / "home"),
        "SCALELAB_LABS": str(folders.lab.parent),
        "SCALELAB_STRICT": "0",
        "SCALELAB_SEED": "",
        "SCALELAB_COURSE_KEY": "",
        "JUPYTER_RUNTIME_DIR": str(home / "jupyter"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "IPYTHONDIR": str(home / "ipython"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        return run(
            command,
            timeout_s=limit_s,
            memory_bytes=memory_bytes or None,
            env={**own, **(env or {})},
            cwd=cwd or home,
        ), ""
    except RunFailed as error:
        return None, error.message
