"""Who handed in what, in every form in which course systems give it out."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

from scalelab.core.errors import ConfigError
from scalelab.grader.cells import Refused
from scalelab.grader.naming import find_owner
from scalelab.grader.submissions import discover

BOOK = b'{"cells": []}'


def fill(root: Path, *paths: str, content: bytes = BOOK) -> Path:
    """Write files, each one minute newer than the one before."""
    for number, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (1e9 + 60 * number,) * 2)
    return root


def packed(files: dict[str, bytes]) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return into.getvalue()


def found(root: Path, **options) -> dict[str, str]:
    return {submission.student: submission.path for submission in discover(root, **options)}


def refusal(root: Path, student: str) -> str:
    (submission,) = [each for each in discover(root) if each.student == student]
    with pytest.raises(Refused) as refused:
        submission.load()
    return refused.value.reason


@pytest.mark.parametrize(
    ("path", "student"),
    [
        ("mira.ipynb", "mira"),
        ("mira (2).ipynb", "mira"),
        ("mira-Copy1.ipynb", "mira"),
        ("Copy of mira.ipynb", "mira"),
        ("mira_rao.ipynb", "mira_rao"),
        ("raomira_12345_678901_lab.ipynb", "raomira_12345"),
        ("raomira_LATE_12345_678901_lab-1.ipynb", "raomira_12345"),
        ("Mira Rao_12345_assignsubmission_file_/lab.ipynb", "Mira Rao_12345"),
        ("Mira Rao_12345_assignsubmission_file/work/lab.ipynb", "Mira Rao_12345"),
        ("HW 1/Mira Rao_12345_assignsubmission_file_/lab.ipynb", "Mira Rao_12345"),
        ("Mira Rao_12345_assignsubmission_file_lab.ipynb", "Mira Rao_12345"),
        ("Mira Rao - lab.ipynb", "Mira Rao"),
        ("Mira Rao - lab (1).ipynb", "Mira Rao"),
        ("course/submitted/mira/lab06/lab.ipynb", "mira"),
        ("mira/lab.ipynb", "mira"),
        ("mira/work/lab - final.ipynb", "mira"),
        ("e\N{COMBINING ACUTE ACCENT}va/lab.ipynb", "\N{LATIN SMALL LETTER E WITH ACUTE}va"),
    ],
)
def test_a_path_tells_whose_it_is(path, student):
    owner = find_owner(path)
    assert owner is not None
    assert owner.student == student


def test_loose_notebooks_are_a_student_each(tmp_path):
    fill(
        tmp_path,
        "mira.ipynb",
        "zoe.ipynb",
        "roster.csv",
        ".DS_Store",
        ".ipynb_checkpoints/mira-checkpoint.ipynb",
    )
    assert found(tmp_path) == {"mira": "mira.ipynb", "zoe": "zoe.ipynb"}


def test_loose_notebooks_do_not_get_each_others_files(tmp_path):
    fill(tmp_path, "mira.ipynb", "zoe.ipynb", "data.csv")
    assert all(submission.load().files == {} for submission in discover(tmp_path))


def test_a_folder_for_each_student_brings_its_other_files(tmp_path):
    fill(tmp_path, "mira/lab.ipynb", "mira/data/x.csv", "mira/model.onnx", "zoe/lab.ipynb")
    mira, zoe = discover(tmp_path)
    assert set(mira.load().files) == {"data/x.csv", "model.onnx"}
    assert zoe.load().files == {}


def test_the_newest_of_several_counts_and_the_others_are_listed(tmp_path):
    fill(tmp_path, "mira.ipynb", "mira (1).ipynb", "mira (2).ipynb")
    (mira,) = discover(tmp_path)
    assert mira.path == "mira (2).ipynb"
    assert mira.attempts == ("mira (1).ipynb", "mira.ipynb")
    assert "3 notebooks were handed in; mira (2).ipynb counts" in mira.notes


def test_a_notebook_named_as_the_lab_counts_before_newer_ones(tmp_path):
    fill(tmp_path, "mira/06_gradient_accumulation.ipynb", "mira/scratch.ipynb", "zoe/lab.ipynb")
    assert found(tmp_path, lab="06_gradient_accumulation")["mira"] == "mira/06_gradient_accumulation.ipynb"


def test_canvas_numbers_tell_the_newer_one_and_who_was_late(tmp_path):
    fill(tmp_path, "raomira_1_20_lab-1.ipynb", "raomira_1_10_lab.ipynb", "liuzoe_LATE_2_15_lab.ipynb")
    liu, rao = discover(tmp_path)
    assert (rao.path, rao.is_late) == ("raomira_1_20_lab-1.ipynb", False)
    assert (liu.student, liu.is_late) == ("liuzoe_2", True)


def test_of_an_nbgrader_course_only_the_submitted_folders_count(tmp_path):
    fill(tmp_path, "source/ps1/lab.ipynb", "submitted/mira/ps1/lab.ipynb", "autograded/mira/ps1/lab.ipynb")
    assert found(tmp_path) == {"mira": "submitted/mira/ps1/lab.ipynb"}


def test_of_several_assignments_the_one_named_as_the_lab_counts(tmp_path):
    fill(tmp_path, "submitted/mira/01_prototype/lab.ipynb", "submitted/mira/lab06/lab.ipynb")
    assert found(tmp_path, lab="06_gradient_accumulation") == {"mira": "submitted/mira/lab06/lab.ipynb"}
    with pytest.raises(ConfigError, match="none of these is '07_ddp'"):
        discover(tmp_path, lab="07_ddp")


@pytest.mark.parametrize(
    ("stamp", "told"),
    [
        (b"2025-02-02 15:58:23.948203 UTC", "2025-02-02T15:58:23.948203+00:00"),
        (b"2025-02-02 15:58:23 Asia/Kolkata\n", "2025-02-02T15:58:23+05:30"),
        (b"yesterday", None),
        (b"\xff", None),
        (b"2025-02-02 15:58:23 Nowhere/Land", None),
    ],
)
def test_nbgraders_timestamp_tells_when(tmp_path, stamp, told):
    fill(tmp_path, "submitted/mira/ps1/lab.ipynb")
    fill(tmp_path, "submitted/mira/ps1/timestamp.txt", content=stamp)
    (mira,) = discover(tmp_path)
    assert (mira.submitted_at and mira.submitted_at.isoformat()) == told
    assert mira.load().files == {}


def test_a_download_of_the_whole_class_is_read_as_it_is(tmp_path):
    (tmp_path / "class.zip").write_bytes(
        packed(
            {
                "HW/Mira Rao_1_assignsubmission_file_/lab.ipynb": BOOK,
                "HW/Zoe_2_assignsubmission_file_/lab.ipynb": BOOK,
            }
        )
    )
    wanted = {
        "Mira Rao_1": "class.zip!/HW/Mira Rao_1_assignsubmission_file_/lab.ipynb",
        "Zoe_2": "class.zip!/HW/Zoe_2_assignsubmission_file_/lab.ipynb",
    }
    assert found(tmp_path / "class.zip") == wanted
    assert found(tmp_path) == wanted
    assert discover(tmp_path)[0].load().raw == BOOK


def test_folders_around_the_whole_class_are_no_student(tmp_path):
    fill(tmp_path, "download/HW 1/mira/lab.ipynb", "download/HW 1/zoe/lab.ipynb")
    assert set(found(tmp_path)) == {"mira", "zoe"}


def test_a_student_may_hand_in_an_archive(tmp_path):
    content = packed(
        {"work/lab.ipynb": BOOK, "work/data.csv": b"1,2", "notes.txt": b"no", "__MACOSX/._lab.ipynb": b"x"}
    )
    (tmp_path / "mira.zip").write_bytes(content)
    fill(tmp_path, "zoe.ipynb")
    mira, zoe = discover(tmp_path)
    assert (mira.student, zoe.student) == ("mira", "zoe")
    handed = mira.load()
    assert (handed.raw, handed.files) == (BOOK, {"data.csv": b"1,2"})


def test_archives_of_students_in_the_archive_of_the_class_are_read(tmp_path):
    inner = packed({"lab.ipynb": BOOK, "data.csv": b"1"})
    content = packed(
        {"Mira_1_assignsubmission_file_/mine.zip": inner, "Zoe_2_assignsubmission_file_/lab.ipynb": BOOK}
    )
    (tmp_path / "class.zip").write_bytes(content)
    handed = discover(tmp_path)[0].load()
    assert (handed.raw, handed.files) == (BOOK, {"data.csv": b"1"})


def test_a_pattern_reads_other_names_and_refuses_what_does_not_fit(tmp_path):
    fill(tmp_path, "rao-mira_06.ipynb", "liu-zoe_06.ipynb", "liu-zoe_05.ipynb", "other.ipynb")
    every = discover(tmp_path, pattern="{student}_{lab}.ipynb", lab="06_gradient_accumulation")
    assert {each.student: each.path for each in every if not each.problem} == {
        "rao-mira": "rao-mira_06.ipynb",
        "liu-zoe": "liu-zoe_06.ipynb",
    }
    (odd,) = [each for each in every if each.problem]
    assert odd.student == "other.ipynb"
    assert "does not fit the pattern" in odd.problem


def test_a_pattern_with_folders_is_for_the_whole_path(tmp_path):
    fill(tmp_path, "group1/mira/a/lab.ipynb", "group2/zoe/b/lab.ipynb")
    assert set(found(tmp_path, pattern="*/{student}/**.ipynb")) == {"mira", "zoe"}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{lab}.ipynb", "where the student's name is"),
        ("{who}.ipynb", "field {who}"),
        ("{student}{student}", "twice"),
    ],
)
def test_a_pattern_that_cannot_work_is_explained(tmp_path, pattern, message):
    fill(tmp_path, "mira.ipynb")
    with pytest.raises(ConfigError, match=message):
        discover(tmp_path, pattern=pattern)


@pytest.mark.parametrize("path", ["nowhere", "empty", "readme"])
def test_a_folder_without_submissions_is_said(tmp_path, path):
    (tmp_path / "empty").mkdir()
    fill(tmp_path, "readme/README.md")
    with pytest.raises(ConfigError):
        discover(tmp_path / path)


def test_what_is_no_file_is_a_submission_with_a_reason(tmp_path):
    fill(tmp_path, "good/lab.ipynb", "folder/lab.ipynb/x.txt", "wrong/lab.pdf")
    for name in ("pipe", "link", "empty"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "pipe" / "lab.ipynb")
    (tmp_path / "link" / "lab.ipynb").symlink_to("/etc/passwd")
    assert set(found(tmp_path)) == {"good", "folder", "pipe", "link", "empty", "wrong"}
    assert "a folder, not a file" in refusal(tmp_path, "folder")
    assert "a pipe or a device" in refusal(tmp_path, "pipe")
    assert "a link" in refusal(tmp_path, "link")
    assert "no notebook" in refusal(tmp_path, "empty")
    assert "wrong/lab.pdf" in refusal(tmp_path, "wrong")


def test_a_link_beside_the_notebook_is_not_followed(tmp_path):
    fill(tmp_path, "mira/lab.ipynb", "zoe/lab.ipynb")
    (tmp_path / "mira" / "data.txt").symlink_to("/etc/passwd")
    handed = discover(tmp_path)[0].load()
    assert handed.files == {}
    assert "data.txt was not taken along: it is a link" in handed.notes[0]


def test_files_beyond_the_room_are_left_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr("scalelab.grader.submissions.MAX_FILES_BYTES", 10)
    fill(tmp_path, "mira/lab.ipynb", "zoe/lab.ipynb")
    fill(tmp_path, "mira/a.csv", "mira/b.csv", content=b"1234567")
    handed = discover(tmp_path)[0].load()
    assert set(handed.files) == {"a.csv"}
    assert "b.csv was not taken along" in handed.notes[0]


def test_the_hash_covers_the_notebook_and_what_lies_beside_it(tmp_path):
    fill(tmp_path, "mira/lab.ipynb", "zoe/lab.ipynb", "mira/data.csv")

    def code() -> str:
        return discover(tmp_path)[0].load().sha256

    before = code()
    os.utime(tmp_path / "mira" / "lab.ipynb", (5, 5))
    assert code() == before
    fill(tmp_path, "mira/data.csv", content=b"2")
    assert code() != before


def zip_with(name: str, *, mode: int = 0, flag: int = 0) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr("lab.ipynb", BOOK)
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, b"x")
    data = bytearray(into.getvalue())
    if flag:
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            place = data.rindex(signature)
            data[place + offset] |= flag
    return bytes(data)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (zip_with("../../loot.txt"), "outside of its folder: '../../loot.txt'"),
        (zip_with("/tmp/loot.txt"), "outside of its folder"),
        (zip_with("C:/loot.txt"), "outside of its folder"),
        (zip_with("a\\..\\..\\loot.txt"), "outside of its folder"),
        (zip_with("data.csv", mode=stat.S_IFLNK | 0o777), "a link or device"),
        (zip_with("data.csv", mode=stat.S_IFIFO | 0o777), "a link or device"),
        (zip_with("data.csv", flag=1), "asks for a password"),
        (zip_with("lab.ipynb/"), ""),
        (zip_with("x" * 2000), "too long"),
        (packed({"lab.txt": b"x"}), "no notebook (.ipynb) in the archive; it holds lab.txt"),
        (packed({}), "it holds nothing"),
        (packed({"lab.ipynb": BOOK})[:-30], "cannot be read"),
        (b"", "cannot be read"),
        (b"PK\x03\x04" + b"\0" * 500, "cannot be read"),
    ],
    ids=range(14),
)
def test_an_odd_archive_is_refused_with_its_reason(tmp_path, content, reason):
    (tmp_path / "mira").mkdir()
    (tmp_path / "mira" / "work.zip").write_bytes(content)
    fill(tmp_path, "zoe/lab.ipynb")
    if not reason:
        assert discover(tmp_path)[0].load().raw == BOOK
        return
    assert reason in refusal(tmp_path, "mira")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["lab.ipynb", "mira", "work.zip", "zoe"]


def test_an_archive_that_swells_is_refused_before_it_fills_the_memory(tmp_path):
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("lab.ipynb", b" " * (40 * 1024**2))
    fill(tmp_path, "mira/work.zip", content=into.getvalue())
    fill(tmp_path, "zoe/lab.ipynb")
    assert "more than" in refusal(tmp_path, "mira")


def test_a_member_twice_in_an_archive_is_refused(tmp_path):
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr("lab.ipynb", BOOK)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("lab.ipynb", b"{}")
    fill(tmp_path, "mira/work.zip", content=into.getvalue())
    fill(tmp_path, "zoe/lab.ipynb")
    assert "holds 'lab.ipynb' twice" in refusal(tmp_path, "mira")
