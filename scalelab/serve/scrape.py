"""The numbers of `metrics` as Prometheus reads them: text made by prometheus-client when somebody asks.

The gateway of a local stack shows its workers too, each under its slot (``worker="worker-1"``): their files
are added up, so that a killed worker takes nothing with it. A worker in a container has a port of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scalelab.serve.broker import Health
from scalelab.serve.metrics import GATEWAY, WORKER, GatewayMetrics, WorkerMetrics
from scalelab.serve.tally import COUNTER, GAUGE, HISTOGRAM, Counted, Layout, Metric, read_folder

PREFIX = "scalelab_"


def render_gateway(
    metrics: GatewayMetrics,
    health: Health | None,
    *,
    folder: Path | None,
    facts: Mapping[str, str],
    accept: str,
) -> tuple[bytes, str]:
    """Return text and content type for a scrape of the gateway.

    Args:
        health: the state of the queue; None if the broker is away, which ``scalelab_broker_up`` tells.
        folder: where the workers of this stack count; None if they have ports of their own.
        facts: version and contract of the gateway.
        accept: the scraper's Accept header; it chooses between the text format and OpenMetrics.
    """
    from prometheus_client.core import GaugeMetricFamily

    families = list(_families(GATEWAY, [Counted("", metrics.tally.cells)]))
    gauges = {"broker_up": ("does the broker answer", float(health is not None))}
    if health is not None:
        gauges |= {
            "queue_depth_tasks": ("tasks without an answer", health.depth),
            "queue_oldest_age_seconds": ("age of the oldest task without an answer", health.oldest_s),
            "tasks_in_flight": ("tasks in the hands of workers", health.in_flight),
            "workers": ("workers that live", health.workers),
            "dead_letters": ("tasks kept aside for people", health.dead_letters),
        }
    families += [GaugeMetricFamily(PREFIX + name, about, value) for name, (about, value) in gauges.items()]
    families += [_info("gateway_info", "this gateway", [facts])]
    if folder is not None and folder.is_dir():
        families += _worker_families(read_folder(folder, WORKER))
    return _encode(families, accept)


def serve_worker_metrics(metrics: WorkerMetrics, *, name: str, host: str, port: int) -> Any:
    """Answer scrapes of this worker on a port of its own, in a thread; return the server."""
    from prometheus_client import ProcessCollector, start_http_server

    process = ProcessCollector(registry=None)

    class Registry:
        def collect(self) -> Iterator[Any]:
            yield from _worker_families([Counted(name, list(metrics.tally.cells), metrics.tally.facts)])
            yield from process.collect()

    server, _ = start_http_server(port, host, registry=Registry())  # type: ignore[arg-type]
    return server


def _worker_families(counted: Sequence[Counted]) -> list[Any]:
    facts = [{"worker": one.slot, **one.facts} for one in counted if one.facts]
    return [*_families(WORKER, counted, slot_label="worker"), _info("model_info", "the model served", facts)]


def _families(layout: Layout, counted: Sequence[Counted], *, slot_label: str = "") -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    kinds = {COUNTER: CounterMetricFamily, GAUGE: GaugeMetricFamily, HISTOGRAM: HistogramMetricFamily}
    for metric in layout.metrics:
        labels = [label for label in (slot_label, metric.label) if label]
        family = kinds[metric.kind](PREFIX + metric.name, metric.about, labels=labels)
        for one in counted:
            for value in metric.values:
                at = layout.starts[metric.name, value]
                shown = [text for label, text in ((slot_label, one.slot), (metric.label, value)) if label]
                if metric.kind == HISTOGRAM:
                    family.add_metric(shown, _buckets(metric, one.cells, at), sum_value=one.cells[at])
                else:
                    family.add_metric(shown, one.cells[at])
        yield family


def _buckets(metric: Metric, cells: Sequence[float], at: int) -> list[tuple[str, float]]:
    """Return a histogram's buckets as Prometheus has them: each holds all below its bound."""
    from prometheus_client.utils import floatToGoString

    bounds = (*metric.bounds, float("inf"))
    counts = itertools.accumulate(cells[at + 1 : at + metric.width])
    return [(floatToGoString(bound), count) for bound, count in zip(bounds, counts, strict=True)]


def _info(name: str, about: str, rows: Iterable[Mapping[str, str]]) -> Any:
    """Return facts as labels of a gauge that is always 1."""
    from prometheus_client.core import GaugeMetricFamily

    rows = list(rows)
    family = GaugeMetricFamily(PREFIX + name, about, labels=list(rows[0]) if rows else ["worker"])
    for row in rows:
        family.add_metric(list(row.values()), 1)
    return family


def _encode(families: Sequence[Any], accept: str) -> tuple[bytes, str]:
    from prometheus_client.exposition import choose_encoder

    class Registry:
        def collect(self) -> Sequence[Any]:
            return families

    encoder, content_type = choose_encoder(accept)
    return encoder(Registry()), content_type  # type: ignore[arg-type]
