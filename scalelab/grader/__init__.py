"""The grader: a submission is judged by a process that never ran the learner's code."""

from scalelab.core.lazy import export

__all__ = [
    "GradedLab",
    "Handed",
    "Judge",
    "Limits",
    "Refused",
    "Submission",
    "discover",
    "hand_over",
    "read_submission",
    "run_grading",
]

__getattr__ = export(
    __name__,
    {
        "cells": ["Refused", "read_submission"],
        "handed": ["Handed", "hand_over"],
        "judge": ["Judge"],
        "lab": ["GradedLab"],
        "limits": ["Limits"],
        "run": ["run_grading"],
        "submissions": ["Submission", "discover"],
    },
)
