"""What a runtime makes of a graph: parity with its origin, its difference to another, who runs its nodes.

Each name is loaded when it is first used.
"""

from scalelab.core.lazy import export

__all__ = [
    "GraphDiff",
    "ModuleSession",
    "ParityReport",
    "ProviderStatus",
    "check_parity",
    "check_provider",
    "check_providers",
    "diff_graphs",
    "nodes_by_provider",
]

__getattr__ = export(
    __name__,
    {
        "diff": ["GraphDiff", "diff_graphs"],
        "parity": ["ModuleSession", "ParityReport", "check_parity"],
        "providers": ["ProviderStatus", "check_provider", "check_providers", "nodes_by_provider"],
    },
    extra="onnx",
)
