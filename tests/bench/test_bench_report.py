import base64
import random
import re
from dataclasses import replace
from operator import le

import pytest

from scalelab.bench import build_report
from scalelab.bench.compare import compare_results
from scalelab.bench.doubts import doubts_table
from scalelab.bench.figure import cut
from scalelab.bench.measured import read_suites
from scalelab.bench.pareto import pareto_figure, pareto_front
from scalelab.bench.results import read_results
from scalelab.bench.road import read_rungs
from scalelab.bench.road_figures import suite_figures
from scalelab.bench.rung_figures import curve_figure
from scalelab.bench.tables import report_tables
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
    assert page.count('class="download"') > plots


def test_what_users_wrote_is_escaped(folder):
    page = build_report(folder).read_text(encoding="utf-8")
    assert "<b>boom</b>" not in page
    assert "&lt;b&gt;boom&lt;/b&gt;" in page


def test_a_failed_step_says_why_in_the_table(folder):
    tables = report_tables(RecordStore(folder / "records.jsonl").read())
    steps = next(table for table in tables if table.name == "road")
    assert any("failed: <b>boom</b>" in row for row in steps.rows)


def test_a_rung_shows_its_newest_record(folder):
    store = RecordStore(folder / "records.jsonl")
    run = {"key": "of changed code", "round": 0}
    store.append(replace(record("onnx", metric("pin_accuracy", "share", 0.5)), run=run))
    rungs = {rung.title: rung for rung in read_rungs(store.read())}
    assert rungs["onnx"].pin_accuracy == 0.5


def test_the_same_point_without_its_newest_try_is_said_to_be_broken(folder):
    store = RecordStore(folder / "records.jsonl")
    store.append(RunRecord("road/onnx", {}, (), {"title": "onnx", "error": "out of memory"}, status="failed"))
    rungs = {rung.title: rung for rung in read_rungs(store.read())}
    assert (rungs["onnx"].status, rungs["onnx"].problem) == ("failed", "out of memory")


def test_a_folder_without_records_says_what_to_run(tmp_path):
    with pytest.raises(DataError, match="has no records"):
        build_report(tmp_path)


def test_the_front_holds_what_no_other_beats_in_all():
    assert pareto_front([(1, -90), (2, -95), (3, -94), (1, -80)]) == [0, 1]
    assert pareto_front([(1, -90), (1, -90)]) == [0, 1]
    assert pareto_front([(1, 1, 9), (1, 9, 1), (9, 1, 1), (9, 9, 1)]) == [0, 1, 2]
    assert pareto_front([]) == []


def test_the_front_is_the_same_as_by_comparing_each_with_each():
    source = random.Random(3)
    points = [tuple(source.randrange(6) for _ in range(3)) for _ in range(200)]
    beaten = [any(all(map(le, other, mine)) and other != mine for other in points) for mine in points]
    assert 1 < len(pareto_front(points)) < 200
    assert pareto_front(points) == [index for index, is_beaten in enumerate(beaten) if not is_beaten]


def points_of(*records):
    return [point for points in read_suites(records).values() for point in points]


def test_a_request_and_a_bare_call_do_not_beat_each_other():
    def step(name, kind, cost, accuracy):
        return record(
            name, metric("inr_per_million", "INR", cost), metric("pin_accuracy", "share", accuracy),
            throughput_of=kind,
        )  # fmt: skip

    figure = pareto_figure(
        points_of(step("a", "calls", 1, 0.9), step("b", "requests", 9, 0.8), step("c", "calls", 2, 0.8))
    )
    assert {row[0]: row[-1] for row in figure.rows} == {"a": "yes", "b": "yes", "c": "no"}


def test_the_target_and_the_knee_of_a_curve_come_from_its_record():
    knee = [metric("throughput", "1/s", 15), metric("latency_p95", "s", 0.02)]
    slow = RunRecord("s/a", {"slo_p95_s": 0.5}, (*CURVE, *knee), {"title": "a"}, machine=MACHINE, git="")
    figure = curve_figure(points_of(slow))
    (line,) = figure.plot.layout.shapes
    assert (line.y0, line.y1) == (500, 500)
    (star,) = [trace for trace in figure.plot.data if trace.marker.symbol == "star"]
    assert (star.x, star.y, star.text) == ((15,), (20,), ("15.0/s",))
    assert ("a", "15.0", "20.0", "knee") in figure.rows
    assert "under 500 ms: a 15/s" in figure.alt


def test_a_record_without_a_target_gets_no_line(folder):
    points = points_of(*RecordStore(folder / "records.jsonl").read())
    assert not curve_figure(points).plot.layout.shapes


def test_costs_are_in_rupees_and_dollars():
    priced = [
        record(name, metric("inr_per_million", "INR", 95 * usd), metric("usd_per_million", "USD", usd))
        for name, usd in (("a", 1), ("b", 2))
    ]
    (figure,) = [found for found in suite_figures(points_of(*priced)) if found.title.startswith("Cost")]
    assert list(figure.plot.data[0].text) == ["₹95.00 = $1.00", "₹190.00 = $2.00"]


def test_a_suite_that_is_no_road_gets_its_own_figures_and_no_empty_one():
    names = ("mosec", "ours", "fastapi")
    peers = record("peers", *(metric(f"closed_rate_{name}", "1/s", [4, 5, 6]) for name in names))
    (figure,) = suite_figures(points_of(peers))
    assert figure.title == "Closed rate"
    assert [row[0] for row in figure.rows] == list(names)


