"""The one source of a lab: its cells, its tasks, and the text a student gets in place of a solution."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from scalelab.authoring.render import marker_lines, read_script
from scalelab.core.errors import LabFileError, did_you_mean

BEGIN = "### BEGIN SOLUTION"
END = "### END SOLUTION"
HEADINGS = ("Question", "What you need", "Predict", "Build", "Measure", "Explain", "Cost")
"""of every lab, in this order"""

_OPTIONS = {"task", "check", "tags"}
_TAGS = {"solution-only", "parameters"}
_MARKER = re.compile(r"^\s*#+\s*(BEGIN|END) SOLUTION\b", re.IGNORECASE)
_OTHER_MARKER = re.compile(r"^\s*#+\s*(BEGIN|END) (HIDDEN TESTS|MARK SCHEME)\b", re.IGNORECASE)
_HEADING = re.compile(r"^##[ \t]+(.+)$", re.MULTILINE)
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_MAGIC = re.compile(r"^(\s*)([!%].*)$", re.MULTILINE)


@dataclass(frozen=True)
class SourceCell:
    """One cell of a lab's source."""

    kind: str
    """code or markdown"""
    text: str
    number: int
    """from 1"""
    line: int
    """of the source at which it opens; 0 if unknown"""
    task: str = ""
    """name of the graded task that a student solves here"""
    check: str = ""
    """name of the check that this cell runs"""
    tags: tuple[str, ...] = ()

    @property
    def is_solution_only(self) -> bool:
        """Tell whether the student's notebook leaves this cell out."""
        return "solution-only" in self.tags

    @property
    def headings(self) -> list[str]:
        """Return the texts of its ``##`` headings."""
        if self.kind != "markdown":
            return []
        return [found.strip() for found in _HEADING.findall(_FENCED.sub("", self.text))]


@dataclass(frozen=True)
class LabSource:
    """The cells of a lab, in order."""

    name: str
    """of the file, for messages"""
    cells: tuple[SourceCell, ...]

    @property
    def tasks(self) -> dict[str, SourceCell]:
        """Return the task cells by name."""
        return {cell.task: cell for cell in self.cells if cell.task}

    @property
    def checks(self) -> dict[str, SourceCell]:
        """Return the check cells by name."""
        return {cell.check: cell for cell in self.cells if cell.check}

    def error(self, cell: SourceCell, problem: str, *, hint: str = "") -> LabFileError:
        """Return the error that names the file and the cell."""
        what = (
            f" ({'task' if cell.task else 'check'} {cell.task or cell.check!r})"
            if cell.task or cell.check
            else ""
        )
        at = f", line {cell.line}" if cell.line else ""
        return LabFileError(f"{self.name}: cell {cell.number}{at}{what}: {problem}", hint=hint)


def parse_source(text: str, name: str = "source.py") -> LabSource:
    """Read a percent script.

    Raises:
        LabFileError: an option of a cell is unknown, or a task or check is there twice.
    """
    script = read_script(text)
    lines = marker_lines(text)
    if len(lines) != len(script):  # text before the first marker, or a marker inside a string
        lines = [0] * len(script)
    cells = []
    for number, ((kind, body, options), line) in enumerate(zip(script, lines, strict=True), 1):
        options.pop("lines_to_next_cell", None)
        options.pop("lines_to_end_of_cell_marker", None)
        cell = SourceCell(
            kind,
            body,
            number,
            line,
            str(options.get("task", "")),
            str(options.get("check", "")),
            tuple(options.get("tags", ())),
        )
        cells.append(cell)
        for given, known in ((options, _OPTIONS), (cell.tags, _TAGS)):
            for word in set(given) - known:
                raise LabSource(name, ()).error(
                    cell, f"unknown option {word!r}", hint=did_you_mean(word, known)
                )
    source = LabSource(name, tuple(cells))
    for what in ("task", "check"):
        seen: dict[str, SourceCell] = {}
        for cell in cells:
            key = getattr(cell, what)
            if key and key in seen:
                raise source.error(cell, f"{what} {key!r} is there already, in cell {seen[key].number}")
            seen[key] = cell
    return source


def cut_solution(source: LabSource, cell: SourceCell) -> str:
    """Return a task cell as a student gets it.

    Inside a function a region becomes ``raise NotImplementedError``; at the top level every public name that
    the region assigns becomes ``name = ...``.

    Raises:
        LabFileError: markers are unbalanced, or what is left is not Python or keeps no name to fill in.
    """
    kept: list[str] = []
    for is_solution, lines in _regions(source, cell):
        if not is_solution:
            kept += lines
            continue
        indent = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
        if indent:
            kept += [f"{indent}# your code here", f"{indent}raise NotImplementedError"]
        else:
            kept += ["# your code here", *(f"{name} = ..." for name in _assigned(source, cell, lines[1:-1]))]
    text = "\n".join(kept)
    parse_code(source, cell, text, "the student's version")
    return text


def solution_regions(source: LabSource, cell: SourceCell) -> list[str]:
    """Return the text between each pair of markers of a cell."""
    return ["\n".join(lines[1:-1]) for is_solution, lines in _regions(source, cell) if is_solution]


def parse_code(source: LabSource, cell: SourceCell, text: str, what: str = "the cell") -> ast.Module:
    """Parse a cell's code; lines of magic and shell commands count as ``pass``.

    Raises:
        LabFileError: it is not Python.
    """
    try:
        return ast.parse(_MAGIC.sub(r"\1pass", text))
    except SyntaxError as error:
        raise source.error(cell, f"{what} is not Python: {error.msg} (its line {error.lineno})") from None


def _regions(source: LabSource, cell: SourceCell) -> Iterator[tuple[bool, list[str]]]:
    """Yield (is a solution, lines with their markers)."""
    lines: list[str] = []
    is_inside = False
    for line in cell.text.splitlines():
        if _OTHER_MARKER.match(line):
            raise source.error(cell, f"marker {line.strip()!r}", hint="hidden checks are in hidden_checks.py")
        marker = _MARKER.match(line)
        if marker and line.strip() not in {BEGIN, END}:
            raise source.error(cell, f"marker {line.strip()!r}", hint=f"write {BEGIN!r} or {END!r}")
        begins = marker is not None and marker.group(1) == "BEGIN"
        if marker and begins == is_inside:
            problem = "a solution region begins inside another" if is_inside else f"{END!r} without a begin"
            raise source.error(cell, f"unbalanced markers: {problem}")
        if begins:
            yield False, lines
            lines, is_inside = [line], True
        elif marker:
            yield True, [*lines, line]
            lines, is_inside = [], False
        else:
            lines.append(line)
    if is_inside:
        raise source.error(cell, f"unbalanced markers: {BEGIN!r} without {END!r}")
    yield False, lines


def _assigned(source: LabSource, cell: SourceCell, lines: list[str]) -> list[str]:
    tree = parse_code(source, cell, "\n".join(lines), "the solution region")
    names: list[str] = []
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            raise source.error(
                cell,
                f"the solution region holds the whole of {statement.name!r}",
                hint="put the markers inside its body, so that the student keeps the signature and docstring",
            )
        targets = (
            statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        )
        for target in targets:
            if isinstance(target, ast.Name) and not target.id.startswith("_") and target.id not in names:
                names.append(target.id)
    if not names:
        raise source.error(
            cell, "the solution region assigns no public name", hint="assign the answer: name = ..."
        )
    return names
