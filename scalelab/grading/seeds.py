"""The seed of a check's random inputs: fresh each time, one's own in a course, or given to repeat a run."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets

from scalelab.core.errors import ConfigError

BITS = 31
"""short enough to be typed again"""


def draw_seed(*, lab: str = "", check: str = "", attempt: int = 0) -> int:
    """Return the seed of one run of a check.

    ``SCALELAB_SEED`` if it is set: the run is repeated. In a course (``SCALELAB_COURSE_KEY`` and
    ``SCALELAB_STUDENT``) a code of key, student, lab, check and attempt: the instructor can compute it, the
    learner cannot. Otherwise a fresh one.

    Raises:
        ConfigError: a variable has a value that cannot work.
    """
    given = os.environ.get("SCALELAB_SEED", "")
    if given:
        if not given.isdecimal():
            raise ConfigError(f"SCALELAB_SEED is {given!r}", hint="a whole number from 0, as a card shows it")
        return int(given)
    key, student = os.environ.get("SCALELAB_COURSE_KEY", ""), os.environ.get("SCALELAB_STUDENT", "")
    if not key:
        return secrets.randbits(BITS)
    if not student:
        raise ConfigError(
            "SCALELAB_COURSE_KEY is set, SCALELAB_STUDENT is not", hint="set it to the student's id"
        )
    return course_seed(key, student=student, lab=lab, check=check, attempt=attempt)


def course_seed(key: str, *, student: str, lab: str, check: str, attempt: int = 0) -> int:
    """Return the seed that a course's secret `key` gives: whoever lacks the key cannot tell it."""
    words = "\0".join((student, lab, check, str(attempt)))
    code = hmac.new(key.encode(), words.encode(), hashlib.sha256).digest()
    return int.from_bytes(code[:4], "big") >> (32 - BITS)
