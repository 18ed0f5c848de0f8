"""The report in a real browser: three widths, light and dark, its downloads, and on paper; and its size."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scalelab.bench import build_report
from scalelab.core.records import RecordStore, RunRecord, metric

pytestmark = pytest.mark.slow
MACHINE = {
    "cpu": "one", "cores": 2, "ram_bytes": 2**33, "system": "Linux", "machine": "x", "python": "3",
    "flags": [], "versions": {"torch": "2"}, "load_1min": 0.1,
}  # fmt: skip
BURST = {"offered": 10, "accepted": 9, "answered": 9, "refused": 1, "failed": 0, "lost": 0, "rate_per_s": 50}
ROUNDS = 6
PLOTS = ["gained", "Latency", "Throughput", "Accuracy", "Cost", "Pareto", "knee", "burst"]


TITLES = ("1 a model in a loop", "2 a service with a long name of its own", "3 =int8")


def step(place, title, number):
    """A record of one round of one step."""
    speed = (place + 1) * (100 + number)
    metrics = (
        metric("digit_accuracy", "share", 0.99 - place / 100),
        metric("pin_accuracy", "share", 0.94 - place / 50),
        metric("latency_p50", "s", 0.5 / speed),
        metric("latency_p95", "s", 9 / speed),
        metric("throughput", "1/s", speed),
        metric("inr_per_million", "INR", 900 / speed),
        metric("usd_per_million", "USD", 10 / speed),
        metric("curve_rate", "1/s", [speed / 2, speed, 2 * speed]),
        metric("curve_p95", "s", [4 / speed, 9 / speed, 0.9]),
    )
    return RunRecord(
        f"road/p{place}", {"slo_p95_s": 0.2}, metrics,
        {"title": title, "bought": "much", "throughput_of": "requests", "burst": BURST},
        machine=MACHINE, git="abc", reference_s=(0.3, 0.31), run={"round": number, "key": "k"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of a road of three steps in six rounds, one of them broken at last."""
    folder = tmp_path_factory.mktemp("report")
    store = RecordStore(folder / "records.jsonl")
    for number in range(ROUNDS):
        for place, title in enumerate(TITLES):
            store.append(step(place, title, number))
    error = {"title": "4 broken", "error": "a very long line of an error " * 20}
    store.append(RunRecord("road/p4", {}, (), error, status="failed", machine=MACHINE, git="abc"))
    return build_report(folder)


@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


def opened(browser, report, width=820, scheme="light"):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.said = []
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("console", lambda line: page.said.append(line.text) if line.type == "error" else None)
    page.on("request", lambda request: page.said.append(request.url) if "://" in request.url[5:] else None)
    page.goto(report.as_uri())
    page.wait_for_function("document.querySelectorAll('.plot:not(:has(.main-svg))').length === 0")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 820, 1440])
def test_everything_is_drawn_and_fits(browser, report, width, scheme):
    page = opened(browser, report, width, scheme)
    titles = page.locator("section:has(.js-plotly-plot) h2").all_inner_texts()
    for words in PLOTS:
        assert any(words in title for title in titles), words
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wider = page.evaluate(
        "[...document.querySelectorAll('.plot')].filter(p => p.scrollWidth > p.clientWidth + 1).length"
    )
    assert wider == 0
    ink = page.evaluate("getComputedStyle(document.body).color")
    drawn = page.evaluate("getComputedStyle(document.querySelector('.js-plotly-plot .xtitle')).fill")
    assert drawn == ink
    assert (max(map(int, re.findall(r"\d+", ink))) > 127) == (scheme == "dark")
    assert page.said == []
    page.close()


def test_a_download_has_the_rows_of_its_table(browser, report, tmp_path):
    page = opened(browser, report)
    section = page.locator("section", has=page.locator("h2", has_text="Step by step"))
    shown = [row.locator("th, td").all_inner_texts() for row in section.locator("tr").all()]
    with page.expect_download() as waiting:
        section.locator("a.download").click()
    waiting.value.save_as(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8-sig", newline="") as file:
        saved = list(csv.reader(file))
    assert len(saved) == 5
    assert saved == shown
    page.close()


def test_what_begins_like_a_formula_is_none_in_a_download(browser, tmp_path):
    store = RecordStore(tmp_path / "records.jsonl")
    store.append(
        RunRecord("s/a", {}, (metric("throughput", "1/s", 1),), {"title": "=1+1"}, machine=MACHINE, git="")
    )
    page = opened(browser, build_report(tmp_path))
    with page.expect_download() as waiting:
        page.locator("a.download").first.click()
    waiting.value.save_as(tmp_path / "table.csv")
    assert "'=1+1" in (tmp_path / "table.csv").read_text(encoding="utf-8-sig")
    page.close()


def test_on_paper_plots_fit_numbers_unfold_and_ink_is_dark(browser, report):
    page = opened(browser, report, 1440, "dark")
    before = page.evaluate("document.querySelector('.js-plotly-plot').clientWidth")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="dark")
    widths = page.evaluate(
        "[...document.querySelectorAll('.main-svg')].map(svg => svg.getBoundingClientRect().width)"
    )
    assert widths
    assert max(widths) <= 680
    assert page.locator("details").count() > len(PLOTS)
    closed = page.locator("details:not([open])")
    assert all(row.locator("tr").count() > 40 for row in closed.all())
    fills = page.evaluate(
        "[...document.querySelectorAll('.plot text')].map(text => getComputedStyle(text).fill)"
    )
    assert "rgb(29, 39, 51)" in fills  # the ink of light paper
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.emulate_media(media="screen", color_scheme="dark")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    page.wait_for_function(f"document.querySelector('.js-plotly-plot').clientWidth === {before}")
    assert page.locator("details[open]").count() == 0
    page.close()


def test_it_prints_to_pdf(report, chromium, tmp_path):
    out = tmp_path / "report.pdf"
    command = [
        chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
        f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={out}", report.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    pages = len(re.findall(rb"/Type\s*/Page\b", out.read_bytes()))
    assert 5 <= pages <= 30


def test_ten_thousand_records_make_a_page_below_ten_megabytes():
    """Its time is measured by the same command on a quiet machine, and judged by nobody here."""
    script = Path(__file__).parents[2] / "scripts" / "report_budget.py"
    done = subprocess.run(
        [sys.executable, str(script), "--json"], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [run["records"] for run in found] == [10_000, 10_000]
    assert all(run["bytes"] < 10_000_000 for run in found), found
