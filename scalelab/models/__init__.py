"""The PIN reader, its file and its score; and a small GPT over characters, where sequences matter.

Each name is loaded when it is first used (torch takes seconds to import).
"""

from scalelab.core.lazy import export

__all__ = ["Accuracy", "CharGpt", "PinReader", "accuracy", "load_reader", "save_reader"]

__getattr__ = export(
    __name__,
    {
        "checkpoint": ["load_reader", "save_reader"],
        "gpt": ["CharGpt"],
        "reader": ["PinReader"],
        "score": ["Accuracy", "accuracy"],
    },
    extra="torch",
)
