"""The check engine: a check is a plain function over a learner's answers; its result is a sentence.

Nothing here knows notebooks or widgets; whatever runs a check (a cell, the command line, a grader) gets the
same `CheckResult`.
"""

from scalelab.core.lazy import export

__all__ = [
    "Answers",
    "Check",
    "CheckResult",
    "Outcome",
    "Task",
    "attempt",
    "check",
    "draw_seed",
    "expect",
    "expect_close",
    "expect_faster",
    "expect_length",
    "expect_raises",
    "expect_ratio",
    "expect_type",
    "inconclusive",
    "load_checks",
    "run_check",
]

__getattr__ = export(
    __name__,
    {
        "answers": ["Answers"],
        "checks": ["Check", "CheckResult", "Outcome", "check"],
        "expectations": [
            "expect",
            "expect_close",
            "expect_length",
            "expect_raises",
            "expect_type",
            "inconclusive",
        ],
        "loading": ["load_checks"],
        "running": ["run_check"],
        "seeds": ["draw_seed"],
        "speed": ["expect_faster", "expect_ratio"],
        "trials": ["Task", "attempt"],
    },
)
