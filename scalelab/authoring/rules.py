"""What a lab's source may not do; every refusal names the cell."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from scalelab.authoring.cell_code import calls, fetched, name_of, text_of, undescribed_figures
from scalelab.authoring.source import (
    BEGIN,
    HEADINGS,
    LabSource,
    SourceCell,
    cut_solution,
    parse_code,
    solution_regions,
)
from scalelab.core.errors import LabFileError, did_you_mean

MAX_CELLS_BETWEEN_CHECKS = 5
"""between two checks, and between a section's heading and its first check"""

REPOSITORY = "scalelab/scalelab"
"""where Colab finds the notebooks on github.com, branch main; badges are compared with it, nothing else is"""

_COLAB = re.compile(r"https://colab\.research\.google\.com/github/[^)\s\"'>]*")
_GRADE_ID = re.compile(r"[a-zA-Z0-9_-]+")  # what nbgrader accepts


def check_source(source: LabSource, points: Mapping[str, float], *, slug: str) -> None:
    """Check a source against all rules that need no run.

    Raises:
        LabFileError: the first problem, with file and cell.
    """
    _headings(source)
    _bootstrap(source, slug)
    _markers(source)
    _tasks(source)
    _checks(source, points)
    _distance(source)
    _code(source)
    _predictions(source)


def check_manifest(manifest: Mapping[str, object], points: Mapping[str, float], *, slug: str) -> None:
    """Check that lab.toml is this lab's, and that the points of all checks add up to its points.

    Raises:
        LabFileError: they do not.
    """
    for key, wanted in (("slug", slug), ("number", int(slug[:2]))):
        if manifest.get(key) != wanted:
            problem = f"labs/{slug}/lab.toml: {key} = {manifest.get(key)!r}, but the folder is {slug}"
            raise LabFileError(problem, hint=f"set {key} = {wanted!r}".replace("'", '"'))
    total, stated = sum(points.values()), manifest.get("points")
    if total != stated:
        parts = " + ".join(f"{value:g} ({name})" for name, value in points.items())
        raise LabFileError(
            f"labs/{slug}/lab.toml: points = {stated}, but the check cells give {parts} = {total:g}",
            hint=f"set points = {total:g}, or change the checks",
        )


def check_badges(readme: str, *, slug: str) -> None:
    """Check that every Colab link of a lab's README opens this lab's notebook in `REPOSITORY`.

    Raises:
        LabFileError: one leads elsewhere.
    """
    wanted = f"https://colab.research.google.com/github/{REPOSITORY}/blob/main/labs/{slug}/lab.ipynb"
    for found in _COLAB.findall(readme):
        if found != wanted:
            raise LabFileError(f"labs/{slug}/README.md: a Colab link to {found}", hint=f"write {wanted}")


def check_inside(text: str, *, slug: str) -> None:
    """Check that ``inside.py``, which runs beside the learner's code, only reports and leaves judging alone.

    Raises:
        LabFileError: it is not Python, or it uses the check engine.
    """
    name = f"labs/{slug}/inside.py"
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise LabFileError(f"{name}: not Python: {error.msg} (line {error.lineno})") from None
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if any(module.split(".")[:2] == ["scalelab", "grading"] for module in modules):
            problem = f"{name}: line {node.lineno}: it imports scalelab.grading"
            raise LabFileError(problem, hint="return what was seen, and judge it in checks.py")


def _headings(source: LabSource) -> None:
    found = [(cell, heading) for cell in source.cells for heading in cell.headings]
    for cell, heading in found:
        if heading not in HEADINGS:
            hint = f"{did_you_mean(heading, HEADINGS)}; parts of a section have '###'"
            raise source.error(cell, f"heading '## {heading}' is none of the seven", hint=hint)
    hint = f"each '## ' heading once, in this order: {', '.join(HEADINGS)}"
    names = [heading for _, heading in found]
    for heading in HEADINGS:
        if heading not in names:
            raise LabFileError(f"{source.name}: no cell opens with '## {heading}'", hint=hint)
    for place, (cell, heading) in enumerate(found):
        if heading != HEADINGS[min(place, len(HEADINGS) - 1)] or place >= len(HEADINGS):
            raise source.error(cell, f"heading '## {heading}' is out of order", hint=hint)


def _bootstrap(source: LabSource, slug: str) -> None:
    first = next((cell for cell in source.cells if cell.kind == "code"), None)
    if first is None or f'Lab("{slug}")' not in first.text.replace("'", '"'):
        raise source.error(
            first or source.cells[0],
            "the first code cell does not open this lab",
            hint=f'its lines: from scalelab import Lab; lab = Lab("{slug}")',
        )


