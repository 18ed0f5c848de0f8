"""A lab of one task without torch, which starts fast: for tests of runs rather than of answers."""

from __future__ import annotations

import json
from pathlib import Path

from grader_tiny import code_cell

CHECKS = """
import os

from scalelab.grading import check, expect

HINTS = ("a", "b", "c")


@check("double", points=2, hints=HINTS)
def doubles(answers):
    "Double a number."
    x = int(answers.rng.integers(1000))
    if answers.get("mood") == "kill the judge":
        os._exit(9)
    if answers.get("mood") == "kill the judge once" and not os.path.exists(HERE + "/killed"):
        open(HERE + "/killed", "w").close()
        os._exit(9)
    found = answers["double"](x)
    expect(found == 2 * x, f"double of {x} is {found}", code="wrong")


@check("name", points=1, hints=HINTS)
def name(answers):
    "Say who you are."
    expect(answers["name"] != "", "no name", code="no-name")
"""


def make_lab(folder: Path) -> Path:
    """Write the lab into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "checks.py").write_text(CHECKS.replace("HERE", repr(str(folder))))
    (folder / "lab.ipynb").write_bytes(book("# your code here\ndouble = ...", "name = ..."))
    return folder


def book(double: str = "def double(x):\n    return 2 * x", name: str = "name = 'mira'") -> bytes:
    """Return a submission."""
    cells = [code_cell("import math"), code_cell(double), code_cell(name)]
    for cell, task in zip(cells[1:], ("double", "name"), strict=True):
        cell["metadata"] = {"nbgrader": {"solution": True, "grade": False, "grade_id": task}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()


def wrong(name: str = "zoe") -> bytes:
    """Return a submission with one point of three."""
    return book("def double(x):\n    return x", f"name = {name!r}")


def fill_class(folder: Path, count: int) -> Path:
    """Write a class: right, wrong, crashing, untouched and broken ones."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = [book(), wrong(), book("def double(x):\n    return 1 / 0"), book("double = ..."), b"no notebook"]
    for number in range(count):
        (folder / f"student{number:03}.ipynb").write_bytes(kinds[number % len(kinds)])
    return folder
