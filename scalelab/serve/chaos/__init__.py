"""Faults on purpose: a stack under load is harmed, and every request is followed to its answer."""

from scalelab.core.lazy import export

__all__ = ["FAULTS", "DrillResult", "run_drill", "run_soak"]

__getattr__ = export(
    __name__,
    {"faults": ["FAULTS"], "drill": ["DrillResult", "run_drill"], "soak": ["run_soak"]},
    extra="serve",
)
