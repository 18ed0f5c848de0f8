"""One source: the student's notebook without solutions, the solution, and what nbgrader makes its own of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scalelab.authoring.folders import LabFolders, declared_points
from scalelab.authoring.render import NotebookCell, cell_id, render, write_if_changed
from scalelab.authoring.rules import check_badges, check_inside, check_manifest, check_source
from scalelab.authoring.source import LabSource, SourceCell, cut_solution, parse_source

Audience = Literal["student", "solution", "nbgrader"]
"""nbgrader makes the student's notebook itself, from solutions between markers"""


@dataclass(frozen=True)
class Built:
    """One notebook of a lab after a build."""

    path: Path
    is_fresh: bool
    """it held these bytes before the build"""


def build_notebook(text: str, points: Mapping[str, float], audience: Audience, *, slug: str) -> bytes:
    """Return a lab's notebook for an audience.

    A pure function: cell ids are made of the slug and the task's name or the cell's place, and there are no
    outputs and no time stamps, so the same arguments give the same bytes everywhere.

    Args:
        text: the lab's source, a percent script.
        points: of each check, by name.

    Raises:
        LabFileError: the source breaks a rule of the classroom; the message names the cell.
    """
    source = parse_source(text, f"solutions/{slug}/source.py")
    check_source(source, points, slug=slug)
    return render(
        [
            NotebookCell(
                cell.kind,
                cut_solution(source, cell) if cell.task and audience == "student" else cell.text,
                cell_id(slug, *_key(cell)),
                _metadata(source, cell, points, audience),
            )
            for cell in source.cells
            if audience == "solution" or not cell.is_solution_only  # nbgrader would give these to students
        ]
    )


def build_lab(folders: LabFolders, *, only_check: bool = False) -> list[Built]:
    """Write a lab's two notebooks where they differ from their source; with `only_check` write nothing.

    Raises:
        LabFileError: a file of the lab is missing or breaks a rule.
    """
    text = folders.read("source.py")
    points = declared_points(folders.read("checks.py"), f"labs/{folders.slug}/checks.py")
    check_manifest(folders.manifest(), points, slug=folders.slug)
    for name, check in (("README.md", check_badges), ("inside.py", check_inside)):
        if (folders.lab / name).exists():
            check(folders.read(name), slug=folders.slug)
    notebooks = {
        folders.lab / "lab.ipynb": build_notebook(text, points, "student", slug=folders.slug),
        folders.solution / "solution.ipynb": build_notebook(text, points, "solution", slug=folders.slug),
    }
    return [
        Built(path, write_if_changed(path, content, only_check=only_check))
        for path, content in notebooks.items()
    ]


def build_for_nbgrader(folders: LabFolders, into: Path) -> Path:
    """Write a lab into the ``source`` folder of an nbgrader course; ``nbgrader generate_assignment`` goes on.

    Returns:
        ``into/NN_slug/lab.ipynb``, with solutions between nbgrader's markers.

    Raises:
        LabFileError: a file of the lab is missing or breaks a rule.
    """
    points = declared_points(folders.read("checks.py"), f"labs/{folders.slug}/checks.py")
    notebook = build_notebook(folders.read("source.py"), points, "nbgrader", slug=folders.slug)
    path = into / folders.slug / "lab.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_if_changed(path, notebook)
    return path


def _key(cell: SourceCell) -> tuple[str | int, ...]:
    return (
        ("task", cell.task) if cell.task else ("check", cell.check) if cell.check else ("cell", cell.number)
    )


def _metadata(
    source: LabSource, cell: SourceCell, points: Mapping[str, float], audience: Audience
) -> dict[str, Any]:
    """Return nbgrader's metadata (schema 3) of a graded cell; for students its locks too."""
    metadata: dict[str, Any] = {"tags": list(cell.tags)} if cell.tags else {}
    if not (cell.task or cell.check):
        return metadata
    grader: dict[str, Any] = {
        "grade": bool(cell.check),
        "grade_id": f"check-{cell.check}" if cell.check else cell.task,
        "locked": bool(cell.check),
        "schema_version": 3,
        "solution": bool(cell.task),
        "task": False,
    }
    if cell.check:
        grader["points"] = points[cell.check]
    metadata["nbgrader"] = grader
    if audience == "student":  # as nbgrader itself locks what it releases
        metadata |= {"deletable": False} | ({"editable": False} if cell.check else {})
    return metadata
