"""Training that survives a killed rank: checkpoints that are never half, and ranks that are started again.

Each name is loaded when it is first used (torch takes seconds to import).
"""

from scalelab.core.lazy import export

__all__ = [
    "Checkpoint",
    "ElasticConfig",
    "ElasticReport",
    "TornCheckpointWarning",
    "load_checkpoint",
    "newest_checkpoint",
    "restore",
    "run_elastic",
    "save_checkpoint",
]

__getattr__ = export(
    __name__,
    {
        "checkpoint": [
            "Checkpoint",
            "TornCheckpointWarning",
            "load_checkpoint",
            "newest_checkpoint",
            "restore",
            "save_checkpoint",
        ],
        "run": ["ElasticConfig", "ElasticReport", "run_elastic"],
    },
    extra="torch",
)
