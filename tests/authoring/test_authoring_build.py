from __future__ import annotations

import ast
import json

import nbformat
import pytest
from click.testing import CliRunner

from scalelab.authoring import build_lab, build_notebook, find_labs, new_lab
from scalelab.authoring.folders import declared_points
from scalelab.cli import main
from scalelab.core.errors import ConfigError, LabFileError
from scalelab.grading import load_checks

POINTS = {"rate": 2}


def cells(lab, audience):
    text = lab.read("source.py")
    return json.loads(build_notebook(text, POINTS, audience, slug=lab.slug))["cells"]


def test_the_same_source_gives_the_same_bytes(lab):
    text = lab.read("source.py")
    for audience in ("student", "solution"):
        first = build_notebook(text, POINTS, audience, slug=lab.slug)
        assert first == build_notebook(text, POINTS, audience, slug=lab.slug)


@pytest.mark.parametrize("audience", ["student", "solution"])
def test_a_notebook_is_valid_and_has_no_outputs(lab, audience):
    notebook = nbformat.reads(
        build_notebook(lab.read("source.py"), POINTS, audience, slug=lab.slug).decode(), as_version=4
    )
    nbformat.validate(notebook)
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert codes
    assert all(cell.outputs == [] and cell.execution_count is None for cell in codes)


def test_the_student_gets_a_stub_and_the_solution_keeps_its_markers(lab):
    (student,) = [c for c in cells(lab, "student") if "def overall_rate" in "".join(c["source"])]
    (solution,) = [c for c in cells(lab, "solution") if "def overall_rate" in "".join(c["source"])]
    assert "".join(student["source"]).endswith("    # your code here\n    raise NotImplementedError")
    assert "### BEGIN SOLUTION" in "".join(solution["source"])
    assert student["id"] == solution["id"]


def test_cells_of_the_solution_only_are_left_out_for_students(lab):
    assert "guess=160" in str(cells(lab, "solution"))
    assert "guess=160" not in str(cells(lab, "student"))


def test_graded_cells_have_nbgraders_metadata(lab):
    graded = [c["metadata"] for c in cells(lab, "student") if c["metadata"]]
    assert graded == [
        {
            "deletable": False,
            "nbgrader": {
                "grade": False,
                "grade_id": "rate",
                "locked": False,
                "schema_version": 3,
                "solution": True,
                "task": False,
            },
        },
        {
            "deletable": False,
            "editable": False,
            "nbgrader": {
                "grade": True,
                "grade_id": "check-rate",
                "locked": True,
                "points": 2,
                "schema_version": 3,
                "solution": False,
                "task": False,
            },
        },
    ]


def test_a_build_reads_the_points_that_the_checks_have(lab):
    declared = declared_points(lab.read("checks.py"))
    assert declared == {name: check.points for name, check in load_checks(lab.lab).items()}


def test_points_that_are_not_literals_are_refused_with_their_line():
    with pytest.raises(LabFileError, match="line 1: @check without a literal"):
        declared_points('@check("a", points=N, hints=())\ndef f(answers): ...\n')


def test_a_build_writes_only_what_changed(lab):
    assert all(built.is_fresh for built in build_lab(lab))
    notebook = lab.lab / "lab.ipynb"
    notebook.write_text("{}")
    assert [built.path for built in build_lab(lab, only_check=True) if not built.is_fresh] == [notebook]
    assert notebook.read_text() == "{}"
    build_lab(lab)
    assert all(built.is_fresh for built in build_lab(lab))


def test_check_names_a_stale_notebook_and_exits_1(lab, change):
    assert CliRunner().invoke(main, ["author", "build", "--check"]).exit_code == 0
    change("source.py", "300 requests in 1 s", "900 requests in 3 s")
    done = CliRunner().invoke(main, ["author", "build", "42", "--check"])
    assert done.exit_code == 1
    assert "labs/42_tiny_rate/lab.ipynb: STALE" in done.output


def test_labs_are_found_by_slug_number_and_path(lab):
    for name in ("42_tiny_rate", "42", "labs/42_tiny_rate"):
        assert [found.slug for found in find_labs([name])] == ["42_tiny_rate"]


def test_an_unknown_lab_is_answered_with_the_one_that_was_meant(lab):
    with pytest.raises(ConfigError) as caught:
        find_labs(["42_tiny_rat"])
    assert caught.value.hint == "did you mean '42_tiny_rate'?"


def test_a_refused_source_is_an_error_of_two_lines_and_exit_code_3(lab, change):
    change("source.py", "    ### END SOLUTION\n", "")
    done = CliRunner().invoke(main, ["author", "build"])
    assert done.exit_code == 3
    assert "error: solutions/42_tiny_rate/source.py: cell " in done.output


def test_new_touches_nothing_that_is_there(lab):
    before = lab.read("source.py")
    for slug in ("42_tiny_rate", "42_other"):
        with pytest.raises(ConfigError, match=r"number 42 is taken by .*42_tiny_rate"):
            new_lab(slug)
    assert lab.read("source.py") == before


def test_new_writes_nothing_into_an_installed_package(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALELAB_LABS", str(tmp_path / "_files" / "labs"))
    with pytest.raises(ConfigError, match="installed package"):
        new_lab("42_tiny_rate")
    assert not list(tmp_path.iterdir())


def test_new_makes_the_folders_of_a_first_lab(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALELAB_LABS", str(tmp_path / "labs"))
    new_lab("42_tiny_rate")
    assert [found.slug for found in find_labs()] == ["42_tiny_rate"]


@pytest.mark.parametrize("slug", ["tiny", "4_tiny", "42-tiny", "42_Tiny", "42_", "../42_tiny"])
def test_what_is_no_slug_is_refused(course, slug):
    with pytest.raises(ConfigError, match="is not a slug"):
        new_lab(slug)
    assert not list((course / "labs").iterdir())


def test_every_file_of_a_new_lab_is_python_and_says_its_name(lab):
    for name in ("source.py", "checks.py", "answers.py", "hidden_checks.py"):
        ast.parse(lab.read(name))
        assert "{" + "slug}" not in lab.read(name)
    assert lab.manifest()["title"] == "Tiny rate"
