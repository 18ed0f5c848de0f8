"""Training the PIN reader: a plain loop, accumulation over micro-batches, and data parallel processes.

Each name is loaded when it is first used (torch takes seconds to import).
"""

from scalelab.core.lazy import export

__all__ = [
    "IGNORE",
    "AccumulationReport",
    "DdpConfig",
    "DdpReport",
    "StepReport",
    "TrainConfig",
    "TrainReport",
    "accumulate_gradients",
    "accumulate_step",
    "measure_accumulation",
    "predict",
    "run_ddp",
    "train_reader",
]

__getattr__ = export(
    __name__,
    {
        "accumulate": ["IGNORE", "StepReport", "accumulate_gradients", "accumulate_step"],
        "accumulation_report": ["AccumulationReport", "measure_accumulation"],
        "ddp": ["DdpConfig", "DdpReport", "run_ddp"],
        "loop": ["TrainConfig", "TrainReport", "predict", "train_reader"],
    },
    extra="torch",
)
