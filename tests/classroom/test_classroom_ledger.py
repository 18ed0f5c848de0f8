"""The ledger keeps every event: two notebooks, kill -9, a full or read-only disk, a damaged file."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time

import pytest

from scalelab.classroom import Lab, Ledger
from scalelab.classroom import ledger as ledger_module
from scalelab.classroom.ledger import home
from scalelab.classroom.predictions import read_predictions

WRITER = """
import sys
from pathlib import Path
from scalelab.classroom import Ledger
ledger = Ledger(Path(sys.argv[1]))
number = 0
while number < int(sys.argv[3]):
    ledger.append("check", "03_demo", sys.argv[2], number=number)
    number += 1
"""


def writer(path, name, count):
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, str(count)])


def test_an_event_comes_back_as_it_went_in(tmp_path):
    path = tmp_path / "deep" / "ledger.jsonl"
    sent = Ledger(path).append("explanation", "06", "why", text="₹ und \ud800 half a pair", n=3)
    (found,) = Ledger(path).read()
    assert (found.kind, found.facts["text"], found.id) == ("explanation", sent.facts["text"], sent.id)


def test_a_second_notebook_sees_what_the_first_did(tmp_path):
    one, two = Ledger(tmp_path / "l"), Ledger(tmp_path / "l")
    one.append("check", "06", "a")
    assert [event.name for event in two.read()] == ["a"]
    two.append("check", "06", "b")
    one.append("check", "06", "c")
    assert [event.name for event in one.read()] == [event.name for event in two.read()] == ["a", "b", "c"]


@pytest.mark.slow
def test_two_processes_at_once_lose_nothing(tmp_path):
    path = tmp_path / "ledger.jsonl"
    writers = [writer(path, name, 150) for name in "ab"]
    assert [process.wait(60) for process in writers] == [0, 0]
    names = [event.name for event in Ledger(path).read()]
    assert (names.count("a"), names.count("b")) == (150, 150)


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_no_event_that_was_kept(tmp_path):
    path = tmp_path / "ledger.jsonl"
    kept = 0
    for round_ in range(4):
        process = writer(path, str(round_), 10**6)
        deadline = time.monotonic() + 60
        while len(Ledger(path).read()) < kept + 5 + round_:
            assert time.monotonic() < deadline
        process.kill()
        process.wait(30)
        kept = len(Ledger(path).read())
        Ledger(path).append("check", "03", "after")
        kept += 1
        assert len(Ledger(path).read()) == kept
    numbers = [event.facts["number"] for event in Ledger(path).read() if event.name == "0"]
    assert numbers == list(range(len(numbers)))


def test_half_a_line_is_moved_aside_and_the_rest_stays(tmp_path):
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.append("check", "06", "a")
    with path.open("ab") as file:
        file.write(b'{"kind":"che')
    assert [event.name for event in ledger.read()] == ["a"]
    ledger.append("check", "06", "b")
    assert (
        [event.name for event in Ledger(path).read()] == [event.name for event in ledger.read()] == ["a", "b"]
    )


@pytest.mark.parametrize(
    "line", [b"no json", b"[]", b'"x"', b'{"schema":1}', b'{"schema":99,"facts":{}}', b"\xff\xfe", b""]
)
def test_a_line_that_is_no_event_is_passed_over(tmp_path, line):
    path = tmp_path / "ledger.jsonl"
    Ledger(path).append("check", "06", "a")
    with path.open("ab") as file:
        file.write(line + b"\n")
    Ledger(path).append("check", "06", "b")
    assert [event.name for event in Ledger(path).read()] == ["a", "b"]


def test_a_prediction_that_somebody_edited_is_passed_over(tmp_path):
    ledger = Ledger(tmp_path / "l")
    ledger.append("prediction", "06", "ratio", guess="two", low=None, high=3)
    ledger.append("prediction", "06", "other", guess=2, low=1, high=3)
    ledger.append("measurement", "06", "other", value="fast")
    assert [(each.name, each.measured) for each in read_predictions(ledger)] == [("other", None)]


@pytest.fixture
def full_disk(monkeypatch):
    """A disk on which nothing can be written until it is given space."""
    real, state = ledger_module.append_line, {"is_full": True}

    def append_line(path, line):
        if state["is_full"]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, line)

    monkeypatch.setattr(ledger_module, "append_line", append_line)
    return state


def test_on_a_full_disk_everything_goes_on_and_is_written_later(lab, full_disk):
    lab.predict("ratio", guess=2, low=1, high=4)
    assert "No space left" in lab.ledger.problem
    assert lab.check("weights").outcome.value == "not attempted"
    assert not lab.ledger.path.exists()
    assert len(lab.ledger.read()) == 2
    full_disk["is_full"] = False
    lab.hint("weights")
    assert lab.ledger.problem == ""
    assert [event.kind for event in Ledger(lab.ledger.path).read()] == ["prediction", "check", "hint"]


def test_the_learner_is_told_once(lab, full_disk, monkeypatch):
    told = []
    monkeypatch.setattr("scalelab.classroom.cards.Card.show", lambda card: told.append(card.text) or card)
    for _ in range(3):
        lab.explain("why", f"Words {_}")
    assert sum("not saved" in text for text in told) == 1


def test_a_home_that_is_a_file_is_a_sentence(labs, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCALELAB_HOME", str(tmp_path / "file"))
    lab = Lab("03_demo", {})
    lab.predict("ratio", guess=2, low=1, high=4)
    assert lab.measure("ratio", lambda: 3.0).value == 3.0
    assert "cannot be written" in lab.ledger.problem


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="only on systems where we are no root"
)
def test_a_read_only_folder_is_a_sentence(labs, tmp_path):
    (tmp_path / "home").mkdir(mode=0o500)
    lab = Lab("03_demo", {})
    lab.hint("weights")
    assert "cannot be written" in lab.ledger.problem


@pytest.mark.parametrize(
    ("platform", "variables", "ends_with"),
    [
        ("linux", {}, ".local/share/scalelab"),
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/scalelab"),
        ("darwin", {}, "Library/Application Support/scalelab"),
        ("win32", {"LOCALAPPDATA": "/c/local"}, "/c/local/scalelab"),
        ("linux", {"SCALELAB_HOME": "/mine"}, "/mine"),
    ],
)
def test_the_ledger_lies_where_the_system_keeps_a_users_data(monkeypatch, platform, variables, ends_with):
    for name in ("SCALELAB_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert home().as_posix().endswith(ends_with)


def test_a_record_is_one_line_of_json(lab):
    lab.explain("why", "Two\nlines")
    (line,) = lab.ledger.path.read_text().splitlines()
    assert json.loads(line)["facts"]["text"] == "Two\nlines"
