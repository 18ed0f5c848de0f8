"""``course.toml``: what it says is what holds, and every mistake in it is named with the way out."""

from __future__ import annotations

import stat
import sys
from datetime import datetime, timedelta, timezone

import pytest
from course_lab import SLUG

from scalelab.core.errors import ConfigError, DataError, ScalelabError
from scalelab.course import LatePolicy, load_course, new_course

LAB = f'[labs."{SLUG}"]\n'


@pytest.fixture
def course_of(tmp_path, lab_folder):
    """Return a function that reads a course.toml."""

    def read(text, roster="student,name\nmira,Mira Rao\n"):
        folder = tmp_path / "course"
        folder.mkdir(exist_ok=True)
        (folder / "course.toml").write_text(text, encoding="utf-8")
        (folder / "roster.csv").write_text(roster, encoding="utf-8")
        return load_course(folder)

    return read


def test_a_new_course_can_be_read_and_its_key_is_for_the_owner_alone(tmp_path, lab_folder):
    course = new_course(tmp_path / "new", name='The "ML" course', time_zone="Asia/Kolkata")
    assert (course.name, course.time_zone.key, course.labs) == ('The "ML" course', "Asia/Kolkata", {})
    assert len(course.key()) == 64
    assert course.key() != new_course(tmp_path / "other").key()
    if sys.platform != "win32":
        assert stat.S_IMODE(course.key_file.stat().st_mode) == 0o600
    assert "course.key" in (tmp_path / "new" / ".gitignore").read_text()
    assert SLUG in (tmp_path / "new" / "course.toml").read_text()
    with pytest.raises(ConfigError, match="there already"):
        new_course(tmp_path / "new")


def test_a_new_course_becomes_one_with_a_lab_when_its_comments_are_taken_away(tmp_path, lab_folder):
    new_course(tmp_path / "new", time_zone="Asia/Kolkata")
    path = tmp_path / "new" / "course.toml"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line.removeprefix("#") for line in lines if not line.startswith("# ")))
    lab = load_course(tmp_path / "new").lab("41")
    assert lab.due == datetime(2026, 11, 30, 18, 29, tzinfo=timezone.utc)
    assert lab.due_for("student-id") == lab.due + timedelta(days=7)
    assert lab.column == "Lab 41 (1234)"


def test_a_new_course_keeps_the_key_that_is_there(tmp_path, lab_folder):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "course.key").write_text("from a backup\n")
    assert new_course(tmp_path / "new").key() == "from a backup"


@pytest.mark.parametrize(
    ("due", "utc"),
    [
        ("2026-11-30T23:59:00", "2026-11-30T22:59:00"),  # of the course's time zone
        ("2026-07-30T23:59:00", "2026-07-30T21:59:00"),  # in summer
        ("2026-11-30T23:59:00+05:30", "2026-11-30T18:29:00"),
        ("2026-11-30", "2026-11-30T22:59:59"),  # the end of the day
        ('"2026-11-30 23:59"', "2026-11-30T22:59:00"),
        ('"2026-11-30"', "2026-11-30T22:59:59"),
        ('"2026-11-30T23:59Z"', "2026-11-30T23:59:00"),
    ],
)
def test_a_due_time_is_read_in_the_courses_time_zone(course_of, due, utc):
    lab = course_of(f'time_zone = "Europe/Berlin"\n{LAB}due = {due}\n').lab(SLUG)
    assert lab.due.astimezone(timezone.utc).isoformat() == f"{utc}+00:00"


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        ("nmae = 'x'", "unknown key 'nmae'", "did you mean 'name'?"),
        ("name = 3", "name is 3", "a text in quotes"),
        ("name = x", "is no TOML", "quotes"),
        ("time_zone = 'Asia/Calcuta'", "no time zone 'Asia/Calcuta'", "did you mean"),
        ("time_zone = '../etc/passwd'", "no time zone", "for example"),
        ("[late]\npercent_a_day = 3", "[late]: unknown key", "percent_per_day"),
        ("[late]\npercent_per_day = 120", "percent_per_day is 120", "0 to 100"),
        ("[late]\ndays = -1", "days is -1", "0 or more"),
        ("[late]\ndays = 1.5", "days is 1.5", "whole number"),
        ("[late]\ngrace_minutes = true", "grace_minutes is True", "a number"),
        ("[folders]\ngrade = 'g'", "unknown key 'grade'", "did you mean 'grades'?"),
        ('[labs."41_own_nubmers"]', "no lab '41_own_nubmers'", f"did you mean '{SLUG}'?"),
        (f"{LAB}due = '30.11.2026'", "which is no time", "2026-11-30T23:59:00"),
        (f"{LAB}due = 23:59:00", "which is no time", "2026-11-30T23:59:00"),
        (f"{LAB}due = 7", "which is no time", "2026-11-30T23:59:00"),
        (f"{LAB}deu = 2026-11-30", "unknown key 'deu'", "did you mean 'due'?"),
        (f"{LAB}extensions = {{ mira = 'soon' }}", "extension of mira", "2026-11-30T23:59:00"),
        (f"{LAB}\n[labs.41]", "there twice", "keep one"),
        (f'labs = {{ "{SLUG}" = 2026-11-30 }}', "2026", "write a table"),
    ],
)
def test_a_mistake_is_named_with_the_way_out(course_of, text, told, hint):
    with pytest.raises(ConfigError) as caught:
        course_of(text)
    assert told in caught.value.message
    assert "course.toml" in caught.value.message
    assert hint in caught.value.hint


