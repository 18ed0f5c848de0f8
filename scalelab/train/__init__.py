"""Training: a plain loop, accumulation, and ranks that share the work.

`data_parallel`, `parallel` (one model over several ranks) and `elastic` (checkpoints, restarts) are packages
with names of their own. Each name is loaded when it is first used (torch takes seconds to import).
"""

from scalelab.core.lazy import export

__all__ = [
    "IGNORE",
    "DdpConfig",
    "FrameworksConfig",
    "StepReport",
    "TrainConfig",
    "accumulate_gradients",
    "accumulate_step",
    "compare_frameworks",
    "measure_accumulation",
    "predict",
    "run_ddp",
    "run_ranks",
    "train_reader",
]

__getattr__ = export(
    __name__,
    {
        "accumulate": ["IGNORE", "StepReport", "accumulate_gradients", "accumulate_step"],
        "accumulation_report": ["measure_accumulation"],
        "ddp": ["DdpConfig", "run_ddp"],
        "frameworks": ["FrameworksConfig", "compare_frameworks"],
        "launch": ["run_ranks"],
        "loop": ["TrainConfig", "predict", "train_reader"],
    },
    extra="torch",
)
