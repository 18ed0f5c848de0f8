"""Servers that misbehave on demand, started once for all load tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from scalelab.core.processes import start, stop_tree


@contextmanager
def _serve(*options: str) -> Iterator[str]:
    script = Path(__file__).with_name("loadtest_server.py")
    child = start([sys.executable, "-u", str(script), *options], output=subprocess.PIPE)
    try:
        assert child.stdout is not None
        yield f"http://127.0.0.1:{int(child.stdout.readline())}"
    finally:
        stop_tree(child.pid, grace_s=0)
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


@pytest.fixture(scope="session")
def serve() -> Callable[..., AbstractContextManager[str]]:
    """Start a server with options; yields its address."""
    return _serve


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """Address of a server that answers at once, or as its path says."""
    with _serve() as address:
        yield address
