"""The proof itself: a new lab holds, and each way to break one is found in a child process."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from scalelab.authoring import build_lab, verify_lab
from scalelab.authoring.execute import cards, scores
from scalelab.cli import main

MEAN_OF_RATES = "    return sum(rates) / len(rates)\n"


def problems(lab, *, notebooks=False):
    build_lab(lab)
    return verify_lab(lab, notebooks=notebooks).problems


@pytest.mark.slow
def test_a_new_lab_holds(lab):
    result = verify_lab(lab)
    assert result.holds, result.problems
    assert result.points == 2
    assert result.trials > 20
    assert result.notebook_s > 0
    assert result.peak_memory_bytes > 0


@pytest.mark.slow
def test_the_command_names_the_lab_and_exits_0_or_3(lab, change):
    command = ["author", "verify", "42", "--no-notebooks"]
    good = CliRunner().invoke(main, command)
    assert good.exit_code == 0, good.output
    assert "42_tiny_rate (2 points, " in good.output
    assert good.output.endswith("trials): holds\n")
    change("README.md", "You write", "return answered / elapsed_s")
    bad = CliRunner().invoke(main, command)
    assert bad.exit_code == 3
    assert "1 problem\n  labs/42_tiny_rate/README.md: solution text of 'rate'" in bad.output


@pytest.mark.slow
def test_a_solution_that_is_wrong_is_found(lab, change):
    change("source.py", "return answered / elapsed_s", "return answered / max(seconds)")
    told = "\n".join(problems(lab))
    assert "labs/42_tiny_rate/checks.py: check 'rate': the solution ends as 'failed'" in told


@pytest.mark.slow
def test_an_answer_that_kills_its_process_does_not_kill_ours(lab, change):
    change("answers.py", MEAN_OF_RATES, "    import os; os._exit(7)\n")
    (told,) = problems(lab)
    assert "exit code 7" in told
    assert told.endswith("wrong rate mean-of-rates")


@pytest.mark.slow
def test_a_lab_over_its_memory_budget_is_found(lab, change):
    change("lab.toml", "ram_mib = 1000", "ram_mib = 60")
    told = "\n".join(problems(lab, notebooks=True))
    assert "solutions/42_tiny_rate/solution.ipynb: " in told
    assert "its limit is 60.0 MiB" in told


@pytest.mark.slow
def test_notebooks_that_raise_and_fill_the_disk_are_problems(lab, change):
    change("lab.toml", "disk_mib = 50 ", "disk_mib = 1 ")
    change(
        "source.py",
        "from scalelab.cost",
        "open('big', 'wb').write(bytes(3 << 20))\n1 / 0\nfrom scalelab.cost",
    )
    untouched, raised, wrote = problems(lab, notebooks=True)
    zero = "ZeroDivisionError: division by zero"
    assert untouched == f"labs/42_tiny_rate/lab.ipynb: cell 14, untouched, raises {zero}"
    assert raised == f"solutions/42_tiny_rate/solution.ipynb: cell 16 raises {zero}"
    assert wrote == "solutions/42_tiny_rate/solution.ipynb wrote 3 MiB, lab.toml allows 1"


def test_a_stale_notebook_is_a_problem(lab):
    (lab.lab / "lab.ipynb").write_text('{"cells": [')
    (lab.solution / "answers.py").write_text("ANSWERS = 3")
    told = verify_lab(lab).problems
    assert told[0].startswith("labs/42_tiny_rate/lab.ipynb is not what source.py gives")
    assert "answers.py has no ANSWERS" in told[1]


@pytest.mark.parametrize("name", ["lab.toml", "checks.py", "answers.py", "hidden_checks.py"])
def test_a_missing_file_is_a_problem_with_its_name(lab, name):
    path = lab.lab / name if (lab.lab / name).exists() else lab.solution / name
    path.unlink()
    (told,) = [problem for problem in verify_lab(lab).problems if name in problem][:1]
    assert "is missing" in told


def output(data=None, **others):
    return {"output_type": "execute_result", "data": data, **others}


@pytest.mark.parametrize(
    ("outputs", "score"),
    [
        ([output({"text/plain": "2"})], 2.0),
        ([output({"text/plain": ["0.5"], "text/html": "card"})], 0.5),
        ([], "no output"),
        ([output({"text/plain": "passed"})], "shows 'passed' where its points should be"),
        (
            [{"output_type": "stream", "name": "stderr", "text": "warned"}, output({"text/plain": "2"})],
            "wrote to stderr: warned",
        ),
        ([{"output_type": "error", "ename": "E", "evalue": "v"}], "E: v"),
    ],
)
def test_a_check_cell_scores_as_nbgrader_reads_it(outputs, score):
    metadata = {"nbgrader": {"grade": True, "grade_id": "check-rate", "points": 2}}
    assert scores({"cells": [{"metadata": metadata, "outputs": outputs}, {"metadata": {}}]}) == {
        "rate": score
    }


def test_the_card_of_a_check_cell_is_its_html():
    shown = output({"text/plain": "0", "text/html": ["<b>not ", "attempted</b>"]})
    metadata = {"nbgrader": {"grade": True, "grade_id": "check-rate", "points": 2}}
    assert cards({"cells": [{"metadata": metadata, "outputs": [shown]}]}) == {"rate": "<b>not attempted</b>"}
