"""Authoring: one source of a lab becomes two notebooks, and a proof that the lab holds."""

from scalelab.core.lazy import export

__all__ = [
    "Built",
    "LabFolders",
    "LabSource",
    "Verification",
    "build_for_nbgrader",
    "build_lab",
    "build_notebook",
    "find_labs",
    "new_lab",
    "parse_source",
    "render_script",
    "verify_lab",
    "verify_packages",
]

__getattr__ = export(
    __name__,
    {
        "build": ["Built", "build_for_nbgrader", "build_lab", "build_notebook"],
        "folders": ["LabFolders", "find_labs"],
        "new": ["new_lab"],
        "source": ["LabSource", "parse_source"],
        "render": ["render_script"],
        "verify": ["Verification", "verify_lab", "verify_packages"],
    },
)
