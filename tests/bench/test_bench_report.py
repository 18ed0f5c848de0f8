import re

import pytest

from scalelab.bench import build_report
from scalelab.bench.road import pareto_front, read_rungs, road_table
from scalelab.core.errors import DataError
from scalelab.core.records import RecordStore, RunRecord, metric

CURVE = [metric("curve_rate", "1/s", [10, 20]), metric("curve_p95", "s", [0.01, 0.3])]
BURST = {"offered": 10, "accepted": 9, "answered": 9, "refused": 1, "failed": 0, "lost": 0, "rate_per_s": 50}


def record(name, *metrics, **notes):
    return RunRecord(f"road/{name}", {}, tuple(metrics), {"title": name, **notes}, machine=MACHINE, git="")


MACHINE = {
    "cpu": "a <CPU>", "cores": 2, "ram_bytes": 2**33, "system": "Linux", "machine": "x", "python": "3",
    "flags": [], "versions": {"torch": "2"}, "load_1min": 0.1,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    store = RecordStore(tmp_path / "records.jsonl")
    quality = [metric("digit_accuracy", "share", 0.99), metric("pin_accuracy", "share", 0.94)]
    speed = [
        metric("latency_p50", "s", 0.002),
        metric("latency_n", "1", 30),
        metric("throughput", "1/s", 400),
    ]
    store.append(
        record("onnx", *quality, *speed, metric("inr_per_million", "INR", 5), throughput_of="predictions")
    )
    store.append(record("int8", *quality, metric("inr_per_million", "INR", 2)))
    claims = [{"claim": "nothing is lost", "verdict": "PASS", "detail": "0 of 9"}]
    store.append(record("service", *CURVE, metric("throughput", "1/s", 15), burst=BURST, claims=claims))
    store.append(
        RunRecord("road/broken", {}, (), {"title": "broken", "error": "<b>boom</b>"}, status="failed")
    )
    return tmp_path


def test_the_page_needs_nothing_from_outside(folder):
    page = build_report(folder).read_text(encoding="utf-8")
    without_plotly = re.sub(r"<script>.*?</script>", "", page, count=1, flags=re.S)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", without_plotly)


def test_every_plot_has_alternative_text_and_its_numbers(folder):
    page = build_report(folder).read_text(encoding="utf-8")
    plots = page.count('class="plot" role="img" aria-label="')
    assert plots >= 6
    assert page.count("<summary>The numbers</summary>") == plots


def test_what_users_wrote_is_escaped(folder):
    page = build_report(folder).read_text(encoding="utf-8")
    assert "<b>boom</b>" not in page
    assert "&lt;b&gt;boom&lt;/b&gt;" in page


def test_a_failed_rung_says_why_in_the_table(folder):
    rows = road_table(read_rungs(RecordStore(folder / "records.jsonl").read()))
    assert any("failed: <b>boom</b>" in row for row in rows)


def test_a_rung_shows_its_newest_record(folder):
    store = RecordStore(folder / "records.jsonl")
    store.append(record("onnx", metric("pin_accuracy", "share", 0.5)))
    rungs = {rung.name: rung for rung in read_rungs(store.read())}
    assert rungs["onnx"].pin_accuracy == 0.5


def test_a_folder_without_records_says_what_to_run(tmp_path):
    with pytest.raises(DataError, match="has no records"):
        build_report(tmp_path)


def test_the_front_holds_what_no_other_beats_in_both():
    assert pareto_front([(1, 90), (2, 95), (3, 94), (1, 80)]) == [0, 1]
    assert pareto_front([(1, 90), (1, 90)]) == [0, 1]


@pytest.mark.parametrize(("busy", "warns"), [(1.7, True), (0.0, False)])
def test_the_page_warns_when_other_work_kept_the_machine_busy(folder, busy, warns):
    RecordStore(folder / "records.jsonl").append(record("late", busy_cores_before=busy))
    page = build_report(folder).read_text(encoding="utf-8")
    assert ("Other work kept this machine busy" in page) == warns
    assert f"{busy:.1f} of 2" in page
