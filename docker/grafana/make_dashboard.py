"""Write dashboards/scalelab.json: the service on one page. `--check` writes nothing and fails if it is stale.

Rows follow a request: what comes in, how long it waits and where, how full batches are, what goes wrong.
"""

import json
import sys
from pathlib import Path

OUT = Path(__file__).parent / "dashboards" / "scalelab.json"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
RATE = "[$__rate_interval]"
PERCENTILES = (0.5, 0.95, 0.99)


def percentiles(metric, by=""):
    """Return the queries for the percentiles of a histogram, over all processes together."""
    labels = ", ".join(filter(None, ("le", by)))
    legend = f"{{{{{by}}}}} " if by else ""
    return [
        (f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{RATE})))", f"{legend}p{q * 100:g}")
        for q in PERCENTILES
    ]


def mean(metric, by):
    """Return the query for the mean of a histogram."""
    return f"sum by ({by}) (rate({metric}_sum{RATE})) / sum by ({by}) (rate({metric}_count{RATE}))"


# title, unit, queries and their legends, limit drawn as a line
PANELS = [
    ("Requests", "reqps", [
        (f"sum(rate(scalelab_requests_accepted_total{RATE}))", "accepted"),
        (f"sum(rate(scalelab_answers_total{RATE}))", "answered"),
        (f"sum by (reason) (rate(scalelab_requests_rejected_total{RATE})) > 0", "refused: {{reason}}"),
    ], None),
    ("Time to answer, as clients wait for it", "s", percentiles("scalelab_answer_wait_seconds"), 0.2),
    ("Queue", "short", [
        ("max(scalelab_queue_depth_tasks)", "without an answer"),
        ("max(scalelab_tasks_in_flight)", "in workers' hands"),
        ("sum(scalelab_requests_waiting)", "requests that wait"),
    ], None),
    ("Age of the oldest task", "s", [("max(scalelab_queue_oldest_age_seconds)", "oldest")], 5),
    ("Where the time goes, mean by stage", "s", [
        (mean("scalelab_task_duration_seconds", "stage"), "{{stage}}"),
    ], None),
    ("Batch size, mean by worker", "short", [
        (mean("scalelab_batch_size_tasks", "worker"), "{{worker}}"),
    ], None),
    ("Workers", "short", [
        ("max(scalelab_workers)", "alive"),
        ("count by (version) (scalelab_model_info)", "model {{version}}"),
    ], None),
    ("What went wrong", "short", [
        (f"sum(increase(scalelab_task_retries_total{RATE}))", "retries"),
        ('sum(increase(scalelab_tasks_finished_total{status!="done"}' + RATE + "))", "failed or expired"),
        ("max(scalelab_dead_letters)", "dead letters kept"),
        ("1 - min(scalelab_broker_up)", "broker away"),
    ], None),
]  # fmt: skip


def panel(number, title, unit, queries, limit):
    """Return one panel; two stand side by side."""
    steps = [{"color": "green", "value": None}, *([{"color": "red", "value": limit}] if limit else [])]
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "datasource": SOURCE,
        "gridPos": {"x": number % 2 * 12, "y": number // 2 * 8, "w": 12, "h": 8},
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                "min": 0,
                "thresholds": {"mode": "absolute", "steps": steps},
                "custom": {"thresholdsStyle": {"mode": "line" if limit else "off"}},
            },
            "overrides": [],
        },
        "targets": [
            {"refId": chr(65 + at), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
            for at, (expr, legend) in enumerate(queries)
        ],
    }


def dashboard():
    """Return the dashboard as Grafana reads it."""
    return {
        "uid": "scalelab",
        "title": "ScaleLab service",
        "tags": ["scalelab"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "panels": [panel(number, *facts) for number, facts in enumerate(PANELS)],
    }


if __name__ == "__main__":
    text = json.dumps(dashboard(), indent=1) + "\n"
    if "--check" in sys.argv:
        sys.exit(0 if OUT.exists() and OUT.read_text() == text else f"{OUT} is stale: python {__file__}")
    OUT.write_text(text)