def test_a_matrix_is_drawn_over_its_number_with_a_line_for_each_other_choice():
    steps = [
        RunRecord(
            f"s/p[workers={workers},broker={broker}]", {"workers": workers, "broker": broker},
            (metric("throughput", "1/s", 10 * workers),), machine=MACHINE, git="",
        )
        for workers in (1, 2, 4)
        for broker in ("local", "valkey")
    ]  # fmt: skip
    figures = {figure.title: figure for figure in suite_figures(points_of(*steps))}
    lines = figures["Throughput over workers"].plot.data
    assert [(line.name, line.x, line.y) for line in lines] == [
        ("broker local", (1, 2, 4), (10, 20, 40)),
        ("broker valkey", (1, 2, 4), (10, 20, 40)),
    ]


def test_names_of_a_matrix_keep_what_tells_them_apart():
    names = [f"a service with a long name[workers={n},broker=local]" for n in (1, 2)]
    assert [cut(name) for name in names] == ["…[workers=1,broker=local]", "…[workers=2,broker=local]"]


def test_what_is_not_certain_is_said_with_its_reason():
    unsure = [{"claim": "twice as fast", "verdict": "INCONCLUSIVE", "detail": "1.9 [1.7, 2.1]"}]
    knee = {"is_confirmed": False, "is_lower_bound": True, "generator_limited": False}
    shaky = RunRecord(
        "road/a", {}, (metric("m", "1", 1),), {"claims": unsure, "knee": knee, "quiet": False},
        machine=MACHINE, git="", reference_s=(0.3, 0.4),
    )  # fmt: skip
    text = doubts_table(points_of(shaky)).markdown()
    for words in (
        "twice as fast", "1.9 [1.7, 2.1]", "a lower bound", "did not agree", "more than 5 % apart",
        "longer on one side", "fewer than 6 rounds",
    ):  # fmt: skip
        assert words in text, words


def test_what_is_certain_is_not_doubted():
    rounds = [
        RunRecord(
            "road/a", {}, (metric("m", "1", 1),), {"quiet": True}, machine=MACHINE, git="",
            reference_s=(0.3, 0.31), run={"round": number},
        )
        for number in range(6)
    ]  # fmt: skip
    assert doubts_table(points_of(*rounds)) is None


def test_damaged_lines_are_said_on_the_page(folder):
    with (folder / "records.jsonl").open("a", encoding="utf-8") as store:
        store.write('{"half": \n')
    page = build_report(folder).read_text(encoding="utf-8")
    assert "Line 5 of the store" in page


def test_a_comparison_stands_on_the_page(tmp_path):
    for name, speed in (("a", 100), ("b", 150)):
        store = RecordStore(tmp_path / name / "records.jsonl")
        for number in range(6):
            rate = metric("throughput", "1/s", speed + number)
            store.append(RunRecord("s/p", {}, (rate,), {}, machine=MACHINE, git="", run={"round": number}))
    comparison = compare_results(read_results(tmp_path / "a"), read_results(tmp_path / "b"))
    page = build_report(tmp_path / "b", comparison=comparison).read_text(encoding="utf-8")
    assert "B against A" in page
    assert "What changed" in page
    assert "Of 1 metrics: 1 better." in page
    assert "Better and worse" in page


def test_several_folders_become_one_page_beside_the_first(folder, tmp_path):
    other = tmp_path / "other"
    RecordStore(other / "records.jsonl").append(
        RunRecord("peers/x", {}, (metric("closed", "1/s", 5),), {}, machine=MACHINE, git="")
    )
    page = build_report([folder, other])
    assert page == folder / "report.html"
    text = page.read_text(encoding="utf-8")
    assert text.count('class="suite"') == 2
    assert len(set(re.findall(r'id="plot-\d+"', text))) == text.count('class="plot"')


def test_the_title_is_the_suites_own(folder):
    (folder / "suite.toml").write_text('name = "road"\ntitle = "A & B"\n', encoding="utf-8")
    assert "<h1>A &amp; B</h1>" in build_report(folder).read_text(encoding="utf-8")


def test_a_long_table_shows_its_first_rows_and_saves_all(tmp_path):
    metrics = (metric("accuracy", "share", 0.5),)
    records = [RunRecord(f"s/p{number}", {}, metrics, {}, machine=MACHINE, git="") for number in range(400)]
    lines = "".join(f"{one.to_json()}\n" for one in records)
    (tmp_path / "records.jsonl").write_text(lines, encoding="utf-8")
    page = build_report(tmp_path).read_text(encoding="utf-8")
    assert "100 more rows are in the CSV" in page
    assert page.count("<td>p399</td>") == 0
    link = re.search(r'download="s-metrics.csv" href="data:text/csv;base64,([^"]+)"', page)
    assert base64.b64decode(link[1]).decode("utf-8-sig").count("\n") == 401


@pytest.mark.parametrize(("busy", "warns"), [(1.7, True), (0.0, False)])
def test_the_page_warns_when_other_work_kept_the_machine_busy(folder, busy, warns):
    RecordStore(folder / "records.jsonl").append(record("late", busy_cores_before=busy))
    page = build_report(folder).read_text(encoding="utf-8")
    assert ("Other work kept this machine busy" in page) == warns
    assert f"{busy:.1f} of 2" in page
