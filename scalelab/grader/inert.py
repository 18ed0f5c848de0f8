"""The `Lab` of a learner process: cells that ask it run through, and it does nothing."""

from __future__ import annotations

from typing import Any, ClassVar

from scalelab.grading.variants import Variant, own_variant

MOST = 50
LONGEST = 200_000


class PassedOver(Exception):
    """Nothing is measured here: the rest of the cell is passed over."""


class Nothing:
    """What an inert lab returns: every question to it has the same answer."""

    def __getattr__(self, name: str) -> Nothing:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any, **__: Any) -> Nothing:  # noqa: D102
        return self

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return ""


class InertLab:
    """Stands where a notebook imports `Lab`. Written answers are kept; nothing is checked or measured."""

    explained: ClassVar[dict[str, str]] = {}

    def __init__(self, slug: str | int = "", *_: Any, **__: Any):
        self.slug = str(slug)

    @property
    def variant(self) -> Variant:
        """The student's own numbers: the grader puts their ``variant.json`` into the working folder."""
        return own_variant("")

    def explain(self, name: str, text: Any = "") -> Nothing:
        """Keep a written answer."""
        if type(text) is str and text.strip(".… \n") and len(InertLab.explained) < MOST:
            InertLab.explained[str(name)] = text.strip()[:LONGEST]  # the judge keeps less, and says so
        return Nothing()

    def measure(self, name: str, *_: Any, **__: Any) -> Nothing:
        """Pass the rest of the cell over.

        Raises:
            PassedOver: always.
        """
        raise PassedOver(name)

    def __getattr__(self, name: str) -> Nothing:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing()

    def __repr__(self) -> str:
        return f"Lab {self.slug}"
