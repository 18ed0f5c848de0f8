"""Training: a plain loop, accumulation, and ranks that share the work.

`data_parallel`, `parallel` (one model over several ranks), `elastic` (checkpoints, restarts) and `frameworks`
(what a loop costs) are packages with names of their own. Each name is loaded when it is first used (torch
takes seconds to import).
"""

from scalelab.core.lazy import export

__all__ = [
    "IGNORE",
    "DdpConfig",
    "StepReport",
    "TrainConfig",
    "accumulate_gradients",
    "accumulate_step",
    "measure_accumulation",
    "predict",
    "run_ddp",
    "run_ranks",
    "train_reader",
    "trained_reader",
]

__getattr__ = export(
    __name__,
    {
        "accumulate": ["IGNORE", "StepReport", "accumulate_gradients", "accumulate_step"],
        "accumulation_report": ["measure_accumulation"],
        "ddp": ["DdpConfig", "run_ddp"],
        "launch": ["run_ranks"],
        "loop": ["TrainConfig", "predict", "train_reader"],
        "shipped": ["trained_reader"],
    },
    extra="torch",
)
