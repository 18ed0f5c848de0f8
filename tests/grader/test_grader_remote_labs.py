"""Every trial answer of the labs gets the same verdict, in the same words, over the wire as in a notebook."""

from __future__ import annotations

import contextlib
import linecache
import re

import pytest
from grader_forks import Forks

from scalelab.grading import load_checks, run_check
from scalelab.grading.beside import inside_file

folders = pytest.importorskip("scalelab.authoring.folders")
pytest.importorskip("jupytext")
from scalelab.authoring.source import parse_source  # noqa: E402
from scalelab.authoring.trials import _definitions, _variants  # noqa: E402

pytestmark = pytest.mark.slow
SEED = 11


def cells_of(source, answers, texts, kind):
    """Return the code that a trial runs, piece by piece, as `scalelab author verify` does."""
    with_context = kind != "unsolved"
    for cell in source.cells:
        if cell.task:
            if with_context and cell.task in answers:
                yield answers[cell.task].context
            yield texts[cell.task]
        elif cell.kind == "code" and not cell.check and (with_context or not cell.is_solution_only):
            yield from _definitions(source, cell)


def in_words(result):
    """Return the report without what hash() gave, which differs from process to process."""
    return re.sub(r"'[0-9a-f]{12}'", "'...'", str(result))


def in_a_notebook(cells):
    names = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        file = f"<cell {number}>"
        linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
        with contextlib.suppress(Exception, SystemExit):
            exec(compile(cell, file, "exec"), names)
    return names


@pytest.mark.parametrize("number", ["00", "01", "06"])
def test_the_verdict_is_that_of_the_notebook(number):
    lab = folders.find_labs([number])[0]
    source, answers = parse_source(lab.read("source.py")), folders.load_answers(lab)
    checks = {
        **load_checks(lab.lab),
        **{f"hidden {name}": c for name, c in load_checks(lab.solution, file="hidden_checks.py").items()},
    }
    inside = inside_file(lab.lab)
    imports = [text for cell in source.cells if cell.kind == "code" and not cell.task
               for text in _definitions(source, cell) if text.startswith(("import", "from"))]  # fmt: skip
    forks = Forks("import torch, torch._dynamo; torch.set_num_threads(1)", *imports)
    compared, different = 0, []
    try:
        for task, kind, label, texts in _variants(source, answers):
            cells = [cell.lstrip("\n") for cell in cells_of(source, answers, texts, kind)]
            names = in_a_notebook(cells)
            with forks.learner(*cells, inside=inside.read_text() if inside else "") as remote:
                for name, check in checks.items():
                    if task and kind != "right" and check.name != task:
                        continue
                    here = run_check(check, names, seed=SEED)
                    there = run_check(check, remote, seed=SEED)
                    compared += 1
                    if in_words(here) != in_words(there) or here.code != there.code:
                        different.append(f"{task} {kind} {label}, {name}:\n  {here}\n  {there}")
    finally:
        forks.close()
    assert compared > 60
    assert not different, f"{len(different)} of {compared}\n" + "\n".join(different)
