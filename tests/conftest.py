"""What all tests share: programs that may be missing, and the run in which nothing may be skipped.

A test that needs a program asks for its fixture (`chromium`, `redis_server`) or carries the marker ``redis``;
where the program is missing the test is skipped, and the end of the run says what brings it. With
``SCALELAB_REQUIRE_ALL=1`` (CI) a skip is a failure, except for tests marked ``gpu`` and for those of another
system, whose reason begins with "only on".
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

PROGRAMS = {
    "redis-server": ("redis-server", "valkey-server"),
    "chromium": ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    "g++": ("g++", "clang++", "c++"),
    "prometheus": ("prometheus",),
    "promtool": ("promtool",),
    "docker-compose": ("docker-compose",),
}
BRINGS_IT = "make system-packages"


def pytest_configure() -> None:
    """A run in the background has Ctrl-C ignored, and what tests start would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium that can run headless."""
    return _program("chromium")


@pytest.fixture(scope="session")
def redis_server() -> str:
    """Path of a Redis (or Valkey) server."""
    return _program("redis-server")


@pytest.fixture(scope="session")
def cxx_compiler() -> str:
    """Path of a C++ compiler, which torch.compile calls."""
    return _program("g++")


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Give the path of one of `PROGRAMS`."""
    return _program


def _program(name: str) -> str:
    found = next((path for path in map(shutil.which, PROGRAMS[name]) if path), None)
    return found or pytest.skip(f"{name} is not installed: {BRINGS_IT}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("redis"):
        _program("redis-server")
    if item.get_closest_marker("gpu"):
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device here")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    report = yield
    if not item.get_closest_marker("gpu"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Iterator[Any]:
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: Any) -> None:
    """Turn a skip into a failure where none is allowed (an expected failure is no skip)."""
    if os.environ.get("SCALELAB_REQUIRE_ALL") != "1" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = _reason(report)
    if not reason.startswith("only on"):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped ({reason}), and SCALELAB_REQUIRE_ALL=1 allows no skip"


def _reason(report: Any) -> str:
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return said.removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say, after the list of skipped tests, how to run them too."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if BRINGS_IT in _reason(report)]
    if skipped:
        programs = sorted({_reason(report).split(" is not")[0] for report in skipped})
        terminalreporter.write_line(
            f"{len(skipped)} tests want {' and '.join(programs)}; to run them too: {BRINGS_IT} && make test"
        )
