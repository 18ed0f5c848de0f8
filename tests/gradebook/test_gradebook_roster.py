"""The roster: whose submission is whose, however a course system names people."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalelab.core.errors import DataError
from scalelab.gradebook.roster import match, read_roster

OWN = "student,name,email\nmira,Mira Rao,mira.rao@uni.in\n"
CANVAS = 'Student,ID,SIS User ID,SIS Login ID,Section\n    Points Possible,,,,\n"Rao, Mira",77,S1,mira,A\n'
MOODLE = "First name,Surname,ID number,Email address\nMira,Rao,S1,mira@uni.in\n"
NBGRADER = "id,first_name,last_name,email,lms_user_id\nmira,Mira,Rao,mira@uni.in,5\n"


def roster(tmp_path: Path, text: str):
    path = tmp_path / "roster.csv"
    path.write_text(text, encoding="utf-8")
    return read_roster(path)


@pytest.mark.parametrize(
    ("text", "students"),
    [
        (OWN, ["mira", "MIRA", "mira.rao@uni.in", "mira.rao", "Mira Rao"]),
        (CANVAS, ["mira", "S1", "77", "raomira", "Mira Rao", "raomira_77", "someoneelse_77"]),
        (MOODLE, ["mira", "s1", "mira@uni.in", "Mira Rao", "raomira", "Mira Rao_12345"]),
        (NBGRADER, ["mira", "mira@uni.in"]),
    ],
    ids=["own", "canvas", "moodle", "nbgrader"],
)
def test_a_person_is_found_by_what_the_system_calls_them(tmp_path, text, students):
    people = roster(tmp_path, text)
    assert len(people) == 1
    for student in students:
        found = match([student], people)
        assert found.people[student].full_name == "Mira Rao", student
        assert not found.missing
        assert not found.unknown


def test_the_stronger_key_wins(tmp_path):
    """A file called after another person's mail name does not take their place."""
    people = roster(tmp_path, "student,email\nmira,m@uni.in\nravi,mira@uni.in\n")
    found = match(["mira", "ravi"], people)
    assert found.people["mira"].email == "m@uni.in"
    assert found.people["ravi"].email == "mira@uni.in"


def test_a_name_that_two_people_share_names_nobody(tmp_path):
    people = roster(tmp_path, "login,name\na1,Mira Rao\na2,Mira Rao\n")
    found = match(["Mira Rao"], people)
    assert found.unknown == ("Mira Rao",)
    assert len(found.missing) == 2


def test_no_person_gets_two_submissions(tmp_path):
    found = match(["mira", "mira.rao@uni.in"], roster(tmp_path, OWN))
    assert list(found.people) == ["mira"]
    assert found.unknown == ("mira.rao@uni.in",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("group,colour\n1,red\n", "no column that names a student"),
        ("student,name\nmira,A\nmira,B\n", "line 3: 'mira' was there in line 2"),
        ("student,section\n,A\n", "line 2 names no student"),
    ],
)
def test_a_roster_that_cannot_be_used_says_why(tmp_path, text, told):
    with pytest.raises(DataError, match=told):
        roster(tmp_path, text)
