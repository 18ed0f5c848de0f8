"""`load run --web`: locust's own page over our schedule answers, runs it, and stops."""

import json
import socket
import urllib.parse
import urllib.request

import pytest

from scalelab.core.errors import ConfigError, ResourceError
from scalelab.loadtest import Target, parse_profile
from scalelab.loadtest.page import serve_page

pytestmark = pytest.mark.slow


def ask(address, path, form=None):
    body = None if form is None else urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(address + path, body, timeout=10) as response:
        return response.read()


def is_open(address):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0


def test_the_page_answers_runs_the_schedule_and_stops(url):
    pages, states = [], []

    def ready(address):
        pages.append(address)
        assert b"Locust" in ask(address, "/")
        started = json.loads(ask(address, "/swarm", {"user_count": 7, "spawn_rate": 7}))
        assert started["success"]

    def wait():
        stats = json.loads(ask(pages[0], "/stats/requests"))
        states.append(stats["state"])
        rows = {(row["method"], row["name"]): row["num_requests"] for row in stats["stats"]}
        if stats["state"] == "stopped" and rows.get(("open", "/ok")):
            assert rows["open", "/ok"] >= 50
            raise KeyboardInterrupt

    profile = parse_profile("step:20..30/2x1s/even")
    found = serve_page(Target(url, "/ok"), profile, 0.2, port=0, on_ready=ready, wait=wait)
    assert found is not None
    assert (found.sent, found.ok) == (50, 50)
    assert [part.sent for part in found.parts] == [20, 30]
    assert not is_open(pages[0])


def test_a_page_that_never_ran_has_no_result(url):
    def wait():
        raise KeyboardInterrupt

    assert serve_page(Target(url, "/ok"), parse_profile("poisson:5/1s"), port=0, wait=wait) is None


def test_a_port_that_is_taken_or_is_none_is_said(url):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ResourceError, match="cannot be used"):
            serve_page(Target(url, "/ok"), parse_profile("poisson:5/1s"), port=other.getsockname()[1])
    with pytest.raises(ConfigError, match="no port 99999"):
        serve_page(Target(url, "/ok"), parse_profile("poisson:5/1s"), port=99999)
