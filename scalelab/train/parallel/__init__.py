"""One model over several ranks: split layers, pipelines, shards; and the levers on memory.

Each name is loaded when it is first used (torch takes seconds to import).
"""

from scalelab.core.lazy import export

__all__ = [
    "HeldActivations",
    "Pipeline",
    "bubble",
    "compare_ways",
    "cut_stage",
    "measure_bubble",
    "play_for_real",
    "play_on_paper",
    "shard",
    "split_gpt",
    "state_bytes",
    "with_checkpoints",
]

__getattr__ = export(
    __name__,
    {
        "beside_whole": ["compare_ways"],
        "memory": ["HeldActivations", "state_bytes", "with_checkpoints"],
        "pipeline": ["Pipeline", "bubble", "cut_stage", "measure_bubble"],
        "schedule": ["play_for_real", "play_on_paper"],
        "sharded": ["shard"],
        "split": ["split_gpt"],
    },
    extra="torch",
)
