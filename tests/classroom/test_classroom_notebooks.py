"""A learner's notebook is read whatever saved it; what is none is refused with the way back."""

from __future__ import annotations

import json

import pytest

from scalelab.classroom.notebooks import read_notebook
from scalelab.core.errors import DataError


def test_colabs_metadata_and_lines_as_a_list_do_no_harm(write_notebook):
    notebook = read_notebook(write_notebook("x = 1\ny = 2", "z = 3"))
    assert [cell.source for cell in notebook.cells][1:] == ["x = 1\ny = 2", "z = 3"]
    assert notebook.lab == "03_demo"
    assert notebook.notes == ()


def test_format_3_is_read_and_said(tmp_path):
    cells = [
        {"cell_type": "code", "input": ["x = 1\n", "y = 2"], "outputs": [], "language": "python"},
        {"cell_type": "heading", "level": 1, "source": "Title"},
    ]
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}], "metadata": {}}))
    notebook = read_notebook(path)
    assert [cell.source for cell in notebook.cells] == ["x = 1\ny = 2"]
    assert "format 3" in notebook.notes[0]


def test_a_task_that_is_defined_twice_is_said(write_notebook):
    path = write_notebook(
        "def weights(counts): return 1", "%time 1\ndef other(): pass", "def weights(counts): pass"
    )
    both = "2 (`def weights(counts): return 1`) and 4 (`def weights(counts): pass`)"
    assert read_notebook(path).notes == (f"weights is defined in cells {both}: the last one counts",)


def test_an_overload_within_one_cell_is_no_double(write_notebook):
    assert read_notebook(write_notebook("def f(): pass\ndef f(): return 1")).notes == ()


NO_NOTEBOOK = {
    "cut off": (b'{"cells": [{"cell_type": "code", "sour', "is cut off"),
    "empty": (b"  \n", "is empty"),
    "not utf-8": (b'{"cells": "\xff\xfe"}', "is not UTF-8"),
    "python": (b"import scalelab\n", "is no notebook any more"),
    "list": (b"[1, 2]", "no list of cells"),
    "cells no list": (b'{"cells": {"a": 1}}', "no list of cells"),
    "no code": (b'{"cells": [{"cell_type": "markdown", "source": "hi"}]}', "has no code cell"),
    "odd cells": (b'{"cells": [1, null, {"cell_type": "code"}]}', "has no code cell"),
    "deep": (b"[" * 200_000, "is nested too deeply"),
}


@pytest.mark.parametrize("case", NO_NOTEBOOK)
def test_a_file_that_is_no_notebook_is_refused_with_the_next_step(tmp_path, case):
    content, message = NO_NOTEBOOK[case]
    path = tmp_path / "mine.ipynb"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_notebook(path)
    assert message in caught.value.message
    assert "scalelab lab reset" in caught.value.hint


def test_jupyters_checkpoint_is_the_way_back_if_there_is_one(tmp_path):
    saved = tmp_path / ".ipynb_checkpoints" / "mine-checkpoint.ipynb"
    saved.parent.mkdir()
    saved.write_text("{}")
    path = tmp_path / "mine.ipynb"
    path.write_text('{"cells": [')
    with pytest.raises(DataError, match=r"older state: copy .*mine-checkpoint"):
        read_notebook(path)


@pytest.mark.parametrize("make", ["nothing", "folder"])
def test_a_path_that_is_no_file_is_said(tmp_path, make):
    path = tmp_path / "mine.ipynb"
    if make == "folder":
        path.mkdir()
    with pytest.raises(DataError, match=r"is not there|is a folder"):
        read_notebook(path)


def test_a_byte_order_mark_does_no_harm(write_notebook):
    path = write_notebook("x = 1")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_notebook(path).cells) == 2
