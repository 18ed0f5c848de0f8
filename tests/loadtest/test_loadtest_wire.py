"""HTTP as the generator speaks it, against a peer that is scripted byte by byte."""

import socket
import threading

import pytest

from scalelab.loadtest import wire as wires
from scalelab.loadtest.wire import Connection, ConnectionClosed, Wire, describe

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Peer(threading.Thread):
    """Accepts connections, one script each: what it answers to each request in turn; None hangs up."""

    def __init__(self, *scripts):
        super().__init__(daemon=True)
        self.scripts, self.heard = scripts, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.start()

    def run(self):
        for script in self.scripts:
            link, _ = self.listener.accept()
            with link:
                for answer in script:
                    if answer is None:
                        break
                    self.heard.append(link.recv(65536))
                    link.sendall(answer)
        self.listener.close()


def exchange(peer, *, times=1, method="GET", left_s=5.0):
    wire = Wire(peer.url, {})
    connection = Connection(wire)
    try:
        for _ in range(times):
            answer = connection.exchange(wire.request(method, "/x"), method, left_s)
    finally:
        connection.close()
        peer.join(5)
    return answer


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (OK, 200, b"hi"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"hi"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, b"hi"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 429 Busy\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n", 429, b""),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
    ],
    ids=["length", "continue", "chunks", "no body", "busy", "until close"],
)
def test_an_answer_of_any_form_is_read_whole(answer, status, body):
    found = exchange(Peer([answer]))
    assert (found.get_code(), found.body) == (status, body)


def test_a_connection_is_kept_and_used_again():
    peer = Peer([OK, OK, OK])
    exchange(peer, times=3)
    assert len(peer.heard) == 3


def test_a_connection_that_the_server_closed_while_it_lay_idle_is_opened_anew(monkeypatch):
    monkeypatch.setattr(wires, "IDLE_S", -1.0)
    peer = Peer([OK, None], [OK])
    wire = Wire(peer.url, {})
    connection = Connection(wire)
    connection.exchange(wire.request("GET", "/"), "GET", 5.0)
    connection.socket.settimeout(5.0)
    assert connection.socket.recv(1, socket.MSG_PEEK) == b""  # the peer's end has arrived
    assert connection.exchange(wire.request("GET", "/"), "GET", 5.0).get_code() == 200
    connection.close()
    peer.join(5)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"])
def test_a_connection_that_the_server_gives_up_is_given_up(answer):
    peer = Peer([answer], [OK])
    assert exchange(peer, times=2).get_code() == 200


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ([b""], "connection closed"),
        ([OK[:-1]], "connection closed"),
        ([b"SSH-2.0-OpenSSH\r\n\r\n"], "malformed answer"),
    ],
    ids=["nothing", "half", "another protocol"],
)
def test_each_way_to_break_has_its_name(script, kind):
    with pytest.raises(Exception) as caught:  # noqa: PT011  # the kinds differ; their names are the contract
        exchange(Peer(script))
    assert describe(caught.value) == kind


def test_an_answer_that_trickles_does_not_outlive_the_limit():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire = Wire(f"http://127.0.0.1:{listener.getsockname()[1]}", {})
        connection = Connection(wire)
        with pytest.raises(TimeoutError):
            connection.exchange(wire.request("GET", "/"), "GET", 0.05)
    assert connection.socket is None


def test_no_time_left_sends_nothing():
    connection = Connection(Wire("http://127.0.0.1:1", {}))
    with pytest.raises(TimeoutError):
        connection.exchange(b"", "GET", 0.0)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), "timeout"),
        (ConnectionClosed(), "connection closed"),
        (ConnectionResetError(), "connection closed"),
        (ConnectionRefusedError(), "connection refused"),
        (OSError(113, "No route to host"), "connection failed (No route to host)"),
        (KeyError("x"), "client error (KeyError)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_failure_is_counted_by_its_kind(error, kind):
    assert describe(error) == kind


def test_a_request_is_its_bytes():
    wire = Wire("http://host:8000", {"X-Key": "k"})
    head, _, body = wire.request("POST", "/a?b=1", b"abc").partition(b"\r\n\r\n")
    assert body == b"abc"
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /a?b=1 HTTP/1.1"
    assert {"Host: host:8000", "X-Key: k", "Content-Length: 3"} <= set(lines[1:])


def test_a_host_that_is_given_replaces_ours():
    request = Wire("http://127.0.0.1:80", {"host": "shop.example"}).request("GET", "/")
    assert request.lower().count(b"\r\nhost:") == 1
    assert b"host: shop.example" in request
    assert b"Content-Length" not in request