def test_a_lab_is_found_by_number_and_words_and_a_wrong_one_is_said(course_of):
    course = course_of(LAB)
    assert {course.lab(name).slug for name in ("41", "own_numbers", SLUG, "41_own_numbers")} == {SLUG}
    with pytest.raises(ConfigError, match="no lab '42'"):
        course.lab("42")
    with pytest.raises(ConfigError, match=f"does not give lab {SLUG} yet") as caught:
        course_of("").lab("41")
    assert f'uncomment [labs."{SLUG}"]' in caught.value.hint


def test_no_course_a_torn_file_and_another_encoding_are_said(tmp_path, course_of):
    with pytest.raises(ConfigError, match=r"no course\.toml") as caught:
        load_course(tmp_path)
    assert "course new" in caught.value.hint
    course_of("")
    (tmp_path / "course" / "course.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_course(tmp_path / "course")


@pytest.mark.parametrize(
    ("roster", "told"),
    [
        ("student,name\nmira,A\nmira,B\n", "line 3: 'mira' was there in line 2"),
        ("student,name\n", "lists no student"),
        ("who,what\nx,y\n", "no column that names a student"),
    ],
)
def test_a_class_list_that_cannot_be_used_is_said(course_of, roster, told):
    course = course_of("", roster)
    with pytest.raises(ScalelabError, match=told):
        course.students()


def test_a_missing_class_list_or_key_is_said(course_of):
    course = course_of("roster = 'none.csv'\nkey_file = 'none.key'")
    with pytest.raises(DataError, match=r"none\.csv"):
        course.students()
    with pytest.raises(ConfigError, match=r"none\.key cannot be read") as caught:
        course.key()
    assert "backup" in caught.value.hint
    course.key_file.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        course.key()


DUE = datetime(2026, 11, 30, 23, 59, tzinfo=timezone(timedelta(hours=5.5)))
POLICY = LatePolicy(grace_minutes=15, percent_per_day=10, days=3)


DAY = 24 * 60


@pytest.mark.parametrize(
    ("minutes", "days", "percent"),
    [
        (-1, 0, 0),
        (15, 0, 0),
        (16, 1, 10),
        (DAY, 1, 10),
        (DAY + 1, 2, 20),
        (3 * DAY, 3, 30),
        (3 * DAY + 1, 4, 100),
    ],
)
def test_each_begun_day_costs_its_share_until_nothing_counts(minutes, days, percent):
    at = (DUE + timedelta(minutes=minutes)).astimezone(timezone.utc)
    assert POLICY.days_late(at, DUE) == days
    assert POLICY.percent_off(days) == percent


def test_a_policy_says_itself_in_words():
    assert str(LatePolicy()) == "Late hand-ins count like any other."
    assert (
        str(POLICY)
        == "Each begun day after the due time costs 10 % of the points; after 3 days nothing counts."
    )
    assert str(LatePolicy(words="No.")) == "No."
    assert LatePolicy(percent_per_day=40).percent_off(5) == 100
