"""Where a lab lies: ``labs/NN_slug`` for students, ``solutions/NN_slug`` for authors."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.core.errors import ConfigError, LabFileError, did_you_mean
from scalelab.core.paths import shipped

if TYPE_CHECKING:
    from scalelab.grading import Task

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SLUG = re.compile(r"\d\d_[a-z0-9]+(_[a-z0-9]+)*")


@dataclass(frozen=True)
class LabFolders:
    """The two folders of one lab."""

    slug: str
    lab: Path
    """what a student gets"""
    solution: Path
    """what authors and graders have"""

    @property
    def source(self) -> Path:
        """Return the only hand-written notebook."""
        return self.solution / "source.py"

    @property
    def shown_source(self) -> str:
        """Return the source's name for messages."""
        return f"solutions/{self.slug}/source.py"

    def read(self, name: str) -> str:
        """Return the text of a file of the lab: ``source.py``, ``checks.py``, ...

        Raises:
            LabFileError: it is missing or not UTF-8.
        """
        solutions = {"source.py", "answers.py", "hidden_checks.py", "solution.ipynb"}
        path = (self.solution if name in solutions else self.lab) / name
        shown = f"{path.parent.parent.name}/{self.slug}/{name}"
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise LabFileError(f"{shown} is missing", hint=f"looked in {path.parent}") from None
        except UnicodeDecodeError as error:
            raise LabFileError(f"{shown} is not UTF-8: {error}") from None

    def manifest(self) -> dict[str, Any]:
        """Return lab.toml.

        Raises:
            LabFileError: it is not TOML.
        """
        try:
            return tomllib.loads(self.read("lab.toml"))
        except tomllib.TOMLDecodeError as error:
            raise LabFileError(f"labs/{self.slug}/lab.toml: {error}") from None


def find_labs(names: Sequence[str] = ()) -> list[LabFolders]:
    """Return labs by slug (``06_gradient_accumulation``) or number (``06``, ``6``); all by default.

    Raises:
        ConfigError: there is no solutions folder beside the labs, or no such lab.
    """
    labs = shipped("labs")
    solutions = labs.parent / "solutions"
    if not solutions.is_dir():
        raise ConfigError(
            f"there is no folder {solutions}",
            hint="sources of labs are in a checkout, not in an installed package",
        )
    slugs = sorted(path.parent.name for path in solutions.glob("*/source.py"))
    found = [_find(name, slugs) for name in names] if names else slugs
    return [LabFolders(slug, labs / slug, solutions / slug) for slug in dict.fromkeys(found)]


def _find(name: str, slugs: Sequence[str]) -> str:
    wanted = Path(name).name
    for slug in slugs:
        if wanted == slug or (wanted.isdigit() and int(wanted) == int(slug[:2])):
            return slug
    raise ConfigError(f"no lab {name!r} in solutions/", hint=did_you_mean(wanted, slugs) if slugs else "")


def declared_points(text: str, name: str = "checks.py") -> dict[str, float]:
    """Return the points of every check by its name, in order, from the decorators of a checks file.

    Read, not run: a build is a function of texts, and importing what checks need takes seconds.

    Raises:
        LabFileError: a decorator's name or points are not literals, or a name is there twice.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise LabFileError(f"{name}: not Python: {error.msg} (line {error.lineno})") from None
    points: dict[str, float] = {}
    for node in tree.body:
        for call in getattr(node, "decorator_list", []):
            if not (
                isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "check"
            ):
                continue
            given = list(call.args[:1])
            given += [keyword.value for keyword in call.keywords if keyword.arg == "points"]
            values = [value.value for value in given if isinstance(value, ast.Constant)]
            if len(values) != 2 or not isinstance(values[0], str) or not isinstance(values[1], int | float):
                raise LabFileError(
                    f"{name}: line {call.lineno}: @check without a literal name and points",
                    hint='write @check("name", points=2, ...): a build reads the file, it does not run it',
                )
            if values[0] in points:
                raise LabFileError(f"{name}: line {call.lineno}: check {values[0]!r} is there already")
            points[values[0]] = values[1]
    return points


def load_answers(folders: LabFolders) -> dict[str, Task]:
    """Return the trial answers of a lab's tasks: texts of code, not run here.

    Raises:
        LabFileError: answers.py does not run or has no ``ANSWERS`` of `Task`.
    """
    name = f"solutions/{folders.slug}/answers.py"
    module: dict[str, Any] = {"__name__": "answers", "__file__": name}
    try:
        exec(compile(folders.read("answers.py"), name, "exec"), module)
    except LabFileError:
        raise
    except Exception as error:
        raise LabFileError(f"{name} does not run: {type(error).__name__}: {error}") from None
    from scalelab.grading import Task

    answers = module.get("ANSWERS")
    if not isinstance(answers, dict) or not all(isinstance(task, Task) for task in answers.values()):
        raise LabFileError(f"{name} has no ANSWERS", hint='ANSWERS = {"task": Task(right=[...], ...)}')
    return answers
