"""One answer, one verdict: in a notebook cell, from the terminal, under nbmake and in plain Python."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import pytest

from scalelab.grading import attempt, load_checks

pytest.importorskip("papermill")
pytest.importorskip("nbmake")
nbformat = pytest.importorskip("nbformat")
pytestmark = pytest.mark.slow

SLUG = "77_same_verdict"
TOML = f"""
slug = "{SLUG}"
number = 77
title = "A small lab"
chapter = "measuring"
minutes = 1
ram_mib = 200
disk_mib = 1
extras = []
points = 2
question = "How much is twice as much?"
aha = "Twice as much."
"""
CHECKS = '''
from scalelab.grading import Answers, check, expect_close

@check("double", points=2, hints=("Look.", "Multiply.", "By two."), limit_s=2.0)
def doubles(answers: Answers) -> None:
    """Return twice the number."""
    number = int(answers.rng.integers(3, 99))
    told = {"what": f"double({number})", "code": "squared", "meaning": "this is the square"}
    expect_close(answers["double"](number), 2 * number, **told)
'''
ANSWERS = {
    "right": "return 2 * number",
    "wrong": "return number**2",
    "crashing": "return number['two']",
    "untouched": "# your code here\n    raise NotImplementedError",
    "endless": "while True:\n        number += 1",
}
OUTCOMES = {
    "right": "passed",
    "wrong": "failed",
    "crashing": "crashed",
    "untouched": "not attempted",
    "endless": "crashed",
}
SEED = 3
LIMIT_S = 120


@dataclass(frozen=True)
class Verdict:
    """What some way of checking said."""

    outcome: str
    points: float
    said: str
    """everything that it showed"""


@pytest.fixture(scope="module")
def classroom(tmp_path_factory):
    """A labs folder with one small lab, and a notebook of it with each kind of answer."""
    root = tmp_path_factory.mktemp("classroom")
    lab = root / "labs" / SLUG
    lab.mkdir(parents=True)
    (lab / "lab.toml").write_text(TOML, encoding="utf-8")
    (lab / "checks.py").write_text(CHECKS, encoding="utf-8")
    for kind, body in ANSWERS.items():
        cells = [
            f'from scalelab import Lab\n\nlab = Lab("{SLUG}")',
            f"def double(number):\n    {body}",
            'lab.check("double")',
        ]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        nbformat.write(notebook, root / f"{kind}.ipynb")
    nbformat.write(notebook, lab / "lab.ipynb")
    return root


def run(classroom: Path, home: str, *command: object, strict: bool = False) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=classroom,
        env={
            **os.environ,
            "SCALELAB_LABS": str(classroom / "labs"),
            "SCALELAB_HOME": str(classroom / home),
            "SCALELAB_SEED": str(SEED),
            "SCALELAB_STRICT": "1" if strict else "",
            "NO_COLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


@pytest.fixture(scope="module")
def under_nbmake(classroom):
    """What one strict run of pytest says of each notebook."""
    results = classroom / "nbmake.xml"
    notebooks = [f"{kind}.ipynb" for kind in ANSWERS]
    arguments = [
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(classroom),
        f"--junitxml={results}",
    ]
    done = run(classroom, "home-nbmake", "pytest", "--nbmake", *arguments, *notebooks, strict=True)
    assert results.exists(), done.stdout + done.stderr
    found = {}
    for case in ElementTree.parse(results).iter("testcase"):
        kind = next(kind for kind in ANSWERS if kind in f"{case.get('name')} {case.get('classname')}")
        found[kind] = "".join(f"{part.get('message') or ''}\n{part.text or ''}" for part in case)
    assert sorted(found) == sorted(ANSWERS), done.stdout
    return found


def in_plain_python(classroom: Path, kind: str) -> Verdict:
    check = load_checks(classroom / "labs" / SLUG)["double"]
    result = attempt(check, f"def double(number):\n    {ANSWERS[kind]}", seed=SEED)
    return Verdict(result.outcome.value, result.points, result.message)


def in_a_cell(classroom: Path, kind: str) -> Verdict:
    out = classroom / f"{kind}-done.ipynb"
    done = run(classroom, f"home-{kind}", "papermill", f"{kind}.ipynb", out.name, "--no-progress-bar")
    assert done.returncode == 0, done.stderr  # a wrong answer never breaks a cell
    (output,) = nbformat.read(out, as_version=4).cells[-1].outputs
    (ledger,) = (classroom / f"home-{kind}").glob("*ledger*.jsonl")
    events = [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()]
    (event,) = [event for event in events if event["kind"] == "check"]
    facts = event.get("facts", event)
    assert float(output["data"]["text/plain"]) == facts["points"]
    shown = html.unescape(re.sub(r"<[^>]+>", "", output["data"]["text/html"]))
    return Verdict(facts["outcome"], facts["points"], shown)


def in_the_terminal(classroom: Path, kind: str) -> Verdict:
    done = run(classroom, f"home-cli-{kind}", "scalelab", "lab", "check", "77", f"{kind}.ipynb")
    told = re.search(r"^(\w+(?: \w+)?)\s+([\d.]+)/2\s+double$", done.stdout, re.MULTILINE)
    assert told, done.stdout + done.stderr
    assert (done.returncode == 0) == (told[1] == "passed")
    return Verdict(told[1], float(told[2]), done.stdout)


def under_pytest(found: dict[str, str], kind: str) -> Verdict:
    if not found[kind].strip():
        return Verdict("passed", 2.0, "")
    told = re.search(r"double: (\w+(?: \w+)?) \(([\d.]+)/2\)", found[kind])
    assert told, found[kind]
    return Verdict(told[1], float(told[2]), found[kind])


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_has_one_verdict_everywhere(classroom, under_nbmake, kind):
    plain = in_plain_python(classroom, kind)
    others = {
        "cell": in_a_cell(classroom, kind),
        "terminal": in_the_terminal(classroom, kind),
        "nbmake": under_pytest(under_nbmake, kind),
    }
    assert plain.outcome == OUTCOMES[kind]
    assert plain.said or kind == "right"
    for where, verdict in others.items():
        assert (verdict.outcome, verdict.points) == (plain.outcome, plain.points), where
        # the same words too: inputs come from one seed; a card has a capital first, and code for backticks
        words = re.sub(r",? in line \d+.*", "", plain.said.replace("`", "").lower())
        said = re.sub(r"\s+", " ", verdict.said.replace("`", "").lower())
        assert words in said, (where, plain.said, verdict.said)
