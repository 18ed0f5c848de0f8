"""A whole class: every submission a row, whatever happens to the run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import grader_kills as kills
import grader_light as light
import psutil
import pytest
from click.testing import CliRunner

from scalelab.cli import main
from scalelab.core.errors import ConfigError
from scalelab.grader import run as run_module
from scalelab.grader.lab import GradedLab
from scalelab.grader.run import RESULTS, Finished, run_grading
from scalelab.grading.grades import Grade, append_grade, read_grades, scan_grades

pytestmark = pytest.mark.slow
OF_THE_RUN = {"seconds", "machine_load", "graded_at"}


@pytest.fixture
def lab(tmp_path) -> GradedLab:
    return GradedLab.load(light.make_lab(tmp_path / "tinier_lab"))


@pytest.fixture
def key(tmp_path) -> Path:
    path = tmp_path / "course.key"
    path.write_text("secret\n")
    return path


def rows(out: Path) -> dict[str, Grade]:
    return {grade.student: grade for grade in read_grades(out / RESULTS)}


def lasting(out: Path) -> list[dict]:
    """Return what gradebooks are made of: all but the fields that tell when and how long."""
    return [
        {name: value for name, value in vars(grade).items() if name not in OF_THE_RUN}
        for grade in read_grades(out / RESULTS)
    ]


def statuses(finished: Finished) -> dict[str, int]:
    return dict(finished.by_status)


def test_every_submission_gets_a_row_the_same_for_any_number_of_jobs(lab, key, tmp_path):
    submissions = light.fill_class(tmp_path / "class", 15)
    for jobs in (1, 2):
        finished = run_grading(lab, submissions, tmp_path / f"out{jobs}", jobs=jobs, key_file=key)
        assert statuses(finished) == {"graded": 12, "refused": 3}
        assert sum(1 for _ in scan_grades(tmp_path / f"out{jobs}" / RESULTS)) == 15
    assert lasting(tmp_path / "out1") == lasting(tmp_path / "out2")
    points = [grade.points for grade in rows(tmp_path / "out1").values()]
    assert points == [3, 1, 1, 1, 0] * 3


def test_a_second_run_judges_only_what_changed(lab, tmp_path):
    submissions, out = light.fill_class(tmp_path / "class", 5), tmp_path / "out"
    run_grading(lab, submissions, out)
    before = (out / RESULTS).read_bytes()
    finished = run_grading(lab, submissions, out)
    assert (finished.skipped, statuses(finished)) == (5, {})
    assert (out / RESULTS).read_bytes() == before
    (submissions / "student001.ipynb").write_bytes(light.book())
    finished = run_grading(lab, submissions, out)
    assert (finished.skipped, statuses(finished)) == (4, {"graded": 1})
    assert rows(out)["student001"].points == 3


def test_a_changed_lab_judges_all_again(lab, tmp_path):
    submissions, out = light.fill_class(tmp_path / "class", 2), tmp_path / "out"
    run_grading(lab, submissions, out)
    checks = lab.files["checks.py"]
    checks.write_text(checks.read_text().replace("points=2", "points=5"))
    finished = run_grading(GradedLab.load(lab.folder), submissions, out)
    assert finished.skipped == 0
    assert rows(out)["student000"].points == 6


def test_what_cannot_be_read_is_said_once(lab, tmp_path):
    submissions, out = tmp_path / "class", tmp_path / "out"
    for name in ("mira", "zoe"):
        (submissions / name).mkdir(parents=True)
    os.mkfifo(submissions / "mira" / "lab.ipynb")
    (submissions / "zoe" / "lab.zip").write_bytes(b"PK\x03\x04 torn")
    for _ in range(2):
        run_grading(lab, submissions, out)
    assert [(grade.student, grade.status) for grade in scan_grades(out / RESULTS)] == [
        ("mira", "refused"),
        ("zoe", "refused"),
    ]


def test_a_moved_submission_keeps_its_points_and_gets_its_new_path(lab, tmp_path):
    submissions, out = light.fill_class(tmp_path / "class", 2), tmp_path / "out"
    run_grading(lab, submissions, out)
    (submissions / "student000.ipynb").rename(submissions / "student000 (1).ipynb")
    finished = run_grading(lab, submissions, out)
    assert statuses(finished) == {}
    assert rows(out)["student000"].submission == "student000 (1).ipynb"
    assert rows(out)["student000"].points == 3


def test_only_the_named_students_are_judged_again(lab, tmp_path):
    submissions, out = light.fill_class(tmp_path / "class", 3), tmp_path / "out"
    run_grading(lab, submissions, out)
    finished = run_grading(lab, submissions, out, only=["student001"])
    assert (finished.total, statuses(finished)) == (1, {"graded": 1})
    with pytest.raises(ConfigError, match="no submission of 'student01'"):
        run_grading(lab, submissions, out, only=["student01"])


def test_what_came_after_the_due_time_is_marked(lab, tmp_path):
    from datetime import datetime, timezone

    submissions, out = light.fill_class(tmp_path / "class", 2), tmp_path / "out"
    for number, second in enumerate((1_000, 3_000)):
        os.utime(submissions / f"student00{number}.ipynb", (second, second))
    run_grading(lab, submissions, out, due=datetime.fromtimestamp(2_000, timezone.utc))
    assert [grade.late for grade in rows(out).values()] == [False, True]
    assert rows(out)["student001"].submitted_at == "1970-01-01T00:50:00+00:00"


def test_results_inside_the_folder_of_submissions_are_no_submission(lab, tmp_path):
    submissions = light.fill_class(tmp_path / "class", 1)
    for _ in range(2):
        run_grading(lab, submissions, submissions / "grades")
    assert set(rows(submissions / "grades")) == {"student000"}


def test_a_second_run_at_the_same_time_is_refused(lab, tmp_path):
    submissions, out = light.fill_class(tmp_path / "class", 1), tmp_path / "out"

    def meanwhile(_: object) -> None:
        with pytest.raises(ConfigError, match="in use: grading tinier_lab"):
            run_grading(lab, submissions, out)

    run_grading(lab, submissions, out, on_progress=meanwhile)
    assert len(rows(out)) == 1


def test_results_of_another_lab_are_not_mixed(lab, tmp_path):
    append_grade(tmp_path / "out" / RESULTS, Grade("mira", "mira.ipynb", "", "other_lab", "", "graded"))
    with pytest.raises(ConfigError, match="holds grades of other_lab"):
        run_grading(lab, light.fill_class(tmp_path / "class", 1), tmp_path / "out")


def test_a_judge_that_dies_is_replaced_and_its_submission_tried_once_more(lab, tmp_path):
    submissions, out = light.fill_class(tmp_path / "class", 10), tmp_path / "out"
    (submissions / "aaa.ipynb").write_bytes(light.book(name="name = 'a'\nmood = 'kill the judge'"))
    (submissions / "bbb.ipynb").write_bytes(light.book(name="name = 'b'\nmood = 'kill the judge once'"))
    finished = run_grading(lab, submissions, out, jobs=2)
    assert statuses(finished) == {"graded": 9, "refused": 2, "crashed": 1}
    assert rows(out)["aaa"].status == "crashed"
    assert (rows(out)["aaa"].points, rows(out)["aaa"].max_points) == (0, 3)
    assert rows(out)["bbb"].points == 3
    assert any("aaa" in trouble for trouble in finished.troubles)
    assert sum(1 for _ in scan_grades(out / RESULTS)) == 12


def test_a_check_that_hangs_where_no_signal_reaches_it_ends_its_judge_and_costs_one_row(lab, tmp_path):
    checks = lab.folder / "checks.py"
    equal = "set([k * (2**61 - 1) for k in range(2**61, 2**61 + 200_000)])"  # the hash of each is 0
    hangs = f"    if answers.get('mood') == 'hang': {equal}\n"
    text = checks.read_text().replace("    found = answers", hangs + "    found = answers")
    checks.write_text(
        f"{text}\nfrom scalelab.grader import hearing\nhearing._HANGS_AFTER, hearing._HANGS_S = 0, 4\n"
    )
    submissions, out = light.fill_class(tmp_path / "class", 1), tmp_path / "out"
    (submissions / "aaa.ipynb").write_bytes(light.book(name="name = 'a'\nmood = 'hang'"))
    started = time.monotonic()
    assert statuses(run_grading(lab, submissions, out)) == {"graded": 1, "crashed": 1}
    assert time.monotonic() - started < 100, "the judge was ended by the run, much later"


def test_a_broken_lab_ends_the_run_with_its_reason(lab, tmp_path):
    (lab.folder / "checks.py").write_text("import nothing_of_that_name")
    found = CliRunner().invoke(
        main,
        ["grade", str(lab.folder), str(light.fill_class(tmp_path / "c", 2)), "--out", str(tmp_path / "out")],
    )
    assert found.exit_code == 3
    assert "nothing_of_that_name" in found.output


def test_two_files_that_the_names_give_to_one_student_keep_a_row_each(lab, tmp_path):
    folder = light.fill_class(tmp_path / "class", 3)
    names = {"student000": "mira", "student001": "mira", "student002": "ravi"}
    run_grading(lab, folder, tmp_path / "out", names=names)
    students = {grade.student for grade in read_grades(tmp_path / "out" / "results.jsonl")}
    assert students == {"student000", "student001", "ravi"}


def test_no_process_is_left_after_a_run(lab, tmp_path):
    before = set(psutil.Process().children(recursive=True))  # other tests' libraries keep helpers
    run_grading(lab, light.fill_class(tmp_path / "class", 3), tmp_path / "out", jobs=2)
    assert [each.name() for each in psutil.Process().children(recursive=True) if each not in before] == []


def test_the_command_writes_rows_and_gradebook_and_says_how_many(lab, tmp_path):
    submissions, out = light.fill_class(tmp_path / "class", 5), tmp_path / "out"
    found = CliRunner().invoke(
        main, ["grade", str(lab.folder), str(submissions), "--out", str(out), "--jobs", "2"]
    )
    assert found.exit_code == 0, found.output
    assert "5 submissions in" in found.output
    assert "4 graded, 1 refused" in found.output
    assert "student000" in (out / "gradebook.csv").read_text()
    assert (out / "dashboard.html").exists()


def test_only_one_student_by_the_lists_id_and_the_others_are_not_taken_for_missing(lab, tmp_path):
    submissions, out = light.fill_class(tmp_path / "class", 3), tmp_path / "out"
    out.mkdir()
    (out / "roster.csv").write_text("student,login\nS0,student000\nS1,student001\nS2,student002\nS3,x\n")
    words = ["grade", str(lab.folder), str(submissions), "--out", str(out)]
    for name in ("S1", "student001"):
        told = CliRunner().invoke(main, [*words, "--only", name])
        assert told.exit_code == 0, told.output
        assert "2 hand-ins not graded yet, and so in no table (S0, S2)" in told.output
        assert "handed nothing in: S3" in told.output
    assert list(rows(out)) == ["student001"]
    told = CliRunner().invoke(main, [*words, "--only", "S9"])
    assert (told.exit_code, "no submission of 'S9'" in told.output) == (2, True)
    told = CliRunner().invoke(main, words)
    assert "not graded yet" not in told.output
    assert len(rows(out)) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--due", "soon"], "is no time"),
        (["--executor", "ray://x"], "not known"),
        (["--pattern", "x"], "student"),
    ],
)
def test_a_wrong_option_is_explained(lab, tmp_path, options, message):
    submissions = light.fill_class(tmp_path / "class", 1)
    arguments = ["grade", str(lab.folder), str(submissions), "--out", str(tmp_path / "out"), *options]
    found = CliRunner().invoke(main, arguments)
    assert found.exit_code == 2
    assert message in found.output


def test_an_interrupted_run_keeps_its_rows_and_leaves_nothing_running(lab, tmp_path):
    submissions, out = light.fill_class(tmp_path / "class", 40), tmp_path / "out"
    words = ["-m", "scalelab", "grade", str(lab.folder), str(submissions), "--out", str(out), "--jobs", "2"]
    run = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    kills.wait_for_rows(run, out, 3)
    below = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert "interrupted" in said
    assert len(rows(out)) >= 3
    assert psutil.wait_procs(below, timeout=20)[1] == []


def test_many_submissions_need_no_more_memory_than_few(lab, tmp_path):
    """Each is a megabyte that is no notebook: they stream through, some at one time."""
    submissions = tmp_path / "class"
    submissions.mkdir()
    for number in range(300):
        (submissions / f"student{number:05}.ipynb").write_bytes(b"[" + b" " * 2**20 + b"]")
    process, seen = psutil.Process(), []

    def look(progress: run_module.Progress) -> None:
        if progress.done % 25 == 0:
            seen.append(process.memory_info().rss)

    finished = run_grading(lab, submissions, tmp_path / "out", on_progress=look)
    assert statuses(finished) == {"refused": 300}
    assert max(seen) - seen[0] < 100 * 2**20


KILLS = 10


def test_kills_at_random_moments_change_nothing_of_the_gradebook(lab, key, tmp_path):
    submissions = light.fill_class(tmp_path / "class", 24)
    run_grading(lab, submissions, tmp_path / "calm", jobs=2, key_file=key)
    out, rng = tmp_path / "killed", random.Random(0)
    killed = 0
    for moment in range(KILLS):
        process = kills.start(lab.folder, submissions, out, key)
        kills.wait_for_rows(process, out, 2 * moment)
        time.sleep(rng.uniform(0, 0.1))
        killed += kills.kill(process)
    assert killed >= KILLS // 2
    run_grading(lab, submissions, out, jobs=2, key_file=key)
    assert lasting(out) == lasting(tmp_path / "calm")
    assert kills.gradebooks(out) == kills.gradebooks(tmp_path / "calm")
