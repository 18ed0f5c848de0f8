"""A lab as the grader needs it: its checks, and the notebook that students got.

A folder holds a lab: ``checks.py`` (visible checks), the released ``lab.ipynb`` or its ``source.py``, and, if
there are any, ``hidden_checks.py`` and ``inside.py``. A lab of the course keeps hidden checks and the source
in ``solutions/NN_slug``, which students do not have.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scalelab import __version__
from scalelab.core.errors import ConfigError, LabFileError, did_you_mean
from scalelab.core.lazy import require
from scalelab.grader.cells import CodeCell, Refused, SubmittedNotebook, read_submission
from scalelab.grader.limits import Limits, read_limits
from scalelab.grading.checks import Check
from scalelab.grading.loading import load_checks

FILES = ("checks.py", "hidden_checks.py", "inside.py", "lab.toml", "lab.ipynb", "source.py")
_MAGIC = re.compile(r"^([ \t]*)[!%].*$", re.MULTILINE)
_SOLUTION = re.compile(r"^[ \t]*### (?:BEGIN|END) SOLUTION[^\n]*\n?", re.MULTILINE)


@dataclass(frozen=True)
class ReleaseCell:
    """A code cell of the notebook that students got."""

    cell: CodeCell
    task: str = ""
    """the task that it asks for"""


@dataclass(frozen=True)
class Plan:
    """What of a submission is run."""

    cells: tuple[CodeCell, ...]
    """in order, without what the warm process has run already"""
    idle: frozenset[int]
    """numbers of released cells after the last task: they measure and draw, and are run only if need be"""
    idle_names: frozenset[str]
    """what those define: whoever misses one of these names needs them"""
    released: frozenset[int]
    """numbers of cells that are as they were given out: an error there is none of the student's own"""
    tasks: Mapping[str, CodeCell]
    """by the name of the task, where a cell for it was found"""

    @property
    def busy(self) -> tuple[CodeCell, ...]:
        """Return the cells that are run at first."""
        return tuple(cell for cell in self.cells if cell.number not in self.idle)


