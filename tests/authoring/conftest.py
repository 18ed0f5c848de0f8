from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scalelab.authoring import LabFolders, new_lab

# jupyter_client and jupytext warn about folders and paths of the machine, not about our notebooks


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout: folders labs and solutions."""
    for name in ("labs", "solutions"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("SCALELAB_LABS", str(tmp_path / "labs"))
    monkeypatch.setenv("SCALELAB_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def lab(course: Path) -> LabFolders:
    """A lab as ``author new`` writes it: one task, called rate."""
    return new_lab("42_tiny_rate")


@pytest.fixture
def change(lab: LabFolders) -> Callable[[str, str, str], None]:
    """Replace a piece of one of the lab's files; the piece must be there."""

    def replace(name: str, old: str, new: str) -> None:
        folder = lab.lab if (lab.lab / name).exists() else lab.solution
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old!r}"
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")

    return replace
