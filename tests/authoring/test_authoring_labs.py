"""The labs of this checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalelab.authoring import build_lab, find_labs, verify_packages
from scalelab.authoring.leaks import leaks_in_lab

ROOT = Path(__file__).resolve().parents[2]


def test_the_notebooks_of_every_lab_are_what_their_sources_give():
    labs = find_labs()
    assert labs
    stale = [built.path for lab in labs for built in build_lab(lab, only_check=True) if not built.is_fresh]
    assert not stale, "run `scalelab author build`"


def test_no_lab_folder_holds_solution_text():
    labs = find_labs()
    assert labs
    assert [leak for lab in labs for leak in leaks_in_lab(lab)] == []


@pytest.mark.slow
def test_wheel_and_sdist_hold_the_labs_but_no_solution():
    labs = find_labs()
    assert labs
    assert verify_packages(labs, ROOT) == []
