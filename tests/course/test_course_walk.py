"""A term on the command line: six hand-ins from the first command to the course system's table."""

from __future__ import annotations

import csv
import sys
import time
import zipfile

import pytest
from click.testing import CliRunner
from course_lab import SLUG, SOLVED, handed_in

from scalelab.cli import main
from scalelab.grading.grades import read_grades
from scalelab.grading.variants import student_variant

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform == "win32", reason="only on systems where a test can set the time zone"),
]

ROSTER = """student,name,email,login
21/CSE/001,Mira Rao,mira@example.org,mira
21/CSE/002,Noor Khan,noor@example.org,noor
21/CSE/003,Asha Iyer,asha@example.org,asha
21/CSE/004,Ravi Das,ravi@example.org,ravi
21/CSE/005,Lena Vogt,lena@example.org,lena
21/CSE/006,Tom Li,tom@example.org,tom
21/CSE/007,Uma Sen,uma@example.org,uma
"""
LABS = f"""
[labs."{SLUG}"]
due = 2026-11-25T23:59:00
column = "Lab 41 (1234)"
extensions = {{ "21/CSE/005" = 2026-12-07T23:59:00 }}
"""
IN_TIME, LATE = (2026, 11, 25, 10, 0, 0), (2026, 11, 26, 10, 0, 0)
PADDED = "def padded(count):\n    return -(-count // {block}) * {block}"


