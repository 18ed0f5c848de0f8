"""The script behind the pull request's job: real runs of two commits of a small repository, in turn."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scalelab.authoring.render import render_script
from scalelab.bench.results import read_results

ROOT = Path(__file__).resolve().parents[2]
SUITE = """\
name = "mini"
tiers = ["ci"]

[[point]]
name = "work"
notebook = "mini.ipynb"
timeout_s = 120
rounds = 1
"""
SOURCE = """\
# %% tags=["parameters"]
record_path: str = ""  # where to write the RunRecord; empty: show only

# %%
from scalelab.bench import claim, write_record
from scalelab.core.records import metric
from scalelab.core.stats import measure

seconds = measure(lambda: sum(range(SIZE)), min_iterations=30, min_duration_s=0.05)
said = {"the size is even": SIZE % 2 == 0, "the size is 1": SIZE == 1}
notes = {"claims": [claim(text, holds, "SIZE") for text, holds in said.items()]}
write_record(record_path, "mini", parameters={}, metrics=[metric("latency", "s", seconds)], notes=notes)
"""


@pytest.fixture
def repository(tmp_path):
    """A checkout with the package and one small suite, committed."""
    home = tmp_path / "checkout"
    quiet = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "scalelab", home / "scalelab", ignore=quiet)
    (home / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "bench_pull_request.py", home / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, home)
    (home / "labs" / "benchmarks").mkdir(parents=True)
    git(home, "init", "--quiet", "--initial-branch", "main")
    commit_suite(home, size=20_000)
    return home


def git(home, *arguments):
    who = ["-c", "user.name=tests", "-c", "user.email=tests@example.org"]
    done = subprocess.run(["git", *who, *arguments], cwd=home, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit_suite(home, *, size):
    folder = home / "labs" / "benchmarks"
    (folder / "mini.toml").write_text(SUITE)
    (folder / "mini.py").write_text(SOURCE.replace("SIZE", str(size)))
    (folder / "mini.ipynb").write_bytes(render_script(folder / "mini.py"))
    git(home, "add", "--all")
    git(home, "commit", "--quiet", "--message", f"size {size}")


def run(home, *arguments, **more):
    command = [sys.executable, "scripts/bench_pull_request.py", "--out", "out", *arguments]
    env = {**os.environ, **more}
    return subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=800, env=env)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_head_of_three_times_the_work_fails_and_the_comment_says_so(repository, tmp_path):
    commit_suite(repository, size=60_000)
    summary = tmp_path / "summary.md"
    done = run(
        repository,
        "--base",
        "HEAD~1",
        "--suite",
        "labs/benchmarks/mini.toml",
        GITHUB_STEP_SUMMARY=str(summary),
    )
    assert done.returncode == 5, done.stdout + done.stderr
    text = (repository / "out" / "comment.md").read_text()
    assert text == summary.read_text()
    assert text.startswith("<!-- scalelab bench -->\n")
    assert "- mini: **worse**" in text
    assert "latency" in text
    base, head = (read_results(repository / "out" / side / "mini").records for side in ("base", "head"))
    assert [record.run["round"] for record in base] == [record.run["round"] for record in head] == [*range(6)]
    assert {record.git.partition("-")[0] for record in base} == {git(repository, "rev-parse", "HEAD~1")[:12]}
    starts = sorted([(record.when, "b") for record in base] + [(record.when, "h") for record in head])
    assert "".join(side for _, side in starts) == "bhhb" * 3, "base and head take turns"
    assert not (repository / "out" / "base-tree").exists()
    assert git(repository, "worktree", "list").count("\n") == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_suite_that_the_base_does_not_have_is_said_and_not_judged(repository):
    folder = repository / "labs" / "benchmarks"
    shutil.copy(folder / "mini.toml", folder / "fresh.toml")
    (folder / "fresh.toml").write_text(SUITE.replace('"mini"', '"fresh"'))
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "a new suite")
    asked = ["--base", "HEAD~1", "--suite", "labs/benchmarks/fresh.toml", "--rounds", "1"]
    done = run(repository, *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The base cannot run this suite" in (repository / "out" / "comment.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_claim_that_only_the_head_breaks_fails_the_job(repository):
    commit_suite(repository, size=20_001)
    done = run(repository, "--base", "HEAD~1", "--suite", "labs/benchmarks/mini.toml", "--rounds", "1")
    assert done.returncode == 1, done.stdout + done.stderr
    text = (repository / "out" / "comment.md").read_text()
    assert "FAIL, which the base kept: the size is even" in text
    assert "kept: the size is 1" not in text, "the base broke that one too"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_broken_point_of_the_head_fails_the_job(repository):
    commit_suite(repository, size="20_000 / 0")
    done = run(repository, "--base", "HEAD~1", "--suite", "labs/benchmarks/mini.toml", "--rounds", "1")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "- mini: a point failed" in (repository / "out" / "comment.md").read_text()


def test_a_base_that_is_not_there_is_named(repository):
    done = run(repository, "--base", "origin/main")
    assert done.returncode == 2
    assert "no commit 'origin/main'" in done.stderr


@pytest.mark.parametrize(("there", "method"), [("", "POST"), ("17\n", "PATCH")], ids=["first", "again"])
@pytest.mark.skipif(sys.platform == "win32", reason="only on systems whose programs may be shell scripts")
def test_there_is_one_comment_and_it_is_written_anew(repository, tmp_path, there, method):
    programs = tmp_path / "bin"
    programs.mkdir()
    fake = programs / "gh"
    fake.write_text(
        f"#!{sys.executable}\nimport json, sys\nfrom pathlib import Path\nhere = Path({str(tmp_path)!r})\n"
        'if "--jq" in sys.argv:\n'
        f"    print({there!r}, end='')\n"
        "else:\n"
        '    (here / "sent.json").write_text(json.dumps([sys.argv[1:], json.load(sys.stdin)]))\n'
    )
    fake.chmod(0o755)
    (repository / "out").mkdir()
    (repository / "out" / "comment.md").write_text("<!-- scalelab bench -->\nthe table\n")
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    done = run(repository, "--comment", "4", PATH=path, GITHUB_REPOSITORY="a/b")
    assert done.returncode == 0, done.stderr
    arguments, body = json.loads((tmp_path / "sent.json").read_text())
    assert arguments[:3] == ["api", "--method", method]
    assert arguments[3] == ("repos/a/b/issues/comments/17" if there else "repos/a/b/issues/4/comments")
    assert body == {"body": "<!-- scalelab bench -->\nthe table\n"}
