"""The reader as a service: a gateway, a broker and workers, each a process of its own.

Each name is loaded when it is first used; web server, broker's client and model only in their own processes.
"""

from scalelab.core.lazy import export

__all__ = [
    "IMAGE_SHAPE",
    "BatchPolicy",
    "BrokerLimits",
    "Stack",
    "StackSettings",
    "running_stack",
    "start_stack",
]

__getattr__ = export(
    __name__,
    {
        "batching": ["BatchPolicy"],
        "broker": ["BrokerLimits"],
        "pins": ["IMAGE_SHAPE"],
        "settings": ["StackSettings"],
        "stack": ["Stack", "running_stack", "start_stack"],
    },
    extra="serve",
)
