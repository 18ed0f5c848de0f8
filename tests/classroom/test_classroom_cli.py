"""``scalelab lab``: list, start, check, reset and watch, with nothing of the learner's ever overwritten."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from scalelab.classroom import Ledger, find_lab, watching
from scalelab.classroom.jupyterlab import lab_command
from scalelab.classroom.progress import next_lab
from scalelab.cli import main


@pytest.fixture
def run(labs, tmp_path, monkeypatch):
    """Run `scalelab lab ...` in a folder of its own; return exit code and output."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def call(*words):
        done = CliRunner().invoke(main, ["lab", *words])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return call


def test_list_shows_minutes_state_and_points(run):
    code, output = run("list")
    assert code == 0
    assert output.split() == [
        *["lab", "min", "state", "points"],
        *["03", "A", "demo", "20", "new", "0/3"],
        *["Next:", "scalelab", "lab", "start", "03"],
    ]


def test_start_copies_once_and_never_overwrites(run, tmp_path):
    code, output = run("start", "3", "--no-open")
    assert code == 0
    assert "your copy" in output
    mine = tmp_path / "here" / "03_demo" / "03_demo.ipynb"
    mine.write_text("edited")
    assert "left as it is" in run("start", "3", "--no-open")[1]
    assert mine.read_text() == "edited"


def test_a_begun_lab_is_gone_on_with_where_it_was_started(run, tmp_path):
    run("start", "3", "--no-open", "--folder", str(tmp_path / "elsewhere"))
    mine = tmp_path / "elsewhere" / "03_demo.ipynb"
    told = run("list")[1].split("\n\n")[1]
    assert told == f"Next: scalelab lab start 03\nYour copy: {mine}\n"
    Ledger().append("hint", "03_demo", "weights", number=1)
    told = run("list")[1].split("\n\n")[1]
    assert told == f"Go on with: scalelab lab start 03\nYour copy: {mine}\n"
    assert run("start", "03", "--no-open")[1].startswith(f"{mine}: your copy, was there already")
    assert list((tmp_path / "here").iterdir()) == []


def test_the_lab_last_worked_on_comes_before_an_earlier_one_that_is_new(labs):
    infos = [replace(find_lab(3), slug=f"0{number}_demo") for number in (1, 2, 3)]
    ledger = Ledger()
    assert next_lab(infos, ledger) is infos[0]
    ledger.append("started", "03_demo", "notebook", path="x")
    ledger.append("hint", "02_demo", "weights", number=1)
    ledger.append("started", "01_demo", "notebook", path="x")
    assert next_lab(infos, ledger) is infos[1]
    for info in infos:
        ledger.append("check", info.slug, "weights", outcome="passed", points=3)
    assert next_lab(infos, ledger) is None


def test_a_copy_of_an_earlier_version_is_used_and_never_doubled(run, tmp_path):
    old = tmp_path / "here" / "03_demo" / "lab.ipynb"
    old.parent.mkdir()
    old.write_text("edited")
    assert "left as it is" in run("start", "3", "--no-open")[1]
    assert "lab.ipynb" in run("check", "3")[1]
    assert run("reset", "3")[0] == 0
    names = [path.name for path in sorted(old.parent.iterdir())]
    assert names[1:] == ["lab.ipynb"]
    assert re.fullmatch(r"lab\.backup-[\d-]+\.ipynb", names[0])


def test_the_courses_own_notebook_is_never_a_learners(run, labs, monkeypatch):
    before = (labs / "03_demo" / "lab.ipynb").read_bytes()
    monkeypatch.chdir(labs)
    for command in ("start", "reset"):
        code, output = run(command, "3", *(["--no-open"] if command == "start" else []))
        assert code == 2
        assert "the course's own notebook" in output
    assert (labs / "03_demo" / "lab.ipynb").read_bytes() == before