def _markers(source: LabSource) -> None:
    for cell in source.cells:
        regions = solution_regions(source, cell)
        if cell.kind != "code" and (cell.task or cell.check):
            raise source.error(cell, "a task or check in a cell without code")
        if regions and not cell.task:
            problem = f"{BEGIN!r} in a cell that is no task"
            raise source.error(cell, problem, hint='open the cell with # %% task="name"')
        if cell.task and not regions:
            problem = "the task has no solution region"
            raise source.error(cell, problem, hint=f"put {BEGIN!r} and '### END SOLUTION' around it")
        if (cell.task or cell.check) and cell.is_solution_only:
            raise source.error(cell, "a task or check cannot be solution-only: students need it")


def _tasks(source: LabSource) -> None:
    if not source.tasks:
        raise LabFileError(f"{source.name}: no cell is a task", hint='open one with # %% task="name"')
    for name, cell in source.tasks.items():
        if not _GRADE_ID.fullmatch(name):
            raise source.error(cell, f"{name!r} is no name", hint="use letters, digits, - and _ only")
        if name not in source.checks:
            raise source.error(cell, "a task without a check", hint=f'add a cell # %% check="{name}"')
        if source.checks[name].number < cell.number:
            hint = "move the check behind the task"
            raise source.error(source.checks[name], "the check comes before its task", hint=hint)
        for node in ast.walk(parse_code(source, cell, cut_solution(source, cell))):
            if isinstance(node, ast.FunctionDef) and _is_stub(node) and not ast.get_docstring(node):
                problem = f"{node.name}() has no docstring"
                raise source.error(
                    cell, problem, hint="say what comes in and goes out, with shapes and units"
                )


def _is_stub(node: ast.FunctionDef) -> bool:
    return any(
        isinstance(part, ast.Raise) and "NotImplementedError" in ast.unparse(part) for part in node.body
    )


def _checks(source: LabSource, points: Mapping[str, float]) -> None:
    for name, cell in source.checks.items():
        if name not in source.tasks:
            raise source.error(cell, "a check without a task", hint=did_you_mean(name, source.tasks))
        if name not in points:
            hint = did_you_mean(name, points) if points else "it is empty"
            raise source.error(cell, "checks.py has no such check", hint=hint)
        if cell.text.strip().replace("'", '"') != f'lab.check("{name}")':
            problem = "a check cell holds more than its check"
            raise source.error(cell, problem, hint=f'write only lab.check("{name}")')
    for name in points:
        if name not in source.checks:
            raise LabFileError(
                f"{source.name}: no cell runs the check {name!r} of checks.py",
                hint=f'add a task and a cell # %% check="{name}"',
            )


def _distance(source: LabSource) -> None:
    """A student never goes far without a word whether all is well; what follows the last check is free."""
    count = 0
    for cell in source.cells:
        if cell.check and count > MAX_CELLS_BETWEEN_CHECKS:
            raise source.error(
                cell,
                f"{count} cells since the last check or heading; at most {MAX_CELLS_BETWEEN_CHECKS} may be",
                hint="join cells, or split the task in two",
            )
        if cell.check or cell.headings:
            count = 0
        elif not cell.is_solution_only:
            count += 1


def _code(source: LabSource) -> None:
    for cell in source.cells:
        if cell.kind != "code":
            continue
        tree = parse_code(source, cell, cell.text)
        if found := fetched(cell.text, tree):
            raise source.error(
                cell,
                f"it installs or downloads: {found}",
                hint="labs run offline: name the extra in lab.toml; the README has the line that installs it",
            )
        if problem := undescribed_figures(tree):
            hint = 'Measurement(..., figure=figure, table=rows, alt="what one sees in it")'
            raise source.error(cell, problem, hint=hint)


def _predictions(source: LabSource) -> None:
    """Each prediction that only the solution makes is asked for in a cell that students have."""
    predicted = [(cell, name) for cell in source.cells for name in _predicted(source, cell)]
    asked = {name for cell, name in predicted if not cell.is_solution_only}
    for cell, name in predicted:
        if name not in asked:
            raise source.error(
                cell,
                f"prediction {name!r} is in the solution only",
                hint=f'add a cell that asks: lab.predict("{name}", "question", unit="", range=(low, high))',
            )


def _predicted(source: LabSource, cell: SourceCell) -> Iterator[str]:
    if cell.kind == "code":
        for call in calls(parse_code(source, cell, cell.text)):
            if name_of(call) == "predict" and call.args and (name := text_of(call.args[0])):
                yield name
