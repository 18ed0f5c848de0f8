"""Put data, benchmark notebooks and labs inside a wheel; an editable install reads the checkout's."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NOT_FOR_STUDENTS = {"source.py", "answers.py", "hidden_checks.py", "solution.ipynb"}


class ShipFiles(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the shipped folders to a built wheel, and only there."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a build."""
        if version != "standard":
            return
        root = Path(self.root)
        build_data["force_include"] |= {
            "datasets": "scalelab/_files/datasets",
            "labs/benchmarks": "scalelab/_files/benchmarks",
            **{file: f"scalelab/_files/{file}" for file in lab_files(root)},
        }


def lab_files(root: Path) -> list[str]:
    """Return the files of all labs as students get them: no caches, nothing hidden or of the solutions."""
    found = []
    for manifest in sorted(root.glob("labs/*/lab.toml")):
        for path in sorted(manifest.parent.rglob("*")):
            parts = path.relative_to(root).parts
            if not path.is_file() or any(part.startswith((".", "__pycache__")) for part in parts):
                continue
            if path.name in NOT_FOR_STUDENTS:
                raise ValueError(
                    f"{path.relative_to(root)} must not reach students: it belongs to solutions/"
                )
            found.append("/".join(parts))
    return found
