"""Code that digs in Python's frames, closures and objects is found, and honest code is not accused."""

from __future__ import annotations

import pytest

from scalelab.authoring.folders import find_labs, load_answers
from scalelab.grader.cells import CodeCell
from scalelab.grader.introspection import MOST, find_introspection
from scalelab.grader.lab import GradedLab


def words(source: str) -> list[str]:
    return [place.rpartition(": ")[2] for place in find_introspection([CodeCell(5, source)])]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import sys\nsys._getframe(1).f_locals['x'] = 1", ["_getframe", "f_locals"]),
        ("race.__closure__[0].cell_contents", ["__closure__", "cell_contents"]),
        ("getattr(sys, '_getframe')", ["_getframe"]),
        ("getattr(sys, '_get' + 'frame')", ["_getframe"]),
        ("getattr(sys, ''.join(['_get', 'frame']))", ["_getframe"]),
        ("getattr(sys, f\"_get{'frame'}\")", ["_getframe"]),
        ("getattr(sys, 'emarfteg_'[::-1])", ["_getframe"]),
        ("import inspect as i\ni.stack()", ["stack"]),
        ("from inspect import (signature,\n    currentframe, stack)", ["currentframe", "stack"]),
        ("from gc import get_referrers as seen", ["get_referrers"]),
        ("import ctypes as c", ["ctypes"]),
        ("import sys; sys.settrace(look)", ["settrace"]),
        ("exec(made)", ["exec"]),
        ("from scalelab.grading import Answers", ["grading"]),
        ("def broken(:\n    x = gc.get_objects(", ["get_objects"]),
        ("(" * 200_000 + "f_back", ["f_back"]),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_digging_is_found(source, found):
    assert words(source) == found


@pytest.mark.parametrize(
    "source",
    [
        "torch.stack(rows); np.trace(x)",
        "model.eval(); torch.compile(model); re.compile('x')",
        "from inspect import signature\nstack = []",
        '"""Not by sys._getframe: by an argument."""',
        "x = 1  # see inspect.stack and ctypes",
        "from scalelab.train import IGNORE",
        "def eval(x):\n    return x",
    ],
)
def test_honest_code_is_not_accused(source):
    assert words(source) == []


def test_a_place_is_told_by_its_cell_and_line_once_for_each_word():
    cells = [CodeCell(3, "\n\nf_back\nf_back"), CodeCell(9, "'''a\nb'''\nx.f_back")]
    assert find_introspection(cells) == ["cell 3, line 3: f_back", "cell 9, line 3: f_back"]
    assert len(find_introspection([CodeCell(n, "f_back") for n in range(99)])) == MOST


@pytest.mark.parametrize("folders", find_labs([]), ids=lambda folders: folders.slug)
def test_no_answer_of_the_labs_is_accused(folders):
    answers = load_answers(folders)
    assert answers
    for task in answers.values():
        for source in (*task.right, *task.wrong.values(), task.crashing):
            assert words(source) == [], source
    lab = GradedLab.load(folders.lab)
    assert [words(each.cell.text) for each in lab.release] == [[] for _ in lab.release]
