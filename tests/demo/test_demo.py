"""The whole road at its smallest size, as a user runs it; and its page in a real browser."""

import json
import subprocess
import sys

import pytest

from scalelab.bench.road import read_claims
from scalelab.core.records import RecordStore

pytestmark = pytest.mark.slow
RUNGS = ["prototype", "accumulation", "ddp", "onnx", "int8", "naive", "decoupled", "ladder"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder with the results of `scalelab demo --tier ci`."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "scalelab", "demo", "--tier", "ci", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "terminal.txt").write_text(done.stdout, encoding="utf-8")
    return folder


@pytest.mark.timeout(570)
def test_every_rung_leaves_a_record(results):
    records = RecordStore(results / "records.jsonl").read()
    assert [record.subject for record in records] == [f"road/{name}" for name in RUNGS]
    assert {record.status for record in records} == {"done"}


def test_what_is_counted_holds_at_any_size(results):
    """Claims about speed belong to the laptop tier; these are counts and bytes, which hold everywhere."""
    claims = {claim["claim"]: claim for claim in read_claims(RecordStore(results / "records.jsonl").read())}
    words = ("gradient", "same parameters", "ONNX graph", "times smaller", "accepted")
    counted = [name for name in claims if any(word in name for word in words)]
    assert len(counted) == 7
    assert {name: claims[name]["verdict"] for name in counted} == dict.fromkeys(counted, "PASS"), claims


def test_the_terminal_shows_the_road_and_where_to_look(results):
    text = (results / "terminal.txt").read_text(encoding="utf-8")
    assert "7 decoupled service" in text
    assert "10 prune, distil, int8" in text
    assert "report.html" in text


def test_a_second_run_keeps_what_is_done(results):
    command = [sys.executable, "-m", "scalelab", "demo", "--tier", "ci", "--out", str(results)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("kept from an earlier run") == len(RUNGS)


def test_executed_notebooks_keep_their_outputs(results):
    for name in RUNGS:
        notebook = json.loads((results / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
        assert any(cell.get("outputs") for cell in notebook["cells"]), name


def test_the_page_draws_every_plot_offline_and_fits_a_phone(results, chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 400, "height": 800})
        problems, requests = [], []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: requests.append(request.url))
        page.goto((results / "report.html").as_uri())
        page.wait_for_function("document.querySelectorAll('.plot .main-svg').length > 0")
        plots = page.locator(".plot").count()
        drawn = page.locator(".plot .js-plotly-plot").count()
        width = page.evaluate("document.documentElement.scrollWidth")
        page.screenshot(path=str(results / "report.png"), full_page=True)
        browser.close()
    assert plots == drawn >= 12  # the road's own, and those of what else its steps measured
    assert not problems
    assert all(url.startswith(("file:", "data:", "blob:")) for url in requests), requests
    assert width <= 400
