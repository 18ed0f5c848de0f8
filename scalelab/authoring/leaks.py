"""Find solution text in what a student gets.

Text is compared without whitespace and comments, statement by statement, as a piece of the other text: a
solution that was wrapped otherwise, quoted in prose or hidden in a notebook's metadata is found too.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tarfile
import tokenize
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from scalelab.authoring.folders import LabFolders, load_answers
from scalelab.authoring.source import parse_code, parse_source, solution_regions

TELLING = 24
"""characters without whitespace from which a statement says something: not ``return total``"""

_COMMENT = re.compile(r"#.*$", re.MULTILINE)
_FORBIDDEN = {"hidden_checks.py", "solution.ipynb", "solutions"}
_FORBIDDEN_IN_LABS = {"answers.py", "source.py"}  # the package has modules of these names
_BINARY = {".npz", ".xz", ".png", ".onnx", ".safetensors", ".parquet", ".woff2", ".pyc"}

_SILENT = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Import,
    ast.ImportFrom,
    ast.For,
    ast.AsyncFor,
    ast.With,
    ast.AsyncWith,
    ast.Try,
)


def telling_texts(folders: LabFolders) -> dict[str, set[str]]:
    """Return, by task, the statements of its solution and right answers that would give it away.

    What a wrong answer holds too gives nothing away, nor do signatures, imports and short statements; a
    solution of nothing else counts as a whole. Cells of the solution only tell something by their long
    strings: model explanations.
    """
    source = parse_source(folders.read("source.py"), folders.shown_source)
    answers = load_answers(folders)
    found = {}
    for name, cell in source.tasks.items():
        task = answers.get(name)
        right = [*solution_regions(source, cell), *(task.right if task else ())]
        wrong = {piece for text in (task.wrong.values() if task else ()) for piece in _statements(text)}
        whole = {_dense(_without_comments(text)) for text in solution_regions(source, cell)}
        found[name] = {piece for text in right for piece in _statements(text)} - wrong or whole
    for cell in source.cells:
        if cell.is_solution_only:
            strings = _texts(parse_code(source, cell, cell.text)) if cell.kind == "code" else [cell.text]
            found[f"cell {cell.number}"] = {
                dense for text in strings if len(dense := _dense(text)) >= TELLING
            }
    return found


def _texts(tree: ast.Module) -> list[str]:
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [value for value in constants if isinstance(value, str)]


def leaks_in(text: str, telling: Mapping[str, set[str]], *, is_whole: bool = False) -> list[str]:
    """Return one sentence for every task whose solution a text gives away.

    Args:
        is_whole: only where the text has *all* of a task's statements, three at least.
    """
    dense = f"{_dense(text)}\n{_dense(_COMMENT.sub('', text))}"
    found = []
    for task, pieces in telling.items():
        seen = sorted(piece for piece in pieces if piece in dense)
        if seen and (not is_whole or (len(seen) >= 3 and len(seen) == len(pieces))):
            found.append(f"solution text of {task!r}: {seen[0][:80]}")
    return found


def leaks_in_lab(folders: LabFolders) -> list[str]:
    """Return what the files of a student's lab folder give away, with the file's name."""
    telling = telling_texts(folders)
    problems = []
    for path in sorted(folders.lab.rglob("*")):
        name = f"labs/{folders.slug}/{path.relative_to(folders.lab).as_posix()}"
        if not path.is_file() or "__pycache__" in path.parts:
            continue
        if _is_forbidden(name):
            problems.append(f"{name}: this file belongs to solutions/")
        elif path.suffix not in _BINARY:
            problems += [f"{name}: {leak}" for leak in leaks_in(_shown(name, path.read_bytes()), telling)]
    return problems


def leaks_in_archive(archive: Path, labs: Mapping[str, Mapping[str, set[str]]]) -> list[str]:
    """Return what a built wheel or sdist gives away: files of solutions/, or their text.

    A lab's own files may hold no statement of its solutions; other files not the whole of one: the package
    shares single statements with any good solution, and a later lab gives what an earlier one built.

    Args:
        labs: the `telling_texts` of every lab, by its slug.
    """
    problems = []
    for name, content in _members(archive):
        if _is_forbidden(name):
            problems.append(f"{archive.name}: {name}: this file belongs to solutions/")
        elif PurePosixPath(name).suffix not in _BINARY:
            text = _shown(name, content)
            for slug, telling in labs.items():
                is_own = slug in PurePosixPath(name).parts
                found = leaks_in(text, telling, is_whole=not is_own)
                problems += [f"{archive.name}: {name}: lab {slug}: {leak}" for leak in found]
    return problems


def _is_forbidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(_FORBIDDEN & set(parts)) or ("labs" in parts[:-1] and parts[-1] in _FORBIDDEN_IN_LABS)


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                yield name, wheel.read(name)
        return
    with tarfile.open(archive) as sdist:
        for member in sdist:
            file = sdist.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name, file.read()


def _shown(name: str, content: bytes) -> str:
    """Return a file's text; of a notebook every string in it, outputs and metadata too."""
    text = content.decode("utf-8", errors="replace")
    if not name.endswith(".ipynb"):
        return text
    try:
        return "\n".join(_strings(json.loads(text)))
    except json.JSONDecodeError:
        return text


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _strings(inner)
    elif isinstance(value, list):
        is_lines = all(isinstance(line, str) for line in value)
        yield from ["".join(value)] if is_lines else (text for inner in value for text in _strings(inner))


def _dense(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _statements(text: str) -> set[str]:
    """Return the telling statements of a piece of code: the simple ones, and conditions.

    The head of a loop tells nothing: every solution and every check goes over ``model.parameters()``.
    """
    try:
        tree = ast.parse(_standing(text))
    except SyntaxError:  # an answer that is no Python gives nothing away; the trials report it
        return set()
    lines = _without_comments(_standing(text)).splitlines()
    pieces = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt) or isinstance(node, _SILENT):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        body = getattr(node, "body", None)
        end = body[0].lineno - 1 if body and body[0].lineno > node.lineno else node.end_lineno
        piece = _dense("\n".join(lines[node.lineno - 1 : end]))
        if len(piece) >= TELLING:
            pieces.add(piece)
    return pieces


def _standing(text: str) -> str:
    """Return code that stands alone: a region from inside a function keeps its ``return`` in one."""
    lines = text.expandtabs(4).splitlines()
    first = next((line for line in lines if line.strip()), "")
    return "def _():\n" + text + "\n" if first.startswith((" ", "\t")) else text


def _without_comments(text: str) -> str:
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(lines)
