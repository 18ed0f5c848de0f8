"""nbgrader itself reads what is written for it: its import of students, and the columns of its export."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gradebook_classes import graded, write_results

from scalelab.gradebook import write_gradebook

COURSE = """
import sys
from nbgrader.api import Gradebook
from nbgrader.plugins.export import CsvExportPlugin

with Gradebook("sqlite:///gradebook.db") as gradebook:
    gradebook.add_assignment("06_gradient_accumulation")
    plugin = CsvExportPlugin(to="theirs.csv")
    plugin.export(gradebook)
    for student in gradebook.students:
        print(student.id, student.first_name, student.last_name, student.email, sep="|")
"""


@pytest.mark.slow
def test_nbgrader_imports_the_students_and_exports_the_same_columns(tmp_path):
    pytest.importorskip("nbgrader", reason="nbgrader is not installed: pip install nbgrader")
    write_results(tmp_path, [graded("mira"), graded("ravi")])
    roster = tmp_path / "class.csv"
    roster.write_text("id,first_name,last_name,email\nmira,Mira,Rao,m@uni.in\nravi,Ravi,Das,r@uni.in\n")
    write_gradebook(tmp_path, roster=roster)
    run(
        tmp_path,
        "-m",
        "nbgrader",
        "db",
        "student",
        "import",
        "nbgrader.csv",
        "--db",
        "sqlite:///gradebook.db",
    )
    listed = run(tmp_path, "-c", COURSE)
    assert sorted(listed.splitlines()) == ["mira|Mira|Rao|m@uni.in", "ravi|Ravi|Das|r@uni.in"]
    theirs, ours = ((tmp_path / name).read_text().splitlines() for name in ("theirs.csv", "nbgrader.csv"))
    assert ours[0] == theirs[0] + ",id"
    assert [line.split(",")[3:7] for line in ours[1:]] == [
        line.split(",")[3:7] for line in sorted(theirs[1:])
    ]


def run(folder: Path, *args: str) -> str:
    programs = str(Path(sys.executable).parent)  # nbgrader calls alembic by name
    environment = {**os.environ, "HOME": str(folder), "PATH": programs, "JUPYTER_CONFIG_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, *args], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
