"""The prediction form, and what a notebook really shows: everything once, and words where nothing renders."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from html import unescape

import pytest

from scalelab.classroom import Ledger
from scalelab.classroom.calibration import calibration_html, calibration_line
from scalelab.classroom.predictions import Prediction
from scalelab.classroom.widgets import positions, prediction_form
from scalelab.core.shell import can_show_widgets


def prediction(measured, low=0.0, high=2.0, name="p"):
    return Prediction("06", name, (low + high) / 2, low, high, "ms", measured)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (1, 1000), (0.001, 0.1), (-5, 5), (0, 100), (50, 60), (1e-9, 1), (0.0, 1e9)]
)
def test_a_slider_reaches_both_ends_in_rising_steps(low, high):
    values = positions(low, high)
    assert (values[0], values[-1]) == (low, high)
    assert values == sorted(set(values))
    assert 90 < len(values) <= 201


def test_a_wide_range_is_divided_by_ratios_and_a_narrow_one_by_steps():
    wide, narrow = positions(1, 1000), positions(0, 10)
    assert 25 < wide[len(wide) // 2] < 40
    assert narrow[len(narrow) // 2] == pytest.approx(5, abs=0.1)


@pytest.fixture
def form():
    pytest.importorskip("ipywidgets")
    committed = []
    box = prediction_form((0, 100), "x", lambda *numbers: committed.append(numbers))
    guess, interval, row = box.children
    return guess, interval, row.children[0], committed


@pytest.mark.slow
def test_the_form_commits_what_the_sliders_show_and_then_rests(form):
    guess, interval, button, committed = form
    guess.value, interval.value = 40, (30, 60)
    button.click()
    assert committed == [(40, 30, 60)]
    assert guess.disabled
    assert interval.disabled
    assert button.disabled


@pytest.mark.slow
def test_the_interval_always_holds_the_guess(form):
    guess, interval, button, committed = form
    guess.value = 95
    assert interval.value[1] >= 95
    interval.value = (0, 10)
    assert interval.value == (0, 95)
    button.click()
    assert committed[0][1] <= committed[0][0] <= committed[0][2]


def test_outside_a_kernel_no_widget_is_shown():
    assert not can_show_widgets()


def test_intervals_that_hold_too_little_are_too_narrow():
    few = [prediction(1.0)] * 3
    assert "after five" in calibration_line(few)
    assert "too narrow" in calibration_line([prediction(1.0)] * 5 + [prediction(9.0)] * 5)
    assert "well calibrated" in calibration_line([prediction(1.0)] * 9 + [prediction(9.0)])
    assert "wider than they need" in calibration_line([prediction(1.0)] * 20)
    assert calibration_line([prediction(None)]) == "No prediction was measured yet."


def test_the_plot_has_a_mark_for_every_measured_prediction_with_words_and_data():
    many = [prediction(1.0), prediction(99.0), prediction(-99.0), prediction(1.0, 1.0, 1.0), prediction(None)]
    html = calibration_html(many)
    picture = picture_of(html)
    assert picture.count("<circle") == 2
    assert picture.count("<path") == 2
    assert "<img alt='2 of 4 measurements" in html
    assert html.count("<tr") == 6
    edges = sorted(float(x) for x in re.findall(r"d='M([\d.]+)", picture))
    assert edges == [16, 384]


def test_names_in_the_plot_are_no_markup():
    html = calibration_html([prediction(1.0, name="<b>'\"")])
    assert "<b>" not in html + picture_of(html)


def picture_of(html):
    return b64decode(re.search(r"src='data:image/svg\+xml;base64,([^']+)'", html).group(1)).decode()


CELLS = (
    'card = lab.predict("r", "How many?", unit="x", range=(1, 9))\n1',
    'lab.predict("r", guess=2, low=1, high=4)',
    'lab.predict("r", guess=2, low=1, high=4); lab.hint("weights")',
    'lab.measure("r", lambda: 3.0)',
    'm = lab.measure("r", lambda: 3.0)',
    "m",
    'lab.check("wieghts")',
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of jupyter_client
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_in_a_kernel_every_card_shows_once_and_an_error_is_two_lines(write_notebook, labs):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    document = nbformat.read(write_notebook(*CELLS), as_version=4)
    nbclient.NotebookClient(document, timeout=60, kernel_name="python3", allow_errors=True).execute()
    outputs = [cell["outputs"] for cell in document["cells"]][1:]
    badges = [[badge_of(output) for output in of_cell if "html" in json.dumps(output)] for of_cell in outputs]
    assert badges == [
        ["predict"], ["predicted"], ["predicted", "hint 1 of 3"], ["measured"], ["measured"], ["measured"], []
    ]  # fmt: skip
    widget = outputs[0][1]["data"]
    assert "application/vnd.jupyter.widget-view+json" in widget
    assert widget["text/plain"] == "(sliders show only in a running notebook)"
    (error,) = outputs[-1]
    assert error["traceback"] == [
        "ConfigError: 03_demo has no task 'wieghts'",
        "  hint: did you mean 'weights'?",
    ]


def badge_of(output):
    return re.search(r"aria-label='([^']+)'", output["data"]["text/html"]).group(1)


STALE = (
    "def weights(counts): return [1 / 3] * 3",
    "def weights(counts):\n    return counts +",
    'lab.check("weights")',
    "def weights(counts): return [n / sum(counts) for n in counts]",
    'lab.check("weights")',
    "lab.measure('r', lambda: 1 / 0)",
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of jupyter_client
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_in_a_kernel_a_cell_that_did_not_run_is_said_until_it_runs(write_notebook, labs):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    Ledger().append("prediction", "03_demo", "r", guess=2, low=1, high=4)
    document = nbformat.read(write_notebook(*STALE), as_version=4)
    nbclient.NotebookClient(document, timeout=60, kernel_name="python3", allow_errors=True).execute()
    outputs = [cell["outputs"] for cell in document["cells"]][1:]
    old, new = (unescape(outputs[at][0]["data"]["text/html"]) for at in (2, 4))
    assert "failed" in old
    assert "did not run: SyntaxError in line 2" in old
    assert "passed" in new
    assert "did not run" not in new
    interrupted, error = outputs[-1]
    assert badge_of(interrupted) == "not measured"  # in the place of the moving bar
    assert error["ename"] == "ZeroDivisionError"
