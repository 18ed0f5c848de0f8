"""Smaller readers: pruned by weight or by channel, taught by a larger one, and all of it with int8.

Each name is loaded when it is first used (torch takes seconds to import).
"""

from scalelab.core.lazy import export

__all__ = [
    "DistillConfig",
    "DistillReport",
    "FileSizes",
    "Ladder",
    "LadderConfig",
    "Lessons",
    "apply_masks",
    "climb_ladder",
    "distill",
    "distillation_loss",
    "file_sizes",
    "magnitude_masks",
    "n_of_m_masks",
    "prepare_lessons",
    "prune_channels",
]

__getattr__ = export(
    __name__,
    {
        "channels": ["prune_channels"],
        "distillation": [
            "DistillConfig",
            "DistillReport",
            "Lessons",
            "distill",
            "distillation_loss",
            "prepare_lessons",
        ],
        "ladder": ["Ladder", "LadderConfig", "climb_ladder"],
        "masks": ["FileSizes", "apply_masks", "file_sizes", "magnitude_masks", "n_of_m_masks"],
    },
    extra="torch",
)
