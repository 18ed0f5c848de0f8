"""What a stack bears: faults on purpose under load (`run_drill`), and load for long (`run_soak`)."""

from scalelab.core.lazy import export

__all__ = ["FAULTS", "DrillResult", "SoakResult", "run_drill", "run_soak"]

__getattr__ = export(
    __name__,
    {"faults": ["FAULTS"], "drill": ["DrillResult", "run_drill"], "soak": ["SoakResult", "run_soak"]},
    extra="serve",
)
