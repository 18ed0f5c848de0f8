"""A small lab in a folder of its own, and a learner's data that nobody else uses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalelab.classroom import Lab

SLUG = "03_demo"
TOML = """
slug = "03_demo"
number = 3
title = "A demo"
chapter = "measuring"
minutes = 20
ram_mib = 500
disk_mib = 10
extras = []
points = 3
question = "Does it hold?"
aha = "It does."
"""
CHECKS = '''
from scalelab.grading import check, expect_close, inconclusive

@check("weights", points=2, hints=("first hint", "second hint", "third hint"), limit_s=2.0)
def weights_follow_tokens(answers):
    """Weigh every micro-batch by its share of the tokens."""
    counts = [50, *answers.rng.integers(5, 40, 2).tolist()]
    wanted = [n / sum(counts) for n in counts]
    expect_close(answers["weights"](counts), wanted, what="weights", code="equal-shares", meaning="all alike")

@check("speed", points=1, hints=("a", "b", "c"), measured=True)
def is_fast(answers):
    """Be fast."""
    if answers["noise"] > 0.3:
        inconclusive("too noisy")
    expect_close(answers["noise"], 0.1, what="noise", code="not-it", rtol=2.0)
'''


HEAD = f'from scalelab import Lab\nlab = Lab("{SLUG}")'
STUDENT = [
    HEAD,
    "def weights(counts):\n    raise NotImplementedError",
    'lab.check("weights")',
    "noise = ...",
    'lab.check("speed")',
]


@pytest.fixture
def labs(tmp_path, monkeypatch) -> Path:
    """The folder of the labs: one lab, with a notebook."""
    folder = tmp_path / "labs" / SLUG
    folder.mkdir(parents=True)
    (folder / "lab.toml").write_text(TOML)
    (folder / "checks.py").write_text(CHECKS)
    (folder / "lab.ipynb").write_text(json.dumps(as_notebook(STUDENT)))
    monkeypatch.setenv("SCALELAB_LABS", str(folder.parent))
    monkeypatch.setenv("SCALELAB_HOME", str(tmp_path / "home"))
    for name in ("SCALELAB_SEED", "SCALELAB_COURSE_KEY", "SCALELAB_STRICT"):
        monkeypatch.delenv(name, raising=False)
    return folder.parent


@pytest.fixture
def lab(labs) -> Lab:
    """The lab over an empty notebook."""
    return Lab(SLUG, {})


@pytest.fixture
def release(labs) -> Callable[[list[str]], None]:
    """Put other cells into the lab's released notebook."""
    return lambda cells: (labs / SLUG / "lab.ipynb").write_text(json.dumps(as_notebook(cells))) and None


@pytest.fixture
def solution(labs) -> Path:
    """The solution beside the labs, as in a clone of the repository."""
    notebook = as_notebook(
        [
            "import math",
            "def weights(counts):\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION",
            'lab.check("weights")',
        ]
    )
    notebook["cells"][1]["metadata"]["nbgrader"] = {"grade_id": "weights", "solution": True}
    path = labs.parent / "solutions" / SLUG / "solution.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(notebook))
    return path


@pytest.fixture
def write_notebook(tmp_path) -> Callable[..., Path]:
    """Write a notebook of code cells as Colab saves it: metadata of its own, lines as a list."""

    def write(*sources: str, name: str = "mine.ipynb", head: str = HEAD) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(as_notebook([head, *sources])))
        return path

    return write


def as_notebook(sources: list[str]) -> dict[str, Any]:
    cells = [
        {
            "cell_type": "code",
            "metadata": {"id": f"c{number}", "colab": {"base_uri": "https://localhost"}},
            "source": source.splitlines(keepends=True),
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(sources)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"colab": {"provenance": []}, "kernelspec": kernel}
    return {"nbformat": 4, "nbformat_minor": 4, "metadata": metadata, "cells": cells}
