"""Put the data and the benchmark notebooks inside a wheel; an editable install reads the checkout's."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShipFiles(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the shipped folders to a built wheel, and only there."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a build."""
        if version == "standard":
            build_data["force_include"] |= {
                "datasets": "scalelab/_files/datasets",
                "labs/benchmarks": "scalelab/_files/benchmarks",
            }
