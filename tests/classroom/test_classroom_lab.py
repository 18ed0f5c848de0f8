"""The lab in the notebook: predict before you measure, check as often as you like, nothing raises unasked."""

from __future__ import annotations

import html
import math
import subprocess
import sys

import pytest

from scalelab.classroom import CheckNotPassed, Lab, Measurement, cards, find_lab, list_labs
from scalelab.classroom.predictions import read_predictions
from scalelab.core.errors import ConfigError, LabFileError
from scalelab.core.records import RecordStore


def right(counts):
    return [n / sum(counts) for n in counts]


def wrong(counts):
    return [1 / len(counts)] * len(counts)


class Amount:
    amount, currency, amount_usd = 95.0, "INR", 1.0


def test_the_notebooks_own_names_are_the_answers(labs):
    namespace = {"weights": right}
    exec('from scalelab import Lab\nresult = Lab("03_demo").check("weights")', namespace)
    assert namespace["result"].is_passed


def test_a_result_is_its_points_as_text_and_a_card_as_html(lab):
    lab.namespace = {"weights": wrong}
    result = lab.check("weights")
    assert repr(result) == "0"
    assert "equal" not in repr(result)
    assert all(
        words in result._repr_html_() for words in ("failed · 0/2", "All alike.", "Hints cost nothing")
    )
    lab.namespace = {"weights": right}
    assert repr(lab.check("weights")) == "2"


def test_what_the_checks_import_cannot_write_into_the_cell(lab, labs, capsys):
    path = labs / "03_demo" / "checks.py"
    path.write_text("import sys\nprint('hello', file=sys.stderr)\n" + path.read_text())
    lab.check("weights")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("bad", ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>"])
def test_what_a_learner_wrote_is_never_markup(lab, bad):
    lab.namespace = {"weights": lambda counts: bad}
    shown = lab.check("weights")._repr_html_() + lab.explain("why", bad + " words").html
    assert bad not in shown
    assert "&lt;" in shown


@pytest.mark.parametrize("name", ["03_demo", "demo", "3", "03", 3, "03_demo/"])
def test_a_lab_is_found_by_slug_or_number(labs, name):
    assert find_lab(name).slug == "03_demo"


def test_an_unknown_lab_or_task_is_answered_with_the_closest(lab):
    with pytest.raises(ConfigError, match="did you mean '03_demo'"):
        Lab("3_dmo")
    with pytest.raises(ConfigError, match="did you mean 'weights'"):
        lab.check("wieghts")
    with pytest.raises(ConfigError, match="known: speed, weights"):
        lab.hint("zzz")
    for ask in (lab.check, lab.hint, lab.give_up, lab.solution):
        with pytest.raises(ConfigError, match=r"which task.* has weights, speed"):
            ask()
    for odd in (right, ["weights"], 3):
        with pytest.raises(ConfigError, match=r"its name in quotes(.|\n)*known: weights, speed"):
            lab.check(odd)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("points = 3", "", "'points' is missing"),
        ("points = 3", "points = 3\nspeed = 1", "'speed' is unknown"),
        ('slug = "03_demo"', 'slug = "04_demo"', "has the slug"),
        ("points = 3", "points =", "cannot be read"),
    ],
)
def test_a_lab_toml_that_is_wrong_is_the_authors_error(labs, old, new, message):
    path = labs / "03_demo" / "lab.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(LabFileError) as caught:
        list_labs()
    assert message in str(caught.value)


def test_nothing_is_measured_before_the_prediction(lab):
    ran = []
    refused = lab.measure("ratio", lambda: ran.append(1) or 3.0)
    assert not refused
    with pytest.raises(ConfigError, match="'ratio' was not measured, so it has no table"):
        refused.table  # noqa: B018
    assert ran == []
    lab.predict("ratio", "How many times?", unit="x", guess=2, low=1, high=4)
    done = lab.measure("ratio", lambda: 3.0)
    assert (done.value, done.unit) == (3.0, "x")


def test_asking_is_no_prediction(lab):
    card = lab.predict("ratio", "How many times?", unit="x", range=(1, 100))
    assert "lab.predict('ratio', guess=..., low=..., high=...)" in card.text
    assert not lab.measure("ratio", lambda: 3.0)


def test_the_unit_of_the_question_is_the_predictions(lab):
    lab.predict("ratio", "How many times?", unit="x", range=(1, 100))
    assert "You expect 2 x" in lab.predict("ratio", guess=2, low=1, high=4).text
    assert read_predictions(lab.ledger)[0].unit == "x"


def test_a_prediction_remembers_what_its_cell_asked_for_after_a_restart_too(lab):
    lab.predict("ratio", "How many times?", unit="x", range=(1, 100))
    again = Lab("03_demo", {})
    told = again.predict("ratio", guess=200, low=1, high=400).text
    assert told.startswith("[predicted] How many times?\nYou expect 200 x, between 1 and 400.")
    assert "200 x lies outside what the question offers, 1 to 100 x. It is kept as you gave it." in told
    assert read_predictions(again.ledger)[0].guess == 200
    assert "outside" not in again.predict("ratio", guess=2, low=1, high=4).text


