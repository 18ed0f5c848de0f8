"""Small checks that attacks are aimed at."""

from __future__ import annotations

from scalelab.grading import check, expect, expect_close, expect_raises, expect_type

HINTS = ("one", "two", "three")


@check("total", points=3, hints=HINTS, limit_s=5)
def total(answers):
    """Sum a list."""
    values = answers.rng.integers(1, 100, 20).tolist()
    expect_close(answers["total"](values), sum(values), what="the total", code="wrong-total")


@check("apply", points=3, hints=HINTS, limit_s=5)
def apply(answers):
    """Call a function three times, and return what it gave."""
    given = answers.rng.integers(1, 100, 3).tolist()
    asked = []

    def next_one(place):
        asked.append(place)
        return given[place]

    found = answers["apply"](next_one, 3)
    expect(asked == [0, 1, 2], f"it was called with {asked}", code="wrong-calls")
    expect(found == given, f"it returned {found}", code="wrong-values")


@check("fair", points=3, hints=HINTS, limit_s=5)
def fair(answers):
    """Say True to the fair and False to the unfair one."""
    expect(answers["fair"](True) and not answers["fair"](False), "wrong", code="wrong-verdict")
    expect_type(answers["fair"](True), bool, what="the verdict")


@check("refuse", points=3, hints=HINTS, limit_s=5)
def refuse(answers):
    """Raise a ValueError for a negative number."""
    expect_raises(ValueError, answers["refuse"], -1, what="refuse(-1)", code="accepts-all")
