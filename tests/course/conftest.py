from __future__ import annotations

import pytest
from course_lab import install


@pytest.fixture
def lab_folder(tmp_path, monkeypatch):
    """The lab of own numbers, installed as the only lab of the course."""
    labs = tmp_path / "labs"
    labs.mkdir()
    monkeypatch.setenv("SCALELAB_LABS", str(labs))
    monkeypatch.setenv("SCALELAB_HOME", str(tmp_path / "home"))
    return install(labs)
