"""What a benchmark notebook calls: where its artifacts lie, and how it records what it measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scalelab.core.errors import ConfigError
from scalelab.core.paths import runs_folder
from scalelab.core.records import Metric, RecordStore, RunRecord, metric
from scalelab.core.stats import Verdict, percentile, smallest_n


def artifacts_folder(artifacts: str) -> Path:
    """Return the folder that points share.

    An empty name, of a notebook opened by hand, means ``runs/lab/artifacts``: a trial with a few steps must
    not overwrite the demo's model.
    """
    folder = Path(artifacts) if artifacts else runs_folder() / "lab" / "artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def need_artifact(folder: Path, name: str, *, made_by: str) -> Path:
    """Return the path of a file that an earlier point made, here or (opened by hand) in the demo.

    Raises:
        ConfigError: it is not there; the hint names the notebook that makes it.
    """
    places = [folder, *([runs_folder() / "demo" / "artifacts"] if folder == artifacts_folder("") else [])]
    for place in places:
        if (place / name).exists():
            return place / name
    raise ConfigError(f"{folder / name} is missing", hint=f"run {made_by} first, or `scalelab demo`")


def latency_metrics(seconds: Sequence[float]) -> list[Metric]:
    """Return p50, p95 and p99 of `seconds`, as far as there are values enough, and their number."""
    found = [
        metric(f"latency_p{percent}", "s", percentile(seconds, percent))
        for percent in (50, 95, 99)
        if len(seconds) >= smallest_n(percent)
    ]
    return [*found, metric("latency_n", "1", len(seconds))]


def claim(text: str, holds: bool | Verdict | None, detail: str) -> dict[str, str]:
    """Return a judged claim for a record's notes: what `judge` said, or PASS, FAIL, for None INCONCLUSIVE."""
    if isinstance(holds, Verdict):
        verdict = holds
    else:
        verdict = Verdict.INCONCLUSIVE if holds is None else Verdict.PASS if holds else Verdict.FAIL
    return {"claim": text, "verdict": verdict.value, "detail": detail}


def write_record(
    record_path: str,
    subject: str,
    *,
    parameters: Mapping[str, Any],
    metrics: Sequence[Metric],
    notes: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> RunRecord:
    """Build the record of a run; append it to `record_path` unless that is empty (shown only)."""
    record = RunRecord(subject, dict(parameters), tuple(metrics), dict(notes or {}), seed)
    if record_path:
        RecordStore(record_path).append(record)
    return record
