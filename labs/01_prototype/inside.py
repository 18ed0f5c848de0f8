"""What lab 01 does beside the learner's code: it watches what calls leave behind there."""

from __future__ import annotations

import numpy as np


def try_settings(answers, *, changes, scribble, typo):
    """Make settings, then write into a caller's copy and make them once more; DEFAULTS are put back after.

    Report DEFAULTS before and after, the settings with `changes`, and those without after all that; and if
    an exception is what comes back, by `return`, for a name that DEFAULTS lacks.
    """
    given, run_settings = answers["DEFAULTS"], answers["run_settings"]
    before = dict(given)
    try:
        made = dict(run_settings(changes))
        run_settings({}).update(scribble)  # what a caller does with its own copy is its own business
        seen = {"before": before, "made": made, "again": dict(run_settings({})), "after": dict(given)}
        return {**seen, "returns_error": _returns_error(run_settings, typo)}
    finally:
        if given != before:  # in place: a mended answer shall start from what the lab gave
            given.clear()
            given.update(before)


def _returns_error(function, given):
    try:
        value = function(given)
    except Exception:
        return False
    return isinstance(value, BaseException) or (isinstance(value, type) and issubclass(value, BaseException))


def try_dice(answers, *, name, inputs):
    """Call a function; report its value, and whether it moved np.random, which is put back."""
    before = np.random.get_state()
    try:
        value, after = answers[name](*inputs), np.random.get_state()
    finally:
        np.random.set_state(before)
    is_moved = before[2] != after[2] or not np.array_equal(before[1], after[1])
    return {"value": value, "is_moved": is_moved}
