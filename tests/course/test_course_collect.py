"""Hand-outs and collecting: everybody gets their own, and what was handed in is never lost or overwritten."""

from __future__ import annotations

import csv
import json
import os
import zipfile
from datetime import datetime, timezone

import pytest
from course_lab import SLUG, SOLVED, handed_in

from scalelab.core.errors import ConfigError
from scalelab.course import collect, hand_out, load_course
from scalelab.course.collecting import owners, read_log
from scalelab.grader.submissions import discover
from scalelab.grading.variants import own_variant, student_variant

ROSTER = """student,name,email
21/CSE/001,Mira Rao,mira@example.org
noor,Noor Khan,noor@example.org
Noor,Noor Ali,ali@example.org
"""
TOML = f'[labs."{SLUG}"]\ndue = 2026-11-30\n'
T1, T2 = (2026, 11, 20, 10, 0, 0), (2026, 11, 21, 10, 0, 0)


@pytest.fixture
def course(tmp_path, lab_folder):
    folder = tmp_path / "course"
    folder.mkdir()
    (folder / "course.toml").write_text(TOML, encoding="utf-8")
    (folder / "roster.csv").write_text(ROSTER, encoding="utf-8")
    (folder / "course.key").write_text("secret\n")
    return load_course(folder)


@pytest.fixture
def lab(course):
    return course.lab("41")


@pytest.fixture
def bulk(tmp_path):
    """Return a function that packs files into an archive, as a course system gives it."""

    def pack(files, name="bulk.zip"):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            for member, (content, when) in files.items():
                archive.writestr(zipfile.ZipInfo(member, when), content)
        return path

    return pack


def stored(course):
    return sorted(
        path.relative_to(course.collected).as_posix()
        for path in course.collected.rglob("*")
        if path.is_file() and path.name != ".lock"
    )


def test_every_student_gets_an_archive_with_their_own_variant_and_no_key(course, lab, tmp_path):
    out = hand_out(course, lab)
    assert out.is_per_student
    with (out.folder / "handouts.csv").open(encoding="utf-8") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert sorted(rows) == ["21/CSE/001", "Noor", "noor"]
    assert len({row["file"].casefold() for row in rows.values()}) == 3  # also where case does not count
    assert rows["21/CSE/001"]["email"] == "mira@example.org"
    for student, row in rows.items():
        with zipfile.ZipFile(out.folder / row["file"]) as archive:
            assert sorted(archive.namelist()) == [
                f"{SLUG}/{name}" for name in (f"{SLUG}.ipynb", "README.md", "variant.json")
            ]
            assert not any(b"secret\n" in archive.read(name) for name in archive.namelist())
            assert archive.read(f"{SLUG}/{SLUG}.ipynb") == lab.info.notebook.read_bytes()
            archive.extractall(tmp_path / row["file"])
        own = own_variant(SLUG, tmp_path / row["file"] / SLUG)
        assert own == student_variant("secret", student=student, lab=SLUG)


def test_the_same_hand_outs_again_have_the_same_bytes(course, lab):
    before = {path: path.read_bytes() for path in hand_out(course, lab).archives}
    assert {path: path.read_bytes() for path in hand_out(course, lab).archives} == before
    assert len(before) == 3


def test_a_lab_without_variants_has_one_archive_for_all_and_needs_no_class_list(course, lab):
    (lab.info.folder / "checks.py").write_text("# no check needs one's own", encoding="utf-8")
    notebook = lab.info.notebook.read_text(encoding="utf-8")
    lab.info.notebook.write_text(notebook.replace("lab.variant", "lab_variant"), encoding="utf-8")
    course.roster.unlink()
    out = hand_out(course, lab)
    assert not out.is_per_student
    with zipfile.ZipFile(*out.archives) as archive:
        assert archive.namelist() == [f"{SLUG}/{SLUG}.ipynb", f"{SLUG}/README.md"]


def test_what_a_course_system_calls_a_student_becomes_their_id(course, lab, bulk):
    files = {
        "raomira_77_1_x.ipynb": (handed_in(SOLVED), T1),
        "noor_78_2_x.ipynb": (handed_in({}), T1),  # of two who differ by case: nobody guesses
        "somebody_79_3_x.ipynb": (handed_in({}), T1),
    }
    found = collect(course, lab, bulk(files))
    assert sorted(found.new) == ["21/CSE/001", "noor_78", "somebody_79"]
    assert found.unlisted == ("noor_78", "somebody_79")
    assert [person.id for person in found.missing] == ["noor", "Noor"]
    students = {each.student for each in discover(course.collected, lab=SLUG)}
    assert {owners(read_log(course), course.students())[name] for name in students} == set(found.new)


def test_collecting_again_adds_nothing_and_a_newer_hand_in_stands_beside_the_older(course, lab, bulk):
    first = bulk({"noor/lab.ipynb": (handed_in({}), T1), "noor/data/a.csv": (b"1", T1)})
    assert collect(course, lab, first).new == ("noor",)
    before = stored(course)
    assert collect(course, lab, first).known == ("noor",)
    assert stored(course) == before
    second = bulk({"noor/lab.ipynb": (handed_in(SOLVED), T2), "noor/data/a.csv": (b"2", T2)}, "b.zip")
    assert collect(course, lab, second).new == ("noor",)
    assert set(before) < set(stored(course))
    assert collect(course, lab, first).new == ()  # an old download does not become the newest
    (counts,) = discover(course.collected, lab=SLUG)
    assert counts.modified_at == datetime(*T2).astimezone()
    assert counts.load(lab=SLUG).raw == handed_in(SOLVED)
    assert counts.load(lab=SLUG).files == {"data/a.csv": b"2"}
    assert len(counts.attempts) == 1


