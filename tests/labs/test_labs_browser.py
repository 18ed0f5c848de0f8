"""A student's first minutes with a lab, in a real browser: JupyterLab, Chromium, the keyboard and a slider.

``SCALELAB_SCREENSHOTS=folder`` keeps the pictures for people to look at.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scalelab.core import processes

pytest.importorskip("playwright")
pytest.importorskip("jupyterlab")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SLUG = "01_prototype"
RIGHT = """import hashlib
import json


def run_settings(changes):
    if set(changes) - set(DEFAULTS):
        raise ValueError(f"unknown: {set(changes) - set(DEFAULTS)}")
    return {**DEFAULTS, **changes}


def run_id(settings):
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
"""
CELL_LIMIT_MS = 90_000
TITLE = f"{SLUG}.ipynb"
SETTINGS = {
    # no question about news, no cells taken out of the page while they are out of sight
    "apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "notebook-extension/tracker": {"windowingMode": "none"},
}
CONTRAST = """
element => {
  const parse = text => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const over = (top, below) => {
    const share = top.length > 3 ? top[3] : 1;
    return [0, 1, 2].map(i => top[i] * share + below[i] * (1 - share));
  };
  const light = rgb => {
    const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb.map(v => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    layers.unshift(parse(getComputedStyle(at).backgroundColor));
  }
  const back = layers.reduce((below, top) => over(top, below), [255, 255, 255]);
  const ink = over(parse(getComputedStyle(element).color), back);
  const [a, b] = [light(ink), light(back)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}
"""


@dataclass
class Classroom:
    """A student's folder with their copy of the lab, and the JupyterLab that shows it."""

    folder: Path
    url: str
    settings: Path

    def set_theme(self, name: str) -> None:
        """Choose JupyterLab's theme for the next page."""
        write_setting(self.settings, "apputils-extension/themes", {"theme": name})


def write_setting(folder: Path, plugin: str, values: dict[str, Any]) -> None:
    path = folder / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.fixture(scope="module")
def classroom(tmp_path_factory):
    root = tmp_path_factory.mktemp("classroom")
    env = {
        "SCALELAB_HOME": str(root / "home"),
        "SCALELAB_STRICT": "",
        "JUPYTERLAB_SETTINGS_DIR": str(root / "settings"),
        "JUPYTER_CONFIG_DIR": str(root / "config"),
        "JUPYTER_RUNTIME_DIR": str(root / "runtime"),
        "IPYTHONDIR": str(root / "ipython"),
    }
    started = processes.run(
        [sys.executable, "-m", "scalelab", "lab", "start", "01", "--no-open"], timeout_s=60, env=env, cwd=root
    )
    assert started.returncode == 0, started.output
    assert (root / SLUG / TITLE).is_file(), started.output
    for plugin, values in SETTINGS.items():
        write_setting(root / "settings", plugin, values)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [
        "--no-browser", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--IdentityProvider.token=",
        "--ServerApp.allow_root=True", "--LabApp.news_url=", f"--ServerApp.root_dir={root / SLUG}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    log = (root / "jupyter.log").open("wb")
    server = processes.start([sys.executable, "-m", "jupyterlab", *options], env=env, cwd=root, output=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, server, root / "jupyter.log")
        yield Classroom(root / SLUG, url, root / "settings")
    finally:
        processes.stop_tree(server.pid)
        server.wait()
        log.close()


def wait_for(url: str, server: Any, log: Path, limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text(errors="replace")
        try:
            with urllib.request.urlopen(f"{url}/api/status", timeout=5):
                return
        except OSError:  # it is still starting
            continue
    raise AssertionError(log.read_text(errors="replace"))


@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


class Notebook:
    """The open notebook, as a student handles it."""

    def __init__(self, page: Any):
        from playwright.sync_api import TimeoutError as TimedOut

        self.page, self.errors = page, TimedOut

    def cell(self, text: str) -> Any:
        """Return the first code cell whose source has a text."""
        with_text = self.page.locator(".jp-InputArea-editor", has_text=text)
        found = self.page.locator(".jp-Notebook .jp-CodeCell").filter(has=with_text).first
        found.scroll_into_view_if_needed()
        return found

    def run(self, cell: Any) -> Any:
        """Run a cell with Shift+Enter and wait until its prompt has a new number."""
        prompt = cell.locator(".jp-InputArea-prompt").first
        changed = "([prompt, before]) => prompt.innerText !== before && /^\\[.+\\]:/.test(prompt.innerText)"
        done = "([prompt, before]) => prompt.innerText !== before && /^\\[\\d+\\]:/.test(prompt.innerText)"
        told = [prompt.element_handle(), prompt.inner_text()]
        for press in range(3):  # a kernel that has just connected may miss the first one
            cell.locator(".cm-content").click()
            self.page.keyboard.press("Shift+Enter")
            try:
                self.page.wait_for_function(changed, arg=told, timeout=10_000)
                break
            except self.errors:
                assert press < 2, f"{told[1]} never ran: {cell.inner_text()}"
        self.page.wait_for_function(done, arg=told, timeout=CELL_LIMIT_MS)
        return cell

    def write(self, cell: Any, text: str) -> None:
        """Put a text in the place of a cell's source."""
        cell.locator(".cm-content").click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(text)

    def shot(self, name: str) -> None:
        folder = os.environ.get("SCALELAB_SCREENSHOTS", "")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{name}.png")


def open_notebook(browser: Any, classroom: Classroom, width: int = 1280, height: int = 900) -> Notebook:
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(f"{classroom.url}/lab/tree/{TITLE}?reset", wait_until="domcontentloaded")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=CELL_LIMIT_MS)
    page.locator("#jp-main-statusbar", has_text="Idle").wait_for(timeout=CELL_LIMIT_MS)
    idle = page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    idle.wait_for(state="attached", timeout=CELL_LIMIT_MS)  # a narrow toolbar hides it in a menu
    return Notebook(page)


@pytest.fixture(scope="module")
def first_minutes(classroom, browser):
    """A notebook that was run from its top to the first check, the slider moved, the first task solved."""
    notebook = open_notebook(browser, classroom)
    seen: dict[str, Any] = {}
    for text in ("lab = Lab(", "def belt_photos", "contact_sheet", "def cut_digits", "PROTOTYPE = {"):
        notebook.run(notebook.cell(text))
    asks = notebook.run(notebook.cell("lab.predict("))
    slider = asks.locator(".jupyter-widgets .noUi-handle, .jupyter-widgets [role=slider]").first
    slider.wait_for(timeout=CELL_LIMIT_MS)
    slider.focus()
    readout = asks.locator(".widget-readout").first
    seen["before"] = readout.inner_text()
    for _ in range(5):
        notebook.page.keyboard.press("ArrowRight")
    seen["after"] = readout.inner_text()
    notebook.shot("light-slider")
    asks.get_by_role("button", name="Commit").click()
    asks.locator(".jupyter-widgets", has_text="kept").first.wait_for(timeout=CELL_LIMIT_MS)
    notebook.shot("light-committed")
    seen["predicted"] = notebook.run(asks).locator("[role=group]").first.inner_text()
    check = notebook.run(notebook.cell('lab.check("settings")'))
    seen["untouched"] = check.locator("[role=group]").inner_text()
    notebook.shot("light-untouched")
    task = notebook.cell("def run_settings")
    notebook.write(task, RIGHT.replace("{**DEFAULTS, **changes}", "dict(changes)"))
    notebook.run(task)
    seen["wrong"] = notebook.run(check).locator("[role=group]").inner_text()
    seen["overflow"] = overflow(check)
    notebook.shot("light-wrong")
    notebook.write(task, RIGHT)
    notebook.run(task)
    seen["right"] = notebook.run(check).locator("[role=group]").inner_text()
    notebook.shot("light-right")
    notebook.page.keyboard.press("ControlOrMeta+s")
    notebook.page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')", timeout=CELL_LIMIT_MS)
    yield notebook, seen
    notebook.page.close()


def overflow(cell: Any) -> float:
    """Return by how many pixels a cell's output is wider than its place."""
    area = cell.locator(".jp-OutputArea-output").last
    return area.evaluate("element => element.scrollWidth - element.clientWidth")


def test_the_slider_moves_and_the_prediction_is_kept(first_minutes, classroom):
    _, seen = first_minutes
    assert seen["before"] != seen["after"]
    assert seen["after"] in seen["predicted"]
    ledger = "".join(path.read_text() for path in (classroom.folder.parent / "home").glob("*.jsonl"))
    assert '"friday"' in ledger


def test_an_untouched_task_is_not_attempted(first_minutes):
    assert "not attempted" in first_minutes[1]["untouched"]


def test_a_wrong_answer_names_what_it_looks_like_and_hints(first_minutes):
    told = first_minutes[1]["wrong"]
    assert "failed" in told
    assert "Hint" in told
    assert first_minutes[1]["overflow"] <= 0


def test_a_right_answer_passes_within_the_notebook(first_minutes):
    assert "passed" in first_minutes[1]["right"]
    assert "4/4" in first_minutes[1]["right"]


@pytest.mark.parametrize(
    ("name", "theme", "width"),
    [
        ("light", "JupyterLab Light", 1280),
        ("dark", "JupyterLab Dark", 1280),
        ("narrow", "JupyterLab Light", 480),
    ],
    ids=["light", "dark", "narrow"],
)
def test_cards_are_legible_and_fit(first_minutes, classroom, browser, name, theme, width):
    """After it was saved and opened again: the cards are in the file, in any theme, at any width."""
    classroom.set_theme(theme)
    notebook = open_notebook(browser, classroom, width=width)
    try:
        if width < 600:
            notebook.page.keyboard.press("ControlOrMeta+b")  # the file browser would take half of it
        cards = notebook.page.locator(".jp-RenderedHTMLCommon [role=group]")
        cards.first.wait_for(timeout=CELL_LIMIT_MS)
        assert cards.count() >= 2
        for card in cards.all():
            card.scroll_into_view_if_needed()
            for part in [card, *card.locator("span, div").all()]:
                assert part.evaluate(CONTRAST) >= 4.5, part.inner_text()
            box, place = (
                card.bounding_box(),
                card.locator("xpath=ancestor::*[contains(@class,'jp-OutputArea-output')]"),
            )
            assert box["x"] + box["width"] <= place.bounding_box()["x"] + place.bounding_box()["width"] + 1
        notebook.shot(f"{name}-cards")
    finally:
        notebook.page.close()
