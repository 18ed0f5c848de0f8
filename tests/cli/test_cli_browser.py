"""`--open`: the page is shown, or it is said where it lies."""

from pathlib import Path

import click
import pytest

from scalelab.cli.browser import show_page

PAGE = Path("runs/report.html")


@pytest.fixture
def launched(monkeypatch):
    found = []
    monkeypatch.setattr(click, "launch", lambda url: found.append(url) or (1 if "broken" in url else 0))
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    return found


def test_a_page_is_opened_where_there_is_a_display(launched, monkeypatch, capsys):
    monkeypatch.setenv("DISPLAY", ":0")
    show_page(PAGE)
    assert launched == [PAGE.resolve().as_uri()]
    assert capsys.readouterr().err == ""


def test_without_a_display_no_program_is_started_in_vain(launched, capsys):
    show_page(PAGE)
    assert launched == []
    assert f"open {PAGE.resolve()} in one" in capsys.readouterr().err


def test_a_browser_that_does_not_start_is_said(launched, monkeypatch, capsys):
    monkeypatch.setenv("BROWSER", "none")
    show_page(Path("broken.html"))
    assert "no browser can be opened" in capsys.readouterr().err