def test_a_copy_that_could_not_be_finished_leaves_nothing(run, tmp_path, monkeypatch):
    class Full:
        def __init__(self, path):
            self.file = real(path, "wb")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, content):
            self.file.write(content[:10])
            raise OSError(28, "No space left on device")

    real = Path.open

    def open_(path, mode="r", *args, **kwargs):
        return Full(path) if mode == "xb" else real(path, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", open_)
    code, output = run("start", "3", "--no-open")
    assert code == 2
    assert "No space left" in output
    assert list((tmp_path / "here" / "03_demo").iterdir()) == []


def test_where_progress_cannot_be_saved_the_terminal_says_so(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCALELAB_HOME", str(tmp_path / "file"))
    for words in (("start", "3", "--no-open"), ("reset", "3")):
        code, output = run(*words)
        assert code == 0
        assert "cannot be written" in output
        assert "set SCALELAB_HOME" in output


def test_start_takes_a_folder(run, tmp_path):
    run("start", "3", "--no-open", "--folder", str(tmp_path / "elsewhere"))
    assert (tmp_path / "elsewhere" / "03_demo.ipynb").exists()


def test_start_all_copies_every_lab_and_opens_the_first_that_is_not_done(run, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(os, "execve", lambda *call: opened.append(call))
    monkeypatch.setattr(
        "subprocess.call", lambda command, env: opened.append((command[0], command, env)) or 0
    )
    assert run("start", "all", "--", "--no-browser")[0] == 0
    here = tmp_path / "here"
    assert (here / "my-labs" / "03_demo" / "03_demo.ipynb").is_file()
    ((_, command, environment),) = opened
    assert command[command.index("--notebook-dir") + 1] == str(here)
    assert "--LabApp.default_url=/lab/tree/my-labs/03_demo/03_demo.ipynb" in command
    assert command[-1] == "--no-browser"
    assert "JUPYTER_CONFIG_PATH" in environment
    Ledger().append("check", "03_demo", "weights", outcome="passed", points=3)
    run("start", "all")
    assert "--LabApp.default_url=/lab/tree/my-labs" in opened[-1][1]


def test_jupyterlab_opens_on_the_notebook_itself_and_asks_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/mine")
    command, variables = lab_command(tmp_path / "lab.ipynb")
    assert command[1:5] == ["-m", "jupyterlab", "--notebook-dir", str(tmp_path)]
    assert "--LabApp.default_url=/lab/tree/lab.ipynb" in command
    mine, ours = variables["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert mine == "/mine"
    settings = json.loads((Path(ours) / "labconfig" / "default_setting_overrides.json").read_text())
    assert settings["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"


def test_without_jupyterlab_start_says_what_brings_it(run, monkeypatch):
    monkeypatch.setattr("scalelab.classroom.jupyterlab.is_installed", lambda package: False)
    code, output = run("start", "3")
    assert code == 2
    assert 'pip install "scalelab[lab]"' in output


def test_reset_keeps_a_backup_each_time(run, tmp_path, labs):
    folder = tmp_path / "here" / "03_demo"
    run("start", "3", "--no-open")
    for number in range(3):
        (folder / "03_demo.ipynb").write_text(f"edited {number}")
        assert run("reset", "3")[0] == 0
    backups = sorted(path.read_text() for path in folder.glob("03_demo.backup-*.ipynb"))
    assert backups == ["edited 0", "edited 1", "edited 2"]
    assert (folder / "03_demo.ipynb").read_bytes() == (labs / "03_demo" / "lab.ipynb").read_bytes()


def test_reset_keeps_no_backup_of_what_was_only_run(run, tmp_path):
    run("start", "3", "--no-open")
    mine = tmp_path / "here" / "03_demo" / "03_demo.ipynb"
    notebook = json.loads(mine.read_text())
    for cell in notebook["cells"]:
        cell |= {"source": "".join(cell["source"]), "execution_count": 1, "outputs": []}
    mine.write_text(json.dumps(notebook))
    assert f"{mine}: new; the old one was untouched" in run("reset", "3")[1]
    assert [path.name for path in mine.parent.iterdir()] == [mine.name]


def test_reset_that_cannot_write_leaves_the_notebook(run, tmp_path, monkeypatch):
    run("start", "3", "--no-open")
    mine = tmp_path / "here" / "03_demo" / "03_demo.ipynb"
    mine.write_text("edited")

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copy2", no_space)
    code, output = run("reset", "3")
    assert code == 2
    assert "No space left" in output
    assert [path.name for path in mine.parent.iterdir()] == ["03_demo.ipynb"]
    assert mine.read_text() == "edited"


@pytest.mark.parametrize(
    "words", [("check", "3"), ("watch", "3"), ("check", "3", "nix.ipynb"), ("start", "7")]
)
def test_what_is_missing_is_an_error_with_the_next_step(run, words):
    code, output = run(*words)
    assert code == 2
    assert output.startswith("error: ")
    assert "\nhint: " in output


@pytest.mark.slow
def test_check_says_what_is_missing_and_exits_with_1_until_all_is_passed(run, tmp_path):
    run("start", "3", "--no-open")
    code, output = run("check", "3")
    assert code == 1
    assert "not attempted    0/2  weights" in output
    assert "next: weights: Weigh every micro-batch" in output
    mine = tmp_path / "here" / "03_demo" / "03_demo.ipynb"
    solve(mine)
    code, output = run("check", "3")
    assert code == 0, output
    assert "3 of 3 points" in output
    assert "done" in run("list")[1]
    run("reset", "3")
    output = run("check", "3")[1]
    assert "0 of 3 points (3 were earned so far, and stay)" in output
    assert output.count("still the stub") == 1


@pytest.mark.slow
def test_watch_checks_again_at_every_save_and_survives_half_of_one(run, tmp_path, monkeypatch):
    run("start", "3", "--no-open")
    mine = tmp_path / "here" / "03_demo" / "03_demo.ipynb"
    whole = mine.read_text()

    def saves(path):
        yield 0
        mine.write_text(whole[:100])
        yield 1
        mine.write_text(whole)
        solve(mine)
        yield 2
        raise AssertionError("it goes on after the last task")

    monkeypatch.setattr(watching, "saves", saves)
    code, output = run("watch", "3")
    assert code == 0
    assert [
        words in output
        for words in ("0 of 3 points", "is cut off: its end is missing: save it again", "3 of 3 points")
    ] == [True] * 3


def test_a_save_counts_when_the_file_has_come_to_rest(tmp_path):
    path = tmp_path / "lab.ipynb"
    path.write_text("one")
    steps = iter([None, "unlink", "two", "three", None, None, "three and more", None])

    def sleep(_):
        step = next(steps)
        if step == "unlink":
            path.unlink()
        elif step is not None:
            path.write_text(step)

    found = watching.saves(path, sleep=sleep)
    seen = [(next(found), path.read_text()) for _ in range(3)]
    assert seen == [(0, "one"), (1, "three"), (2, "three and more")]


def solve(path):
    """Write right answers into a learner's copy."""
    notebook = json.loads(path.read_text())
    notebook["cells"][1]["source"] = "def weights(counts):\n    return [n / sum(counts) for n in counts]"
    notebook["cells"][3]["source"] = "noise = 0.1"
    path.write_text(json.dumps(notebook))