@dataclass(frozen=True)
class GradedLab:
    """One lab, read from its folder."""

    slug: str
    files: Mapping[str, Path]
    """those of `FILES` that exist"""

    @classmethod
    def load(cls, folder: Path) -> GradedLab:
        """Find the files of a lab.

        Raises:
            ConfigError: the folder is none of a lab.
        """
        folder = Path(folder).resolve()
        solutions = folder.parent.parent / "solutions" / folder.name
        found = {}
        for name in FILES:
            for place in (folder, solutions if folder.parent.name == "labs" else folder):
                if (place / name).is_file():
                    found.setdefault(name, place / name)
        if "checks.py" not in found:
            raise ConfigError(f"{folder} is no lab: it has no checks.py", hint="scalelab lab list")
        if not {"lab.ipynb", "source.py"} & set(found):
            raise ConfigError(
                f"{folder} has no lab.ipynb and no source.py",
                hint="put the notebook that students got there: it tells the tasks from the rest",
            )
        return cls(folder.name, found)

    @property
    def folder(self) -> Path:
        """Return the folder of what students have."""
        return self.files["checks.py"].parent

    @functools.cached_property
    def sha256(self) -> str:
        """Return the hash of all that decides points: the lab's files and ScaleLab's version."""
        code = hashlib.sha256(__version__.encode())
        for name in sorted(self.files):
            if name == "source.py" and "lab.ipynb" in self.files:
                continue
            content = self.files[name].read_bytes()
            code.update(f"\0{name}\0{len(content)}\0".encode() + content)
        return code.hexdigest()

    @functools.cached_property
    def limits(self) -> Limits:
        """Return what a submission may take, as ``[grading]`` of lab.toml says.

        Raises:
            LabFileError: it says what is no limit.
        """
        return read_limits(self.files["lab.toml"]) if "lab.toml" in self.files else Limits()

    @functools.cached_property
    def checks(self) -> tuple[tuple[Check, bool], ...]:
        """Return the checks, each with whether it is hidden; this imports what they need.

        Raises:
            LabFileError: a checks file is broken, or a hidden check has the name of a visible one, or comes
                after none.
        """
        visible = load_checks(self.folder)
        path = self.files.get("hidden_checks.py")
        hidden = load_checks(path.parent, file=path.name) if path else {}
        for name in sorted(set(visible) & set(hidden)):
            raise LabFileError(
                f"{path}: there is a visible check {name!r} already", hint="rename the hidden one"
            )
        for check in (*visible.values(), *hidden.values()):
            if check.after and (check.name not in hidden or check.after not in visible):
                raise LabFileError(
                    f"check {check.name!r} has after={check.after!r}: a hidden one names a visible one there",
                    hint=did_you_mean(check.after, visible),
                )
        return (
            *((check, False) for check in visible.values()),
            *((check, True) for check in hidden.values()),
        )

    @property
    def max_points(self) -> float:
        """Return the points of all checks together."""
        return sum(check.points for check, _ in self.checks)

    @functools.cached_property
    def has_variants(self) -> bool:
        """Tell whether a cell or a check asks for the student's own variant."""
        texts = [path.read_text(encoding="utf-8") for name, path in self.files.items() if name != "lab.toml"]
        return any(".variant" in text for text in texts)

    @functools.cached_property
    def inside_source(self) -> str:
        """Return the text of ``inside.py``; empty if the lab has none."""
        path = self.files.get("inside.py")
        return path.read_text(encoding="utf-8") if path else ""

    @functools.cached_property
    def release(self) -> tuple[ReleaseCell, ...]:
        """Return the code cells that students got, without check cells.

        Raises:
            LabFileError: the notebook cannot be read.
        """
        cells = self._notebook() if "lab.ipynb" in self.files else self._script()
        return tuple(cells)

    @functools.cached_property
    def prefix(self) -> tuple[CodeCell, ...]:
        """Return the cells before the first task: the warm process runs them, once for all.

        They end before a cell that asks for the student's own variant: there, ways part.
        """
        before = []
        for each in self.release:
            if each.task or ".variant" in each.cell.text:
                break
            before.append(each.cell)
        return tuple(before)

    @functools.cached_property
    def preload(self) -> tuple[str, ...]:
        """Return the modules that the released cells and ``inside.py`` import, and what an export will."""
        names: list[str] = []
        texts = [*(each.cell.text for each in self.release), self.inside_source]
        for text in texts:
            for node in ast.walk(_parse(text) or ast.Module([], [])):
                if isinstance(node, ast.Import):
                    names += [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names.append(node.module)
        if any("onnx.export" in text for text in texts):
            names.append("onnxscript")
        return tuple(name for name in dict.fromkeys(names) if name not in {"__future__", "scalelab"})

    def plan(self, submitted: SubmittedNotebook) -> Plan:
        """Choose what of a submission is run.

        Left out are check cells, and the cells before the first task where all are as they were released.
        """
        cells = [cell for cell in submitted.cells if not cell.is_check]
        prefix = [cell.key for cell in self.prefix]
        if prefix == [cell.key for cell in cells[: len(prefix)]]:
            cells = cells[len(prefix) :]
        idle = [cell for cell in cells if cell.key in self._tail]
        names = frozenset[str]().union(*(self._tail[cell.key] for cell in idle))
        given_out = {each.cell.key for each in self.release}
        return Plan(
            tuple(cells),
            frozenset(cell.number for cell in idle),
            names,
            frozenset(cell.number for cell in cells if cell.key in given_out),
            self._find_tasks(submitted.cells),
        )

    def _find_tasks(self, cells: tuple[CodeCell, ...]) -> dict[str, CodeCell]:
        """Return each task's cell: the last that defines its names; where none does, the one with its id."""
        found = {}
        for name, wanted in self.tasks.items():
            defining = [cell for cell in cells if cell.names & wanted]
            hinted = [cell for cell in cells if cell.hint == name]
            for cell in (*hinted[:1], *defining):
                found[name] = cell
        return found

    @functools.cached_property
    def tasks(self) -> dict[str, frozenset[str]]:
        """Return the tasks with the names that each asks for."""
        return {each.task: each.cell.names for each in self.release if each.task}

    @functools.cached_property
    def stubs(self) -> dict[str, str]:
        """Return the code of each task as it was released."""
        return {each.task: each.cell.text for each in self.release if each.task}

    @functools.cached_property
    def _tail(self) -> dict[str, frozenset[str]]:
        """Return the names that each cell after the last task gives, by the cell's key.

        Not those that a student is to fill in, nor those that change what a task asks for.
        """
        last = max((place for place, each in enumerate(self.release) if each.task), default=len(self.release))
        asked = frozenset[str]().union(*self.tasks.values())
        tail = {}
        for each in self.release[last + 1 :]:
            names = _bound(each.cell.text)
            if names is not None and not names & asked and ".explain(" not in each.cell.text:
                tail[each.cell.key] = names
        return tail

    def _notebook(self) -> Iterator[ReleaseCell]:
        path = self.files["lab.ipynb"]
        try:
            submitted = read_submission(path.read_bytes())
        except Refused as error:
            raise LabFileError(f"{path}: {error.reason}", hint="scalelab author build") from None
        for cell in submitted.cells:
            if not cell.is_check:
                yield ReleaseCell(cell, cell.hint)

    def _script(self) -> Iterator[ReleaseCell]:
        """Read the cells of a percent script; from those with solutions only names are taken."""
        text = self.files["source.py"].read_text(encoding="utf-8")
        notebook = require("jupytext", extra="author").reads(text, fmt="py:percent")
        for number, cell in enumerate(notebook.cells, 1):
            if (
                cell.cell_type != "code"
                or "check" in cell.metadata
                or "solution-only" in cell.metadata.get("tags", ())
            ):
                continue
            yield ReleaseCell(
                CodeCell(number, _SOLUTION.sub("", cell.source)), str(cell.metadata.get("task", ""))
            )


def _parse(text: str) -> ast.Module | None:
    """Parse code of the lab's authors; lines of magic count as nothing."""
    try:
        return ast.parse(_MAGIC.sub(r"\1pass", text))
    except SyntaxError:
        return None


def _bound(text: str) -> frozenset[str] | None:
    """Return all names that a cell binds; None where it cannot be told."""
    tree = _parse(text)
    if tree is None:
        return None
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return None if "*" in bound else frozenset(bound)
