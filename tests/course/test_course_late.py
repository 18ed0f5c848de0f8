"""Who is late: by the course system's time, or its word, or the file's time; and never with an extension."""

from __future__ import annotations

import zipfile
from datetime import datetime, timedelta, timezone

import pytest
from course_lab import SLUG, SOLVED, handed_in

from scalelab.course import collect, load_course
from scalelab.course.grading_run import find_late
from scalelab.grader.handed import hand_over
from scalelab.grader.submissions import discover
from scalelab.grading.grades import Grade, append_grade

DUE = datetime(2026, 11, 25, 18, 0, tzinfo=timezone.utc)
TOML = f"""
time_zone = "UTC"
late = {{ grace_minutes = 15, percent_per_day = 10, days = 3 }}
[labs."{SLUG}"]
due = 2026-11-25T18:00:00
extensions = {{ "uma" = 2026-11-30 }}
"""
HANDED_IN = {  # minutes after the due time, what Canvas calls it, days late
    "mira": (-60, "", 0),
    "noor": (10, "_LATE", 0),  # the grace is the course's own
    "asha": (20, "_LATE", 1),
    "ravi": (-60, "_LATE", 1),  # Canvas knows, the file's time is another
    "lena": (3 * 24 * 60 + 1, "_LATE", 4),
    "uma": (24 * 60, "_LATE", 0),
}


@pytest.fixture
def late(tmp_path, lab_folder):
    """Who is late in a class that was collected, with rows as the grader makes them."""
    folder = tmp_path / "course"
    folder.mkdir()
    (folder / "course.toml").write_text(TOML, encoding="utf-8")
    (folder / "roster.csv").write_text("student,name\n" + "".join(f"{name},{name}\n" for name in HANDED_IN))
    course = load_course(folder)
    lab = course.lab("41")
    with zipfile.ZipFile(tmp_path / "canvas.zip", "w") as archive:
        for number, (name, (minutes, word, _)) in enumerate(HANDED_IN.items()):
            when = (DUE + timedelta(minutes=minutes)).astimezone()  # archives have local time
            member = zipfile.ZipInfo(f"{name}{word}_{number}_{number}_lab.ipynb", when.timetuple()[:6])
            archive.writestr(member, handed_in(SOLVED))
    assert sorted(collect(course, lab, tmp_path / "canvas.zip").new) == sorted(HANDED_IN)
    for submission in discover(course.collected, lab=SLUG):
        facts = hand_over(submission, lab=SLUG, due=lab.due).facts
        row = Grade(**facts, lab=SLUG, lab_sha256="0", status="graded")
        append_grade(course.grades / SLUG / "results.jsonl", row)
    return {each.student: each for each in find_late(course, lab)}


def test_the_policy_of_the_course_decides_and_the_word_of_the_course_system_where_times_contradict_it(late):
    wanted = {name: days for name, (_, _, days) in HANDED_IN.items() if days}
    assert {name: each.days_late for name, each in late.items()} == wanted
    assert {name: each.percent_off for name, each in late.items()} == {"asha": 10, "ravi": 10, "lena": 100}
