"""The explorer: what it offers, what it shows, and that it does so in a real JupyterLab."""

import json
import socket
import sys

import pytest

from scalelab.bench.explorer import PlainTables, explore, explorer_box, write_notebook
from scalelab.bench.measured import read_suites
from scalelab.bench.results import read_results
from scalelab.bench.views import draw, varied_parameters
from scalelab.core import processes
from scalelab.core.errors import DataError
from scalelab.core.records import RecordStore, RunRecord, metric

MACHINE = {"cpu": "one", "cores": 2}


def levers():
    """Workers 1, 2, 4 with two brokers each: the rate goes with the workers, Valkey has two thirds of it."""
    for workers in (4, 1, 2):
        for broker, share in (("local", 1.0), ("valkey", 2 / 3)):
            yield RunRecord(
                f"levers/p[workers={workers},broker={broker}]",
                {"workers": workers, "broker": broker, "slo_p95_s": 0.2},
                (metric("start", "s", 0.5), metric("throughput", "1/s", 90 * workers * share)),
                machine=MACHINE, git="",
            )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    store = RecordStore(tmp_path / "records.jsonl")
    for record in levers():
        store.append(record)
    store.append(RunRecord("other/x", {}, (metric("closed", "1/s", 7),), machine=MACHINE, git=""))
    return tmp_path


def points():
    return read_suites(list(levers()))["levers"]


def test_only_what_differs_between_points_is_offered():
    assert varied_parameters(points()) == ["workers", "broker"]


def test_over_a_number_the_dots_are_joined_in_its_order_and_coloured():
    figure = draw(points(), "throughput", over="workers", colour="broker")
    lines = {trace.name: (trace.mode, list(trace.x), list(trace.y)) for trace in figure.plot.data}
    assert lines == {
        "broker = local": ("lines+markers", [1, 2, 4], [90, 180, 360]),
        "broker = valkey": ("lines+markers", [1, 2, 4], [60, 120, 240]),
    }


def test_over_words_nothing_is_joined():
    figure = draw(points(), "throughput", over="broker", colour="workers")
    assert {trace.mode for trace in figure.plot.data} == {"markers"}
    assert figure.plot.layout.xaxis.type == "category"


@pytest.mark.parametrize("over", ["point", "workers"])
def test_the_scale_is_the_one_that_was_asked_for(over):
    axis = "xaxis" if over == "point" else "yaxis"
    for is_log in (True, False):
        figure = draw(points(), "throughput", over=over, is_log=is_log)
        assert (figure.plot.layout[axis].type == "log") == is_log


def test_a_metric_that_nobody_has_is_named_with_a_hint():
    with pytest.raises(DataError, match="has a metric 'thruput'") as caught:
        draw(points(), "thruput")
    assert "throughput" in caught.value.hint


def test_without_a_kernel_there_are_the_reports_tables(folder):
    shown = explore(folder)
    assert isinstance(shown, PlainTables)
    assert "360/s" in repr(shown)
    assert "<table" in shown._repr_html_()


def test_a_notebook_that_is_there_is_left_as_it_is(folder):
    path = write_notebook(folder)
    (_, cell) = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert "explore(" in "".join(cell["source"])
    path.write_text("mine", encoding="utf-8")
    assert write_notebook(folder).read_text(encoding="utf-8") == "mine"


def test_a_folder_without_records_gets_no_notebook(tmp_path):
    with pytest.raises(DataError):
        write_notebook(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def box(folder):
    pytest.importorskip("ipywidgets")
    with (folder / "records.jsonl").open("a", encoding="utf-8") as store:
        store.write("no record\n")
    whole = explorer_box(read_results(folder))
    controls, _, plot, numbers, damage = whole.children
    return controls.children, plot, numbers, damage


@pytest.mark.slow
def test_another_suite_brings_its_own_metrics_and_plot(box):
    (suite, metric, *_), plot, _, _ = box
    assert (suite.value, metric.value) == ("levers", "throughput")
    suite.value = "other"
    assert [name for _, name in metric.options] == ["closed"]
    (shown,) = plot.outputs
    (trace,) = shown["data"]["application/vnd.plotly.v1+json"]["data"]
    assert trace["y"] == ["x"]


@pytest.mark.slow
def test_numbers_stand_in_place_of_the_plot(box):
    (_, metric, over, colour, _, view), plot, numbers, damage = box
    metric.value, over.value, colour.value, view.value = "throughput", "workers", "broker", "numbers"
    assert plot.outputs == ()
    assert numbers.value.count("<tr>") == 7
    assert "line 8" in damage.value


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_works_in_jupyterlab(folder, chromium, tmp_path):
    pytest.importorskip("jupyterlab")
    from playwright.sync_api import Error, sync_playwright

    write_notebook(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}", "--IdentityProvider.token=here", f"--ServerApp.root_dir={folder}",
        "--ServerApp.allow_root=True", "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    settings = ("JUPYTERLAB_SETTINGS_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    env = {name: str(tmp_path / name.lower()) for name in settings}
    log = (tmp_path / "jupyter.log").open("wb")
    server = processes.start(command, env=env, cwd=folder, output=log)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            wait_until_it_answers(page, f"http://127.0.0.1:{port}/lab/tree/explore.ipynb?token=here", server)
            page.wait_for_selector("[data-status=idle]", timeout=120_000)  # the kernel is ready
            page.locator(".jp-CodeCell .cm-content").first.click(timeout=120_000)
            for _ in range(10):  # a kernel that has just connected may miss the first one
                page.keyboard.press("Control+Enter")
                try:
                    page.wait_for_selector(".js-plotly-plot .main-svg", timeout=12_000)
                    break
                except Error:
                    page.keyboard.press("Escape")  # a question of JupyterLab's
                    page.locator(".jp-CodeCell .cm-content").first.click()
            page.locator(".widget-dropdown select").nth(2).select_option(label="workers")
            page.locator(".widget-dropdown select").nth(3).select_option(label="broker")
            page.wait_for_selector("text=broker = valkey", timeout=60_000)
            page.get_by_role("button", name="numbers").click()
            page.wait_for_selector(".widget-html td:has-text('360/s')", timeout=60_000)
            browser.close()
    finally:
        processes.stop_tree(server.pid)
        server.wait()
        log.close()


def wait_until_it_answers(page, address, server):
    from playwright.sync_api import Error

    for _ in range(240):
        assert server.poll() is None, "JupyterLab ended"
        try:
            page.goto(address)
            return
        except Error:
            page.wait_for_timeout(500)
    raise AssertionError("JupyterLab did not answer in two minutes")
