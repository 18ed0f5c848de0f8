"""What a training loop costs: ours and those of known frameworks beside bare torch, step by step in turn.

Each name is loaded when it is first used.
"""

from scalelab.core.lazy import export

__all__ = [
    "BASES",
    "OPTIONAL",
    "FrameworksConfig",
    "FrameworksReport",
    "Overhead",
    "compare_frameworks",
    "installed_ways",
]

__getattr__ = export(
    __name__,
    {
        "compare": [
            "BASES",
            "OPTIONAL",
            "FrameworksConfig",
            "FrameworksReport",
            "Overhead",
            "compare_frameworks",
            "installed_ways",
        ]
    },
    extra="torch",
)