def test_a_slip_in_the_name_of_a_prediction_is_no_prediction(lab):
    lab.predict("ratio", "How many times?", unit="x", range=(1, 100))
    with pytest.raises(ConfigError, match="did you mean 'ratio'"):
        lab.predict("ration", guess=2, low=1, high=4)
    assert [event.kind for event in lab.ledger.read()] == ["question"]


def test_numbers_without_their_names_are_no_question(lab):
    with pytest.raises(ConfigError, match="names its three numbers"):
        lab.predict("ratio", 2)


def test_what_one_notebook_predicted_the_other_one_measures(lab):
    other = Lab("03_demo", {"weights": right})
    lab.predict("ratio", "How many times?", unit="x", guess=2, low=1, high=4)
    assert other.measure("ratio", lambda: 3.0).unit == "x"
    other.check("weights")
    assert lab.progress().text.startswith("[2/3 points]")
    assert "before that stays: 2 x" in other.predict("ratio", guess=9, low=8, high=10).text


def test_a_question_of_the_ledger_that_somebody_edited_is_passed_over(lab):
    lab.ledger.append("question", "03_demo", "ratio", question="How many?", unit="x", range="wide")
    assert lab.predict("ratio", guess=2, low=1, high=4).text.startswith(
        "[predicted] How many?\nYou expect 2 x"
    )


def test_the_last_prediction_before_the_measurement_counts_and_stays(lab):
    lab.predict("ratio", guess=200, low=100, high=400)
    assert "replaces it" in lab.predict("ratio").text
    assert "replaces your prediction of 200" in lab.predict("ratio", guess=2, low=1, high=4).text
    assert "You expected 2, between 1 and 4" in lab.measure("ratio", lambda: 3.0).card.text
    assert "before that stays: 2, between 1 and 4" in lab.predict("ratio", guess=3, low=3, high=3).text
    assert "replaces" not in lab.predict("ratio").text
    assert "You expected 2, between 1 and 4" in lab.measure("ratio", lambda: 3.5).card.text
    (found,) = read_predictions(lab.ledger)
    assert (found.guess, found.measured, found.is_inside) == (2, 3.0, True)
    assert [event.facts["guess"] for event in lab.ledger.read(kind="prediction")] == [200, 2, 3]


def test_a_cell_that_runs_again_adds_nothing(lab):
    for _ in range(3):
        lab.predict("ratio", guess=2, low=1, high=4)
        lab.explain("why", "Because of the cache.")
    assert [event.kind for event in lab.ledger.read()] == ["prediction", "explanation"]


@pytest.mark.parametrize(
    "numbers",
    [
        {"guess": 5, "low": 1, "high": 4},
        {"guess": 2, "low": 4, "high": 1},
        {"guess": 2},
        {"guess": math.nan, "low": 1, "high": 4},
        {"guess": "two", "low": 1, "high": 4},
        {"low": 1, "high": 4},
    ],
)
def test_an_interval_that_is_none_is_refused(lab, numbers):
    with pytest.raises(ConfigError, match="prediction 'ratio'"):
        lab.predict("ratio", **numbers)
    assert lab.ledger.read() == []


@pytest.mark.parametrize("range", [(4, 1), (1, 1), "ab", (1, math.inf), (1, 2, 3)])
def test_a_range_that_is_none_is_refused(lab, range):
    with pytest.raises(ConfigError, match="range"):
        lab.predict("ratio", range=range)


def test_a_measurement_is_recorded_with_its_values(lab):
    lab.predict("ratio", unit="x", guess=2, low=1, high=4)
    lab.measure("ratio", lambda: Measurement(2.5, "x", values=(2, 2.5, 3), verdict="PASS", detail="it holds"))
    (record,) = RecordStore(lab.ledger.path.with_name("records.jsonl")).read()
    assert (record.subject, record.metric("ratio").values) == ("03_demo", (2, 2.5, 3))
    assert record.notes["verdict"] == "PASS"


@pytest.mark.parametrize("value", [None, "fast", math.nan, math.inf, [1, 2]])
def test_what_is_no_number_is_no_measurement(lab, value):
    lab.predict("ratio", guess=2, low=1, high=4)
    with pytest.raises(ConfigError, match="measurement"):
        lab.measure("ratio", lambda: value)
    assert not lab.ledger.read(kind="measurement")


def test_a_figure_needs_words_and_data():
    with pytest.raises(ConfigError, match="no alt text or no table"):
        Measurement(1.0, figure=object(), alt="a line that falls")
    with pytest.raises(ConfigError, match="verdict"):
        Measurement(1.0, verdict="MAYBE")


def test_a_stub_inside_a_measurement_is_a_sentence(lab):
    def run():
        raise NotImplementedError

    lab.predict("ratio", guess=2, low=1, high=4)
    assert not lab.measure("ratio", run)


