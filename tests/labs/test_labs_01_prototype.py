"""Lab 01: its given code, and the two effects that it is about."""

from __future__ import annotations

import ast
import types
from pathlib import Path

import numpy as np
import pytest

from scalelab.authoring.folders import find_labs, load_answers
from scalelab.authoring.source import parse_source
from scalelab.grading import attempt, load_checks, run_check

pytest.importorskip("jupytext")
FOLDERS = find_labs(["01"])[0]
SOURCE = parse_source(FOLDERS.read("source.py"))
ANSWERS = load_answers(FOLDERS)
CHECKS = load_checks(FOLDERS.lab)


@pytest.fixture(scope="module")
def notebook():
    """The names that the solution notebook defines, without what its cells do."""
    names = {"__name__": "__main__"}
    for cell in SOURCE.cells:
        if cell.kind != "code" or cell.check:
            continue
        for node in ast.parse(cell.text).body:
            is_constant = isinstance(node, ast.Assign) and not any(
                isinstance(part, ast.Call) for part in ast.walk(node)
            )
            if is_constant or isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef):
                exec(compile(ast.unparse(node), f"<cell {cell.number}>", "exec"), names)
    return names


@pytest.fixture
def given(notebook):
    """The same names for attribute access."""
    return types.SimpleNamespace(**notebook)


@pytest.fixture
def lying_history(monkeypatch, notebook):
    """Give the notebook's code an IPython history to read."""

    def put(*cells):
        shell = types.SimpleNamespace(user_ns={"In": ["", *cells]})
        monkeypatch.setitem(notebook, "get_ipython", lambda: shell)

    return put


def try_answer(task, source, notebook):
    fresh = {**notebook, "DEFAULTS": dict(notebook["DEFAULTS"])}
    return attempt(CHECKS[task], source, context=fresh, seed=5)


def test_a_changed_default_is_found_and_named(notebook):
    names = {**notebook, "DEFAULTS": {**notebook["DEFAULTS"], "epochs": 3}}
    assert run_check(CHECKS["settings"], names).code == "defaults-changed"


def test_an_answer_mended_after_it_wrote_into_the_defaults_passes(notebook):
    names = {**notebook, "DEFAULTS": dict(notebook["DEFAULTS"])}
    wrong = attempt(CHECKS["settings"], ANSWERS["settings"].wrong["remembers-the-last-run"], context=names)
    right = attempt(CHECKS["settings"], ANSWERS["settings"].right[0], context=names)
    assert (wrong.code, right.outcome.value) == ("remembers-the-last-run", "passed")


def test_a_check_leaves_the_dice_of_numpy_where_they_were(notebook):
    np.random.seed(7)
    expected = np.random.random(3)
    np.random.seed(7)
    for task in ("split", "run"):
        try_answer(task, ANSWERS[task].wrong["global-dice"], notebook)
    assert np.array_equal(np.random.random(3), expected)


def test_photos_of_a_seed_are_the_same_bytes(given):
    first, again, other = (given.belt_photos(20, seed)[0] for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_every_parcel_has_two_photos_of_one_code(given):
    photos, digits, parcel, is_night = given.belt_photos(30, 4)
    assert photos.shape == (60, 28, 168)
    assert np.array_equal(np.unique(parcel, return_counts=True)[1], np.full(30, 2))
    assert np.array_equal(digits[:30], digits[30:])
    assert np.array_equal(is_night[:30], is_night[30:])
    assert photos[is_night].mean() < photos[~is_night].mean() or 0 < is_night.sum() < 60


def test_digits_are_cut_from_left_to_right(given):
    photo = np.repeat(np.arange(6, dtype=np.uint8), 28)[None, None, :].repeat(28, axis=1)
    assert np.allclose(given.cut_digits(photo).mean(axis=1) * 255, np.arange(6))


def test_training_leaves_the_weights_that_it_starts_from(given):
    photos, digits, *_ = given.belt_photos(10, 1)
    start = given.new_weights(8, np.random.default_rng(0))
    kept = [part.copy() for part in start]
    settings = {**given.DEFAULTS, "epochs": 1}
    given.train_reader(start, photos, digits, settings, np.random.default_rng(0))
    assert all(np.array_equal(part, before) for part, before in zip(start, kept, strict=True))


def test_the_module_has_the_newest_version_of_a_function_and_no_history(lying_history, given):
    lying_history("def f():\n    return 1", "def (", "x = 5", "def f():\n    return 2", "f()")
    assert given.module_of(("f",)) == "def f():\n    return 2"


def test_a_cell_that_was_not_run_is_named(lying_history, given):
    lying_history("def f():\n    return 1")
    with pytest.raises(AssertionError, match="define g"):
        given.module_of(("f", "g"))


@pytest.mark.slow
def test_a_stub_in_the_module_counts_as_not_yet_written(given):
    with pytest.raises(NotImplementedError):
        given.run_fresh("raise NotImplementedError")


@pytest.mark.slow
def test_what_a_module_lacks_is_shown_with_its_traceback(given):
    with pytest.raises(RuntimeError, match="name 'photos' is not defined"):
        given.run_fresh("report = len(photos)")


@pytest.mark.slow
def test_the_same_cells_in_another_order_give_another_accuracy(notebook, given, lying_history):
    lying_history(*(cell.text for cell in SOURCE.cells if cell.kind == "code"))
    notebook["PINS"] = {}
    found = given.friday_gap(seed=1)
    assert found.verdict.value == "PASS", found.detail
    assert found.value > 20


@pytest.mark.slow
def test_fresh_processes_give_one_hash_and_the_number_of_next_week(notebook, given, lying_history):
    lying_history(*(cell.text for cell in SOURCE.cells if cell.kind == "code"))
    notebook |= {"PINS": {}, "RUNS": []}
    found = given.next_week()
    assert found.verdict.value == "PASS", found.detail
    assert found.alt
    assert len({run["hash"] for run in notebook["RUNS"]}) == 1


def test_the_readme_has_the_install_line_and_the_measured_margin():
    text = Path(FOLDERS.lab / "README.md").read_text(encoding="utf-8")
    assert "colab-badge.svg" in text
    assert 'pip install "scalelab[lab]"' in text
    assert "gap between the two orders" in text
