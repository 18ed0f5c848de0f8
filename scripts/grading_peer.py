"""The same lab and the same class as nbgrader grades them: tests are cells of the notebook."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grading_class import KINDS, RIGHT, kind_of, release, student

LAB = "lab1"
TESTS = {
    "softmax": """\
np.testing.assert_allclose(softmax(np.array([[0.0, 0.0]])), [[0.5, 0.5]])
### BEGIN HIDDEN TESTS
x = np.random.default_rng(11).normal(size=(5, 9)) * 3
np.testing.assert_allclose(softmax(x), np.exp(x) / np.exp(x).sum(-1, keepdims=True), rtol=1e-6)
assert np.all(np.isfinite(softmax(np.array([[1000.0, 0.0]]))))
### END HIDDEN TESTS""",
    "accumulate_gradients": """\
net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
x, y = torch.randn(10, 6), torch.randn(10, 1)
got = accumulate_gradients(net, torch.nn.functional.mse_loss, x, y, 5)
assert len(got) == 4
### BEGIN HIDDEN TESTS
got = accumulate_gradients(net, torch.nn.functional.mse_loss, x, y, 3)
net.zero_grad(); torch.nn.functional.mse_loss(net(x), y).backward()
for one, parameter in zip(got, net.parameters()):
    assert torch.allclose(one, parameter.grad, atol=1e-6)
### END HIDDEN TESTS""",
    "quantize_int8": """\
q, scale = quantize_int8(torch.tensor([1.0, -1.0]))
assert q.tolist() == [127, -127]
### BEGIN HIDDEN TESTS
x = torch.randn(1000) * 4
q, scale = quantize_int8(x)
assert q.dtype == torch.int8 and math.isclose(float(scale), float(x.abs().max()) / 127, rel_tol=1e-4)
assert torch.allclose(q.float() * scale, x, atol=float(scale) * 0.51)
### END HIDDEN TESTS""",
    "ring_allreduce": """\
out, steps = ring_allreduce([np.ones(4), np.ones(4)])
assert steps == 2 and np.allclose(out[0], 2)
### BEGIN HIDDEN TESTS
parts = [np.random.default_rng(k).normal(size=20) for k in range(4)]
out, steps = ring_allreduce([each.copy() for each in parts])
assert steps == 6 and len(out) == 4
for one in out:
    np.testing.assert_allclose(one, sum(parts), rtol=1e-9)
### END HIDDEN TESTS""",
    "bubble_fraction": """\
assert math.isclose(bubble_fraction(4, 4), 3 / 7)
### BEGIN HIDDEN TESTS
assert math.isclose(bubble_fraction(8, 32), 7 / 39) and abs(bubble_fraction(1, 5)) < 1e-12
### END HIDDEN TESTS""",
    "fast_pairwise": """\
assert fast_pairwise(np.zeros((3, 2))).shape == (3, 3)
### BEGIN HIDDEN TESTS
X = np.random.default_rng(2).normal(size=(80, 16))
t0 = time.perf_counter(); want = np.array([[((a - b) ** 2).sum() for b in X] for a in X])
t1 = time.perf_counter(); got = fast_pairwise(X); t2 = time.perf_counter()
np.testing.assert_allclose(got, want, atol=1e-8)
assert t1 - t0 > 4 * (t2 - t1)
### END HIDDEN TESTS""",
}


def make_course(folder: Path, count: int) -> Path:
    """Make a course of nbgrader's with this lab released and a class of submissions.

    Raises:
        CalledProcessError: nbgrader failed.
    """
    source = folder / "source" / LAB / "lab1.ipynb"
    source.parent.mkdir(parents=True)
    (folder / "nbgrader_config.py").write_text("c = get_config()\nc.CourseDirectory.course_id = 'course'\n")
    source.write_text(json.dumps(_notebook()), encoding="utf-8")
    subprocess.run(nbgrader("generate_assignment", LAB), cwd=folder, env=environment(folder), check=True,
                   capture_output=True)  # fmt: skip
    released = json.loads((folder / "release" / LAB / "lab1.ipynb").read_text(encoding="utf-8"))
    for number in range(count):
        answers = KINDS[kind_of(number)][0]
        for cell in released["cells"]:
            graded = cell["metadata"].get("nbgrader", {})
            if graded.get("solution"):
                cell["source"] = answers[graded["grade_id"]]
        place = folder / "submitted" / student(number) / LAB / "lab1.ipynb"
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps(released), encoding="utf-8")
    return folder


def nbgrader(*words: str) -> list[str]:
    """Return a command of nbgrader."""
    return [sys.executable, "-m", "nbgrader", *words]


def environment(folder: Path) -> dict[str, str]:
    """Return what nbgrader needs; it calls alembic by its name."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "HOME": str(folder)}


def points(folder: Path) -> dict[str, float]:
    """Return what nbgrader gave, by student."""
    subprocess.run(nbgrader("export"), cwd=folder, env=environment(folder), check=True, capture_output=True)
    with (folder / "grades.csv").open(encoding="utf-8") as file:
        return {row["student_id"]: float(row["score"] or 0) for row in csv.DictReader(file)}


def _notebook() -> dict[str, Any]:
    """Return the source notebook: set-up and demonstration of the tiny lab, its tasks, tests as cells."""
    cells = []
    for cell in release()["cells"]:
        graded = cell["metadata"].get("nbgrader", {})
        text = "".join(cell["source"])
        if graded.get("solution"):
            name = graded["grade_id"]
            head, _, body = RIGHT[name].partition("\n")
            solution = f"{head}\n    ### BEGIN SOLUTION\n{body or '    pass'}\n    ### END SOLUTION"
            cells.append(_cell(solution, name, solution=True))
            cells.append(_cell(TESTS[name], f"test-{name}", points=2))
        elif cell["cell_type"] == "code" and not graded and "lab" not in text.split():
            cells.append(_cell(text))
    return {"cells": cells, "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
            "nbformat": 4, "nbformat_minor": 5}  # fmt: skip


def _cell(
    text: str, name: str = "", *, solution: bool = False, points: float | None = None
) -> dict[str, Any]:
    graded = {
        "grade": points is not None, "grade_id": name, "locked": points is not None, "schema_version": 3,
        "solution": solution, "task": False, **({"points": points} if points is not None else {}),
    }  # fmt: skip
    _cell.count = number = getattr(_cell, "count", 0) + 1  # type: ignore[attr-defined]
    return {
        "cell_type": "code", "id": f"cell{number}", "metadata": {"nbgrader": graded} if name else {},
        "execution_count": None, "outputs": [], "source": text,
    }  # fmt: skip


def autograde(students: Sequence[str] = ()) -> list[str]:
    """Return the command that grades the class."""
    return nbgrader("autograde", LAB, "--create", *(f"--student={name}" for name in students))
