"""The PIN reader: an over-sized network as a first notebook would hold it, its file and its score.

Each name is loaded when it is first used (torch takes seconds to import).
"""

from scalelab.core.lazy import export

__all__ = ["Accuracy", "PinReader", "accuracy", "load_reader", "save_reader"]

__getattr__ = export(
    __name__,
    {
        "checkpoint": ["load_reader", "save_reader"],
        "reader": ["PinReader"],
        "score": ["Accuracy", "accuracy"],
    },
    extra="torch",
)