@pytest.fixture
def term(tmp_path, lab_folder, monkeypatch):
    """Return a function that runs a command in the course's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")  # of the times in an archive
    time.tzset()

    def scalelab(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, ["course", *words])
        assert result.exit_code == code, result.output
        return result.output

    scalelab("new", "term", "--name", "ML systems", "--time-zone", "Asia/Kolkata")
    monkeypatch.chdir(tmp_path / "term")
    toml = tmp_path / "term" / "course.toml"
    toml.write_text(toml.read_text(encoding="utf-8") + LABS, encoding="utf-8")
    (tmp_path / "term" / "roster.csv").write_text(ROSTER, encoding="utf-8")
    yield scalelab
    monkeypatch.undo()
    time.tzset()


def copied_from(key, student):
    block = student_variant(key, student=student, lab=SLUG).integer("block", 100, 100_000)
    return SOLVED | {"padded": PADDED.format(block=block)}


def pack(path, key):
    files = {
        "raomira_101_9001_lab.ipynb": (handed_in(SOLVED), IN_TIME),
        "khannoor_102_9002_lab.ipynb": (handed_in(copied_from(key, "21/CSE/001")), IN_TIME),
        "iyerasha_LATE_103_9003_lab-1.ipynb": (handed_in(SOLVED), LATE),
        "dasravi_104_9004_lab.ipynb": (handed_in(SOLVED)[:500], IN_TIME),
        "vogtlena_LATE_105_9005_lab.ipynb": (handed_in(SOLVED), LATE),
        "litom_106_9006_lab.ipynb": (handed_in({}), IN_TIME),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, (content, when) in files.items():
            archive.writestr(zipfile.ZipInfo(name, when), content)


def table(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_term_from_the_first_command_to_the_course_systems_table(term, tmp_path):
    folder = tmp_path / "term"
    key = (folder / "course.key").read_text().strip()
    said = term("release", "41")
    assert "7 archives" in said
    assert "2026-11-25 23:59 IST" in said
    assert "costs 10 %" in said

    pack(folder / "canvas.zip", key)
    assert "next: scalelab course grade" in (said := term("collect", "41", "canvas.zip"))
    assert "6 new" in said
    assert "nothing yet from: 21/CSE/007" in said

    said = term("grade", "41", "--jobs", "1")
    assert "5 graded, 1 refused" in said
    assert "next: scalelab course export" in said
    grades = folder / "grades" / SLUG
    rows = {row["student"]: row for row in table(grades / "gradebook.csv")}
    totals = {student[-3:]: float(row["total"]) for student, row in rows.items()}
    # 002 wrote 001's constant down; 003 is a day late; 005 has an extension
    assert totals == {"001": 6, "002": 4, "003": 5.4, "004": 0, "005": 6, "006": 0, "007": 0}
    assert rows["21/CSE/004"]["status"] == "refused"
    assert rows["21/CSE/007"]["status"] == "no submission"
    assert [row["student"] for row in table(grades / "late.csv")] == ["21/CSE/003"]

    judged = (grades / "results.jsonl").read_bytes()
    assert "6 unchanged" in term("grade", "41", "--jobs", "1")
    assert (grades / "results.jsonl").read_bytes() == judged

    with zipfile.ZipFile(folder / "again.zip", "w") as archive:
        late = zipfile.ZipInfo("khannoor_102_9010_lab.ipynb", (2026, 11, 25, 12, 0, 0))
        archive.writestr(late, handed_in(SOLVED))
    assert "1 new" in term("collect", "41", "again.zip")
    assert "1 graded, 5 unchanged" in term("grade", "41", "--jobs", "1")
    (noor,) = [row for row in read_grades(grades / "results.jsonl") if row.student == "21/CSE/002"]
    assert (noor.points, len(noor.attempts)) == (6, 1)

    for kind, column in (("canvas", "Lab 41 (1234)"), ("moodle", "Lab 41 (1234)"), ("nbgrader", "score")):
        assert f"{kind}.csv: 7 students, 6 points" in term("export", "41", "--format", kind)
        points = [float(row[column]) for row in table(grades / f"{kind}.csv")]
        points = points[1:] if kind == "canvas" else points  # its first line has the maximum
        assert sorted(points) == [0, 0, 0, 5.4, 6, 6, 6]
    toml = folder / "course.toml"
    more = '{ "21/CSE/003" = 2026-11-27, '
    toml.write_text(
        toml.read_text(encoding="utf-8").replace(
            'extensions = { "21/CSE/005', f'extensions = {more}"21/CSE/005'
        ),
        encoding="utf-8",
    )
    assert "gradebook.csv" in term("export", "41")  # an extension given afterwards counts at once
    rows = {row["student"]: row for row in table(grades / "gradebook.csv")}
    assert float(rows["21/CSE/003"]["total"]) == 6


def test_every_step_out_of_turn_says_what_comes_before_it(term, tmp_path):
    toml = tmp_path / "term" / "course.toml"
    toml.write_text(toml.read_text(encoding="utf-8").replace(LABS, ""), encoding="utf-8")
    assert f'does not give lab {SLUG} yet\nhint: in course.toml, uncomment [labs."{SLUG}"]' in term(
        "release", "41", code=2
    )  # as right after `course new`
    toml.write_text(toml.read_text(encoding="utf-8") + LABS, encoding="utf-8")
    assert f"no lab '42'\nhint: known: {SLUG}" in term("release", "42", code=2)
    assert "course collect" in term("grade", "41", code=2)
    assert "course grade" in term("export", "41", code=2)
    assert "course new" in term("release", "41", "--course", "..", code=2)
    toml = tmp_path / "term" / "course.toml"
    toml.write_text(toml.read_text(encoding="utf-8").replace("21/CSE/005", "21/CSE/05"), encoding="utf-8")
    assert "of an extension\nhint: did you mean '21/CSE/0" in term("grade", "41", code=2)
    (tmp_path / "term" / "course.key").unlink()
    assert "backup" in term("release", "41", code=2)


def test_an_export_says_whose_hand_in_was_not_graded_yet(term, tmp_path):
    folder = tmp_path / "term"
    pack(folder / "canvas.zip", (folder / "course.key").read_text().strip())
    term("collect", "41", "canvas.zip")
    told = "5 hand-ins not graded yet, and so in no table (21/CSE/002, 21/CSE/003, "
    assert told in term("grade", "41", "--jobs", "1", "--only", "21/CSE/001")
    assert told in term("export", "41", "--format", "canvas")
    listed = table(folder / "grades" / SLUG / "gradebook.csv")
    assert [row["student"][-3:] for row in listed] == ["001", "007"], "007 handed nothing in"
    term("grade", "41", "--jobs", "1")
    assert "not graded" not in term("export", "41", "--format", "canvas")
