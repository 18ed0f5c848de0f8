"""What a point's key depends on, and what it does not."""

import dataclasses
from pathlib import Path

import pytest

from scalelab.bench import Point, keys
from scalelab.bench.keys import code_files, code_hash, modules_beside, point_key


@pytest.fixture
def notebook(tmp_path):
    (tmp_path / "n.ipynb").write_text('{"source": ["from tools.first import work"]}')
    (tmp_path / "n.py").write_text("# its source")
    (tmp_path / "other.ipynb").write_text("{}")
    (tmp_path / "other.py").write_text("from tools import x")
    (tmp_path / "alone.py").write_text("")
    (tmp_path / "helper.py").write_text("")
    (tmp_path / "tools" / "deep").mkdir(parents=True)
    (tmp_path / "tools" / "first.py").write_text("import helper")
    (tmp_path / "tools" / "deep" / "second.py").write_text("")
    return tmp_path / "n.ipynb"


def test_modules_count_that_a_notebook_names_itself_or_through_others(notebook):
    found = [path.relative_to(notebook.parent).as_posix() for path in modules_beside(notebook)]
    assert found == ["helper.py", "tools/deep/second.py", "tools/first.py"]


def test_a_key_changes_with_all_that_decides_a_result_and_with_nothing_else(notebook):
    point = Point("p", "p", notebook, {"a": 1, "b": 2})
    first = point_key(point, "code", ["need"])

    def again(code="code", needs=("need",), **changes):
        return point_key(dataclasses.replace(point, **changes), code, needs)

    assert again(title="another", timeout_s=1.0, rounds=6, parameters={"b": 2, "a": 1}) == first
    assert len({first, again(code="c"), again(needs=["n"]), again(parameters={"a": 2, "b": 2})}) == 4
    (notebook.parent / "alone.py").write_text("changed")
    assert again() == first
    (notebook.parent / "tools" / "deep" / "second.py").write_text("changed")
    assert again() != first
    second = again()
    notebook.write_text(notebook.read_text() + " ")
    assert again() != second


def test_the_codes_hash_is_of_what_measures_and_not_of_what_draws(tmp_path, monkeypatch):
    files = code_files()
    assert {"serve/gateway.py", "core/stats.py", "bench/point.py"} <= files.keys()
    assert not {"bench/report.py", "bench/compare.py", "core/page.py", "cli/bench.py"} & files.keys()
    assert set(map(len, files.values())) == {64}
    before = code_hash()
    monkeypatch.setattr(keys, "installed_version", lambda name: "another")
    assert code_hash() != before


def test_every_file_that_is_named_as_measuring_is_there():
    package = Path(keys.__file__).resolve().parents[1]
    assert all((package / name).is_file() for name in code_files())
