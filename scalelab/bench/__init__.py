"""The benchmark lab: suites of notebooks, run by papermill, recorded, tabled and plotted."""

from __future__ import annotations

from typing import Any

__all__ = [
    "Point",
    "Suite",
    "SuiteResult",
    "build_report",
    "load_suite",
    "road_table",
    "run_suite",
    "write_record",
]

_HOME = {
    "Point": "suite",
    "Suite": "suite",
    "SuiteResult": "runner",
    "build_report": "report",
    "load_suite": "suite",
    "road_table": "road",
    "run_suite": "runner",
    "write_record": "notebook",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module at the first use."""
    import importlib

    if name in _HOME:
        return getattr(importlib.import_module(f"scalelab.bench.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
