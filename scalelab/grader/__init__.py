"""The grader: a submission is judged by a process that never ran the learner's code."""

from scalelab.core.lazy import export

__all__ = ["Limits"]

__getattr__ = export(__name__, {"limits": ["Limits"]})
