"""The benchmark lab: suites of notebooks, run by papermill, recorded, tabled and plotted."""

from scalelab.core.lazy import export

__all__ = [
    "Point",
    "Suite",
    "SuiteResult",
    "artifacts_folder",
    "build_report",
    "burst_note",
    "claim",
    "knee_metrics",
    "knee_note",
    "latency_metrics",
    "load_suite",
    "need_artifact",
    "run_suite",
    "write_record",
]

__getattr__ = export(
    __name__,
    {
        "suite": ["Point", "Suite", "load_suite"],
        "runner": ["SuiteResult", "run_suite"],
        "report": ["build_report"],
        "service": ["burst_note", "knee_metrics", "knee_note"],
        "notebook": ["artifacts_folder", "claim", "latency_metrics", "need_artifact", "write_record"],
    },
)
