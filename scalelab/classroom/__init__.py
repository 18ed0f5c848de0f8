"""The lab in the notebook: predictions, measurements, checks, hints and what the learner has done so far."""

from scalelab.core.lazy import export

__all__ = [
    "CheckNotPassed",
    "Lab",
    "LabInfo",
    "Ledger",
    "Measurement",
    "NotMeasured",
    "Prediction",
    "find_lab",
    "list_labs",
    "when_ready",
]

__getattr__ = export(
    __name__,
    {
        "lab": ["CheckNotPassed", "Lab"],
        "catalog": ["LabInfo", "find_lab", "list_labs"],
        "ledger": ["Ledger"],
        "measuring": ["Measurement", "NotMeasured"],
        "predictions": ["Prediction"],
        "ready": ["when_ready"],
    },
)
