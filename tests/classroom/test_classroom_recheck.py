"""A notebook that is checked from outside gets the verdicts it would get inside, and can only end itself."""

from __future__ import annotations

import pytest

from scalelab.classroom import Ledger, find_lab
from scalelab.classroom.rechecking import check_notebook
from scalelab.core.errors import ConfigError

pytestmark = pytest.mark.slow

RIGHT = "def weights(counts):\n    return [n / sum(counts) for n in counts]"
WRONG = "def weights(counts):\n    return [1 / 3] * 3"
CHECK = "lab.check('weights')"


@pytest.fixture
def verdicts(labs):
    """Check a notebook and return its outcomes by task, and the report."""

    def check(path, **limits):
        report = check_notebook(find_lab(3), path, **limits)
        assert [result.name for result in report.results] == ["weights", "speed"]
        return {result.name: result.outcome.value for result in report.results}, report

    return check


def test_cells_and_magics_run_in_order_and_missing_check_cells_are_run_at_the_end(write_notebook, verdicts):
    path = write_notebook("%time 1", RIGHT, CHECK, "noise = 0.1")
    outcomes, report = verdicts(path)
    assert outcomes == {"weights": "passed", "speed": "passed"}
    assert (report.points, report.max_points, report.next_task) == (3, 3, None)


def test_a_cell_that_raises_is_said_and_the_next_ones_run(write_notebook, verdicts):
    outcomes, report = verdicts(write_notebook("1 / 0", "x = = 3", RIGHT, CHECK))
    assert outcomes["weights"] == "passed"
    assert report.notes[0] == "cell 2 (`1 / 0`): ZeroDivisionError: division by zero"
    assert report.notes[1].startswith("cell 3 (`x = = 3`): SyntaxError: invalid syntax")


def test_the_verdict_of_a_task_whose_cell_is_no_python_is_that_error(write_notebook, verdicts):
    broken = "def weights(counts):\n    total = sum(counts)\n    return [n / total for n in counts"
    outcomes, report = verdicts(write_notebook(broken, CHECK, "noise = 0.1"))
    assert outcomes == {"weights": "crashed", "speed": "passed"}
    result = report.results[0]
    assert result.message.startswith("your cell that begins with `def weights(counts):` did not run: Syntax")
    assert "in line 3, `return [n / total for n in counts`: " in result.message
    assert result.code == "cell-ended"  # as the grader says it


def test_a_cell_that_never_ends_is_stopped_and_the_next_ones_run(write_notebook, verdicts):
    outcomes, report = verdicts(write_notebook("while True: 0", RIGHT, CHECK), cell_limit_s=0.5)
    assert outcomes["weights"] == "passed"
    assert report.notes == ("cell 2 (`while True: 0`): did not end in 0.5 s",)


def test_a_cell_that_cannot_be_stopped_ends_with_its_process(write_notebook, verdicts):
    stubborn = "while True:\n    try:\n        while True: 0\n    except BaseException: 0"
    outcomes, report = verdicts(
        write_notebook("noise = 0.1", 'lab.check("speed")', stubborn, CHECK), timeout_s=5
    )
    assert outcomes == {"weights": "crashed", "speed": "passed"}
    assert report.results[0].message == "the notebook did not end in 5.00 s, in cell 4 (`while True:`)"


@pytest.mark.parametrize("end", ["import os; os._exit(0)", "import os; os.kill(os.getpid(), 9)"])
def test_a_notebook_that_ends_python_keeps_what_it_passed(write_notebook, verdicts, end):
    outcomes, report = verdicts(write_notebook(RIGHT, CHECK, end))
    assert outcomes == {"weights": "passed", "speed": "crashed"}
    assert "ended Python itself" in report.results[1].message
    assert "in cell 4" in report.results[1].message


def test_nothing_is_measured_again_and_what_was_never_measured_is_passed_over(write_notebook, verdicts, labs):
    cells = ('m = lab.measure("ratio", lambda: open("ran.txt", "w") and 3.0)', "noise = m.value", RIGHT)
    path = write_notebook(*cells)
    outcomes, report = verdicts(path)
    assert outcomes == {"weights": "passed", "speed": "not attempted"}
    assert report.notes == ()
    Ledger().append("measurement", "03_demo", "ratio", value=0.1, unit="x")
    assert verdicts(path)[0]["speed"] == "passed"
    assert not path.with_name("ran.txt").exists()


def test_a_notebook_of_another_lab_is_refused(write_notebook, verdicts):
    with pytest.raises(ConfigError, match="of lab '06_other'"):
        verdicts(write_notebook(RIGHT, head='from scalelab import Lab\nlab = Lab("06_other")'))


def test_a_notebook_without_its_first_cell_is_still_checked(write_notebook, verdicts):
    outcomes, report = verdicts(write_notebook(RIGHT, CHECK, head="import math"))
    assert outcomes["weights"] == "passed"
    assert report.notes == ("cell 3 (`lab.check('weights')`): NameError: name 'lab' is not defined",)


def test_strict_does_not_change_what_the_terminal_says(write_notebook, verdicts, monkeypatch):
    monkeypatch.setenv("SCALELAB_STRICT", "1")
    outcomes, report = verdicts(write_notebook(WRONG, CHECK))
    assert outcomes["weights"] == "failed"
    assert report.notes == ()


def test_where_progress_cannot_be_saved_the_verdict_comes_with_a_note(
    write_notebook, verdicts, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCALELAB_HOME", str(tmp_path / "file"))
    outcomes, report = verdicts(write_notebook(RIGHT, CHECK, "noise = 0.1", 'lab.check("speed")'))
    assert outcomes == {"weights": "passed", "speed": "passed"}
    (note,) = report.notes
    assert "cannot be written" in note


def test_points_from_the_terminal_are_the_learners(write_notebook, verdicts, labs):
    verdicts(write_notebook(RIGHT, CHECK))
    assert [event.facts["outcome"] for event in Ledger().read(kind="check", name="weights")] == ["passed"]
