"""What can become of a request, and the end of the time scale: words that both sides of the border know."""

OK = "ok"
REJECTED = "HTTP 429"
"""the service said "not now": no error, and no answer"""
TIMEOUT = "timeout"
UNSENT = "not sent: the generator was too late"
"""the generator's own fault"""
LONGEST_US = 3_600_000_000
"""one hour: the end of every histogram; in a percentile file it stands for "never answered\""""


def is_unanswered(outcome: str) -> bool:
    """Tell whether nothing came back: neither a good answer nor another status."""
    return outcome != OK and not outcome.startswith("HTTP ")
