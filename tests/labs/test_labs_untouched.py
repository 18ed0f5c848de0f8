"""Run All on a lab as it is handed out: it reaches the last cell, and says what waits for what."""

from __future__ import annotations

import json

import pytest

from scalelab.core.errors import ConfigError
from scalelab.core.paths import shipped

LABS = sorted(path.parent for path in shipped("labs").glob("*/lab.ipynb"))


def stub():
    raise NotImplementedError


@pytest.fixture
def shown(monkeypatch):
    """The text of every card that a notebook would show."""
    from scalelab.classroom import Lab
    from scalelab.classroom.cards import Card

    texts = []
    monkeypatch.setattr(Lab, "passed_over", False)  # the block sets it; the next test shall not see that
    monkeypatch.setattr(Card, "show", lambda card, *_, **__: texts.append(card.text))
    return texts


def test_a_block_that_meets_a_stub_of_the_notebook_is_left_with_a_sentence(shown):
    from scalelab.classroom import when_ready

    reached = []
    with when_ready():
        reached.append("begin")
        stub()
        reached.append("end")
    assert reached == ["begin"]
    assert "`stub` is still the stub" in "".join(shown)


def test_a_block_that_needs_a_refused_measurement_names_it(shown):
    from scalelab.classroom import NotMeasured, when_ready

    with when_ready():
        _ = NotMeasured("winners").table
    assert "'winners' was not measured" in "".join(shown)


def test_any_other_error_is_raised_as_ever():
    from scalelab.classroom import when_ready

    with pytest.raises(ZeroDivisionError), when_ready():
        _ = 1 / 0
    with pytest.raises(ConfigError, match="own"), when_ready():
        raise ConfigError("the author's own", hint="mend it")


def test_where_answers_must_be_right_a_stub_is_an_error(monkeypatch):
    from scalelab.classroom import when_ready

    monkeypatch.setenv("SCALELAB_STRICT", "1")
    with pytest.raises(NotImplementedError), when_ready():
        stub()


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_the_last_cell_shows_the_progress(lab):
    """That an untouched notebook reaches it without an error is part of what test_labs_verify runs."""
    document = json.loads((lab / "lab.ipynb").read_text(encoding="utf-8"))
    assert "lab.progress()" in "".join(document["cells"][-1]["source"])
