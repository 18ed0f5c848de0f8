"""Addresses at which no Dask cluster answers; one that does: tests/bench and tests/grader, by processes."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from scalelab.core.cluster import connect
from scalelab.core.errors import ConfigError

pytest.importorskip("distributed")


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where somebody listens and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.mark.slow
def test_an_address_where_no_scheduler_answers_is_an_error_soon(silent_port, monkeypatch):
    monkeypatch.setattr("scalelab.core.cluster._ANSWER_S", 0.5)
    for address in (f"dask://127.0.0.1:{silent_port}", "dask://127.0.0.1:9"):
        with (
            pytest.raises(ConfigError, match=f"no Dask scheduler answers at {address}"),
            connect(address),
        ):
            pass


@pytest.mark.parametrize(
    "address",
    [
        *("", "tcp://127.0.0.1:8786", "127.0.0.1:8786", "dask://", "dask://host", "dask://:8786"),
        *("dask://host:x", "dask://host:0", "dask://host:99999", "dask://me:secret@host:8786"),
        *("dask://tcp://host:8786", "dask://host:8786/status"),
    ],
)
def test_what_is_no_address_of_a_scheduler_is_refused(address):
    with pytest.raises(ConfigError, match=r"is no address|is not known") as refused, connect(address):
        pass
    assert "dask://HOST:PORT" in refused.value.hint
