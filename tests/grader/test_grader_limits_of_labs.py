"""How long a submission may take: the lab says it, and what ran over its limit leaves less to the rest."""

from __future__ import annotations

import pytest
from grader_tiny import LAB, RIGHT, raw

from scalelab.core.errors import LabFileError
from scalelab.grader.handed import Handed
from scalelab.grader.hearing import REST_S
from scalelab.grader.judge import Judge
from scalelab.grader.lab import GradedLab
from scalelab.grader.limits import Limits, read_limits


def toml(folder, text):
    path = folder / "lab.toml"
    path.write_text(text)
    return path


def test_a_lab_without_a_word_has_the_common_limits(tmp_path):
    assert read_limits(toml(tmp_path, "points = 12")) == Limits()


def test_a_lab_names_the_limits_that_it_needs(tmp_path):
    limits = read_limits(toml(tmp_path, "[grading]\ncell_s = 90\nmemory_bytes = 4_000_000_000"))
    assert (limits.cell_s, limits.memory_bytes) == (90, 4_000_000_000)
    assert limits.submission_s == Limits().submission_s


@pytest.mark.parametrize("line", ["cel_s = 3", "cell_s = 0", "cell_s = 'long'", "cell_s = true"])
def test_what_is_no_limit_is_refused_by_its_name(tmp_path, line):
    with pytest.raises(LabFileError, match="cel"):
        read_limits(toml(tmp_path, f"[grading]\n{line}"))


@pytest.mark.slow
def test_endless_loops_everywhere_end_soon_and_what_works_has_its_points():
    loop = "def {0}(*args):\n    while True:\n        pass"
    answers = {
        **RIGHT,
        **{name: loop.format(name) for name in ("softmax", "quantize_int8", "ring_allreduce")},
    }
    with Judge(GradedLab.load(LAB), key="k") as judge:
        judge.grade(Handed("warm", "warm.ipynb", raw()))
        grade = judge.grade(Handed("loops", "loops.ipynb", raw(answers)))
    assert grade.points == 6.0, grade
    assert grade.seconds < 2 * REST_S + 10, "one whole limit, then short ones"