def test_a_passed_card_says_what_is_next(lab, release):
    cells = ['lab.measure("ratio", run)', 'lab.explain(\n    "why", "")', "lab.cost(x)"]
    release(cells)
    lab.namespace = {"weights": right, "noise": 0.1}
    assert "Next task: <code" in (shown := lab.check("weights")._repr_html_())
    assert "Be fast." in shown
    assert lab.check("speed").then == (
        "All tasks are done, 3 of 3 points. Still open: measure `ratio`, explain `why`, cost."
    )
    lab.predict("ratio", guess=2, low=1, high=4)
    lab.measure("ratio", lambda: 3.0)
    lab.cost(Amount())
    assert "All tasks are done.\nStill open: explain `why`." in lab.progress().text
    lab.explain("why", "Because of the cache.")
    assert "The lab is done" in lab.check("speed").then
    assert "Still open" not in lab.progress().text


def test_points_that_were_earned_stay_and_the_card_says_so(lab):
    lab.namespace = {"weights": right}
    lab.check("weights")
    lab.namespace = {"weights": wrong}
    assert "its 2 points stay yours" in lab.check("weights")._repr_html_()
    assert lab.progress().text.startswith("[2/3 points]")


def test_a_card_says_how_to_see_the_same_inputs_again(lab):
    lab.namespace = {"weights": wrong}
    first = lab.check("weights")
    assert f'lab.check("weights", seed={first.seed})' in html.unescape(first._repr_html_())
    again = lab.check("weights", seed=first.seed)
    assert (again.message, again.seed) == (first.message, first.seed)
    for odd in ("7", -1, 0.5):
        with pytest.raises(ConfigError, match="as a card shows it"):
            lab.check("weights", seed=odd)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("all alike", "All alike."),
        ("it's late, is it?", "It's late, is it?"),
        ("element_size() says how many", "element_size() says how many."),
        ("`weights` is no list", "`weights` is no list."),
        ("float32 has 4 bytes", "float32 has 4 bytes."),
        ("counts[0] is lost", "counts[0] is lost."),
        ("no_grad forgets", "no_grad forgets."),
    ],
)
def test_a_sentence_begins_with_a_capital_letter_unless_it_is_an_identifier(text, shown):
    assert cards.sentence(text) == shown


def test_where_a_name_may_stand_first_only_words_that_are_no_names_get_a_capital():
    assert cards.sentence("weights is None", is_prose=False) == "weights is None."
    assert cards.sentence("the weights are 3", is_prose=False) == "The weights are 3."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("what run_checkpointed returned", "what `run_checkpointed` returned"),
        ("weights[0] is 0.5, wanted 0.75", "`weights[0]` is 0.5, wanted 0.75"),
        ("run_once({'a': 1}) gave", "`run_once({'a': 1})` gave"),
        ("no attribute 'not_there' of x_y", "no attribute 'not_there' of `x_y`"),
        ("use item() or `x_y`", "use `item()` or `x_y`"),
        ("and/or f(x) in a.py", "and/or f(x) in a.py"),
        ("one ` tick_here", "one ` tick_here"),
    ],
)
def test_identifiers_on_a_card_are_code(text, shown):
    assert cards.names_as_code(text) == shown


def test_strict_raises_for_what_is_not_passed_but_not_for_noise(lab, monkeypatch):
    monkeypatch.setenv("SCALELAB_STRICT", "1")
    with pytest.raises(CheckNotPassed, match="not attempted"):
        lab.check("weights")
    lab.namespace = {"noise": 0.9}
    assert lab.check("speed").outcome.value == "inconclusive"
    with pytest.raises(CheckNotPassed, match="not measured"):
        lab.measure("ratio", lambda: 3.0)


def test_after_a_restart_the_card_says_to_run_the_cells_above(lab):
    lab.namespace = {"weights": right}
    lab.check("weights")
    again = Lab("03_demo", {})
    result = again.check("weights")
    assert "restart of the kernel" in result.meaning
    assert "its 2 points stay yours" in result._repr_html_()
    assert again.progress().text.startswith("[2/3 points]")


def test_progress_shows_every_task_and_what_is_next(lab):
    lab.namespace = {"weights": right}
    lab.check("weights")
    text = lab.progress().text
    assert "weights: passed (2/2)" in text
    assert "speed: not begun (0/1)" in text
    assert "Next: `speed`: Be fast." in text


def test_money_is_shown_in_both_currencies(lab):
    assert "₹95.00 = $1.00" in lab.cost(Amount()).text
    for nothing in ((), (3.0,)):
        with pytest.raises(ConfigError):
            lab.cost(*nothing)


def test_an_answer_that_was_not_written_is_not_kept(lab):
    for empty in ("", "...", " … ", ...):
        assert "not written yet" in lab.explain("why", empty).text
    lab.explain("why", "The cache holds it.")
    assert "The cache holds it." in lab.explain("why").text


@pytest.mark.slow
def test_making_a_lab_loads_nothing_heavy(labs):
    heavy = ("torch", "pandas", "plotly", "ipywidgets", "IPython", "nbformat")
    code = f"import sys; from scalelab import Lab; Lab('3'); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
