"""Which errors may pass, and when to try again. Pure functions: chance is an argument."""

from __future__ import annotations

BASE_S, LONGEST_S = 0.1, 5.0


def may_pass(error: Exception) -> bool:
    """Tell whether the same input may succeed a little later.

    Memory and files come back; what else is transient only the model knows, and says by an attribute
    ``is_transient`` of its exception. Anything else is the input's own fault: it would fail again.
    """
    marked = getattr(error, "is_transient", None)
    return isinstance(error, (MemoryError, OSError)) if marked is None else bool(marked)


def backoff_s(attempt: int, chance: float) -> float:
    """Return how long to wait after a failed `attempt` (1 for the first) [s].

    Full jitter: a uniform draw below a limit that doubles with each attempt, so that tasks which failed
    together do not come back together (M. Brooker, "Exponential Backoff and Jitter", AWS, 2015).

    Args:
        chance: a uniform random number in [0, 1).
    """
    return chance * min(LONGEST_S, BASE_S * 2 ** min(attempt - 1, 16))
