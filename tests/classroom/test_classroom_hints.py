"""Hints come one by one and on the card only without a diagnosis; the solution after passing or giving up."""

from __future__ import annotations

import html

import pytest


def right(counts):
    return [n / sum(counts) for n in counts]


def wrong(counts):
    return [1 / len(counts)] * len(counts)


@pytest.mark.parametrize(
    ("answer", "has_hint"),
    [(wrong, True), (lambda counts: None, False), (lambda: 1, False), (lambda counts: counts[9], False)],
    ids=["wrong", "none", "arity", "crash"],
)
def test_the_first_hint_is_for_a_wrong_idea_without_a_diagnosis(lab, labs, answer, has_hint):
    path = labs / "03_demo" / "checks.py"
    path.write_text(path.read_text().replace('meaning="all alike"', 'meaning=""'))
    lab.namespace = {"weights": answer}
    shown = lab.check("weights")._repr_html_()
    assert ("first hint" in shown) is has_hint
    assert "Hints cost nothing" in shown
    assert lab.hint("weights").text.startswith(f"[hint {1 + has_hint} of 3]")


def test_a_diagnosis_stands_alone_on_the_card_and_the_first_hint_is_still_to_come(lab):
    lab.namespace = {"weights": wrong}
    shown = lab.check("weights")._repr_html_()
    assert "All alike." in shown
    assert "first hint" not in shown
    assert lab.hint("weights").text.startswith("[hint 1 of 3]")


def test_hints_come_one_by_one_and_a_failed_card_counts_as_the_first(lab):
    assert "1. first hint" in lab.hint("weights").text
    assert "2. second hint" in lab.hint("weights").text
    lab.namespace = {"noise": -5.0}
    assert "Hint: a" in html.unescape(lab.check("speed")._repr_html_())
    assert lab.hint("speed").text.startswith("[hint 2 of 3]")
    assert all("[hint 3 of 3]" in lab.hint("weights").text for _ in range(3))


def test_the_solution_waits_for_passing_or_giving_up(lab, solution):
    assert "[not yet]" in lab.solution("weights").text
    for _ in range(2):
        told = lab.give_up("weights").text
        assert "You may still pass it" in told
        assert "def weights" in told
    assert "still pass" not in (told := lab.solution("weights").text)
    assert told.endswith("\ndef weights(counts):\n    return 1")
    assert [event.name for event in lab.ledger.read(kind="gave-up")] == ["weights"]


def test_a_copy_without_solutions_says_so_with_the_last_hint_for_who_has_not_passed(lab):
    told = lab.give_up("weights").text
    assert "without solutions" in told
    assert "third hint" in told
    lab.namespace = {"weights": right}
    lab.check("weights")
    told = lab.solution("weights").text
    assert "without solutions" in told
    assert "third hint" not in told


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_solution_that_cannot_be_read_is_none(lab, solution, content):
    solution.write_text(content)
    assert "without solutions" in lab.give_up("weights").text


def test_what_is_passed_cannot_be_given_up(lab, solution):
    lab.namespace = {"weights": right}
    lab.check("weights")
    assert "nothing to give up" in lab.give_up("weights").text
    assert not lab.ledger.read(kind="gave-up")
    assert "def weights" in lab.solution("weights").text


def test_the_last_hint_says_what_giving_up_does(lab):
    told = [lab.hint("weights").text for _ in range(3)][-1]
    assert "you may still pass" in told
    assert "ends the task" not in told
