"""One's own version of a lab: numbers, data and the planted fault, drawn from a secret of course and student.

The course holds one key. Of it and a student's id, HMAC-SHA256 (RFC 2104) makes the student's secret for a
lab, which a hand-out carries as ``variant.json``; from that, and the name of what is drawn, come all draws.
A student can tell neither the key nor a neighbour's secret from their own; a grader computes all of them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from scalelab.core.errors import ConfigError, DataError

FILE = "variant.json"
COMMON = "common"
"""the secret of whoever has none: a learner without a course, and the lab's authors"""
_SIZE_LIMIT = 4096
Option = TypeVar("Option")


@dataclass(frozen=True)
class Variant:
    """What makes a lab one student's own: equal names give equal draws, always and everywhere."""

    secret: str = COMMON
    lab: str = ""

    def integer(self, name: str, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`, both included.

        Raises:
            ConfigError: `low` is above `high`.
        """
        if low > high:
            raise ConfigError(
                f"variant number {name!r} from {low} to {high}", hint="give the smaller one first"
            )
        return low + self._number(name) % (high - low + 1)

    def choice(self, name: str, options: Sequence[Option]) -> Option:
        """Return one of the options: which fault is planted, which rule holds.

        Raises:
            ConfigError: there is none to choose from.
        """
        if not len(options):
            raise ConfigError(f"variant choice {name!r} has no option", hint="give at least one")
        return options[self._number(name) % len(options)]

    def rng(self, name: str) -> np.random.Generator:
        """Return a generator of random data that begins anew at each call."""
        return np.random.default_rng(self._number(name))

    def _number(self, name: str) -> int:
        """Return 256 bits; the remainder of so many by any honest range is even to below 1e-60."""
        words = "\0".join(("variant", self.lab, name))
        return int.from_bytes(hmac.new(self.secret.encode(), words.encode(), hashlib.sha256).digest(), "big")


def student_variant(key: str, *, student: str, lab: str) -> Variant:
    """Return a student's variant of a lab, from the course's key."""
    words = "\0".join(("student", student, lab))
    return Variant(hmac.new(key.encode(), words.encode(), hashlib.sha256).hexdigest(), lab)


def variant_file(variant: Variant, *, student: str) -> bytes:
    """Return the ``variant.json`` that goes beside a student's notebook."""
    facts = {"lab": variant.lab, "student": student, "secret": variant.secret}
    return (json.dumps(facts, indent=1) + "\n").encode()


def own_variant(lab: str, folder: Path | None = None) -> Variant:
    """Return the variant that ``variant.json`` in the working folder describes; without one, the common one.

    Raises:
        DataError: the file is damaged.
        ConfigError: it belongs to another lab.
    """
    path = (folder or Path()) / FILE
    again = "take it from your hand-out once more"
    try:
        with path.open("rb") as file:
            facts: Any = json.loads(file.read(_SIZE_LIMIT))
        secret, belongs_to = facts["secret"], facts["lab"]
        if not (isinstance(secret, str) and isinstance(belongs_to, str) and secret):
            raise TypeError("its secret and lab are no texts")
    except FileNotFoundError:
        return Variant(lab=lab)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path.resolve()} cannot be read: {type(error).__name__}: {error}", hint=again
        ) from None
    if lab and belongs_to != lab:
        raise ConfigError(
            f"{path.resolve()} is your variant of {belongs_to}, and this is {lab}",
            hint="keep each lab in a folder of its own, with its variant.json beside the notebook",
        )
    return Variant(secret, belongs_to)