def test_a_student_who_goes_back_to_an_older_version_has_it_counted(course, lab, bulk):
    for number, (answers, day) in enumerate([({}, 20), (SOLVED, 21), ({}, 22)]):
        when = (2026, 11, day, 10, 0, 0)
        collect(course, lab, bulk({"noor.ipynb": (handed_in(answers), when)}, f"{number}.zip"))
    (counts,) = discover(course.collected, lab=SLUG)
    assert counts.load(lab=SLUG).raw == handed_in({})
    assert len(counts.attempts) == 2


def test_the_time_that_a_course_system_told_is_kept(course, lab, tmp_path):
    handed = tmp_path / "submitted" / "noor" / SLUG
    handed.mkdir(parents=True)
    (handed / "lab.ipynb").write_bytes(handed_in(SOLVED))
    (handed / "timestamp.txt").write_text("2026-11-19 15:58:23.500000 UTC")
    collect(course, lab, tmp_path)
    (counts,) = discover(course.collected, lab=SLUG)
    assert counts.submitted_at == datetime(2026, 11, 19, 15, 58, 23, 500000, tzinfo=timezone.utc)


def test_what_cannot_be_graded_is_collected_with_its_reason(course, lab, tmp_path):
    folder = tmp_path / "in"
    (folder / "noor").mkdir(parents=True)
    (folder / "noor" / "lab.zip").write_bytes(b"PK\x03\x04 no archive")
    os.symlink("/etc/hostname", folder / "Noor Ali.ipynb")
    (folder / "21").mkdir()
    found = collect(course, lab, folder)
    assert set(found.problems) == {"noor", "Noor", "21"}
    reasons = {each.student: each for each in discover(course.collected, lab=SLUG)}
    names = {student: name for name, student in owners(read_log(course), course.students()).items()}
    assert reasons[names["noor"]].entry is not None  # the file itself: its row says what is wrong with it
    assert "problem.txt" in reasons[names["Noor"]].problem
    assert "a link" in next(course.collected.rglob("problem.txt")).read_text()
    assert collect(course, lab, folder).new == ()


def test_a_student_cannot_tell_when_they_handed_in(course, lab, bulk, tmp_path):
    forged = b"2020-01-01 00:00:00.0 UTC"
    folder = tmp_path / "in" / "noor"
    folder.mkdir(parents=True)
    own = bulk({"lab.ipynb": (handed_in(SOLVED), T1), "timestamp.txt": (forged, T1)})
    (folder / "lab.zip").write_bytes(own.read_bytes())
    (folder / "timestamp.txt").write_bytes(forged)
    collect(course, lab, folder.parent)
    (counts,) = discover(course.collected, lab=SLUG)
    assert counts.submitted_at is None
    assert counts.modified_at.year > 2020


def test_names_that_no_file_can_have_are_left_out_and_the_rest_is_collected(course, lab, bulk):
    odd = {"lab.ipynb": (handed_in(SOLVED), T1), "a": (b"", T1), "a/b": (b"", T1), "x" * 300: (b"", T1)}
    own = bulk(odd, "own.zip")
    files = {"noor/own.zip": (own.read_bytes(), T1), "Noor Ali/lab.ipynb": (handed_in({}), T1)}
    assert sorted(collect(course, lab, bulk(files)).new) == ["Noor", "noor"]
    told = {entry["student"]: entry.get("left_out", []) for entry in read_log(course)}
    assert (len(told["noor"]), told["Noor"]) == (2, [])
    assert {each.load(lab=SLUG).raw for each in discover(course.collected, lab=SLUG)} == {
        handed_in(SOLVED),
        handed_in({}),
    }


def test_a_student_who_is_put_on_the_list_later_is_found_again(course, lab, bulk):
    archive = bulk({"uma.ipynb": (handed_in(SOLVED), T1)})
    assert collect(course, lab, archive).unlisted == ("uma",)
    course.roster.write_text(ROSTER + "21/CSE/009,Uma Sen,uma@example.org\n", encoding="utf-8")
    again = collect(course, lab, archive)
    assert (again.new, again.known, again.unlisted) == ((), ("21/CSE/009",), ())
    assert owners(read_log(course), course.students()) == {"uma": "21/CSE/009"}


def test_an_interrupted_call_is_made_good_by_the_next(course, lab, bulk):
    archive = bulk({"noor.ipynb": (handed_in(SOLVED), T1)})
    collect(course, lab, archive)
    log = course.collected / "log.jsonl"
    log.unlink()  # killed after the copy, before its line
    assert collect(course, lab, archive).new == ("noor",)
    assert len(read_log(course)) == 1
    log.write_bytes(log.read_bytes() + json.dumps({"student": "half"})[:9].encode())
    with pytest.warns(UserWarning, match="half a line"):
        assert collect(course, lab, archive).known == ("noor",)


def test_a_wrong_source_is_said(course, lab, tmp_path):
    with pytest.raises(ConfigError, match="there is no folder"):
        collect(course, lab, tmp_path / "none")
