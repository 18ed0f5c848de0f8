"""``scalelab bench report`` and ``explore``: what they say, and with which code they end."""

import pytest
from click.testing import CliRunner

from scalelab.cli import main
from scalelab.core.records import RecordStore, RunRecord, metric

MACHINE = {"cpu": "one", "cores": 2}


def run(*words):
    return CliRunner().invoke(main, ["bench", *map(str, words)])


@pytest.fixture
def folders(tmp_path):
    """Six rounds before and after: the rate has doubled."""
    for name, speed in (("before", 100), ("after", 200)):
        store = RecordStore(tmp_path / name / "records.jsonl")
        for number in range(6):
            rate = metric("throughput", "1/s", speed + number)
            store.append(RunRecord("s/p", {}, (rate,), machine=MACHINE, git="", run={"round": number}))
    return tmp_path / "before", tmp_path / "after"


def test_against_a_baseline_the_page_says_what_changed(folders):
    before, after = folders
    done = run("report", after, "--against", before)
    assert done.exit_code == 0, done.output
    page = (after / "report.html").read_text(encoding="utf-8")
    assert "Of 1 metrics: 1 better." in page
    assert not (before / "report.html").exists()


def test_several_folders_make_one_page_where_it_is_asked_for(folders, tmp_path):
    done = run("report", *folders, "--title", "Both", "--out", tmp_path / "both.html")
    assert done.exit_code == 0, done.output
    assert "<h1>Both</h1>" in (tmp_path / "both.html").read_text(encoding="utf-8")


def test_a_comparison_of_several_folders_is_refused(folders):
    done = run("report", *folders, "--against", folders[0])
    assert done.exit_code == 2
    assert "--against compares one folder, you gave 2" in done.output


@pytest.mark.parametrize("command", ["report", "explore"])
def test_a_folder_without_records_ends_with_2_and_leaves_nothing(tmp_path, command):
    (tmp_path / "empty").mkdir()
    done = run(command, tmp_path / "empty")
    assert done.exit_code == 2
    assert "has no records" in done.output
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_notebook_is_written_and_not_opened(folders):
    done = run("explore", folders[0], "--no-open")
    assert done.exit_code == 0, done.output
    assert (folders[0] / "explore.ipynb").is_file()
