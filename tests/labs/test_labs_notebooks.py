"""Lab notebooks as a student reads them: code fits the column, cells are not walls."""

import json

import pytest

from scalelab.core.paths import shipped

NOTEBOOKS = sorted(shipped("labs").glob("*/lab.ipynb"))
MAX_COLUMNS = 96  # what JupyterLab shows without scrolling at 1280 pixels, its file browser open
MAX_LINES = 80


def code_cells(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.parent.name)
def test_no_line_of_code_scrolls(path):
    lines = [line for cell in code_cells(path) for line in cell.splitlines()]
    assert [line for line in lines if len(line) > MAX_COLUMNS] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.parent.name)
def test_no_cell_is_a_wall_of_code(path):
    assert [cell[:60] for cell in code_cells(path) if len(cell.splitlines()) > MAX_LINES] == []


def test_the_index_links_every_lab():
    index = (shipped("labs") / "README.md").read_text(encoding="utf-8")
    assert [path.parent.name for path in NOTEBOOKS if f"({path.parent.name}/README.md)" not in index] == []
