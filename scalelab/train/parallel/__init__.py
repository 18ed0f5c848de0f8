"""One model over several ranks: split layers, pipelines, shards; and the levers on memory.

Each name is loaded when it is first used (torch takes seconds to import).
"""

from scalelab.core.lazy import export

__all__ = [
    "HeldActivations",
    "StateBytes",
    "split_gpt",
    "state_bytes",
    "with_checkpoints",
]

__getattr__ = export(
    __name__,
    {
        "memory": ["HeldActivations", "StateBytes", "state_bytes", "with_checkpoints"],
        "split": ["split_gpt"],
    },
    extra="torch",
)
