"""Targets: what is refused before any process is started."""

import shutil
import subprocess
import sys

import pytest

from scalelab.core.errors import ConfigError, MissingDependency, RunFailed
from scalelab.core.machine import free_port
from scalelab.loadtest import Target, run_burst, run_closed, run_open

NOBODY = Target("http://127.0.0.1:9")


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "ftp://host",
        "http://",
        "http://host/path",
        "http://host?x=1",
        "http://h:99999",
        "http://[::1",
    ],
)
def test_what_is_no_address_is_named(url):
    with pytest.raises(ConfigError, match="is no address of a service"):
        Target(url)


@pytest.mark.parametrize("path", ["v1/pins", "", "/a b", "//host/path", "/ä"])
def test_what_is_no_path_is_named(path):
    with pytest.raises(ConfigError, match="is no path"):
        Target("http://127.0.0.1:8000", path)


def test_a_body_that_is_text_is_refused():
    with pytest.raises(ConfigError, match="body 1 is of type str"):
        Target("http://127.0.0.1:8000", "/", (b"x", "y"))


@pytest.mark.parametrize("headers", [{"X Y": "1"}, {"X": "a\r\nY: b"}, {"X": "ü"}], ids=str)
def test_a_header_that_cannot_be_sent_is_refused(headers):
    with pytest.raises(ConfigError, match="is no header"):
        Target("http://h", "/", (), headers)


def test_a_method_that_is_none_is_named():
    with pytest.raises(ConfigError, match="'P ST' is no HTTP method"):
        Target("http://h", method="p st")


def test_bodies_decide_the_method():
    assert Target("http://h").method == "GET"
    assert Target("http://h", "/", (b"x",)).method == "POST"


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: run_closed(NOBODY, 0, 1), "closed loop of 0 users"),
        (lambda: run_closed(NOBODY, 2.5, 1), "closed loop of 2.5 users"),
        (lambda: run_closed(NOBODY, 1, 0), "duration of 0"),
        (lambda: run_open(NOBODY, 0, 1), "rate of 0"),
        (lambda: run_open(NOBODY, -5, 1), "rate of -5"),
        (lambda: run_open(NOBODY, 5, 0), "duration of 0"),
        (lambda: run_open(NOBODY, 5, 1, -1), "warm-up of -1"),
        (lambda: run_open(NOBODY, 5, 1, timeout_s=0), "timeout of 0"),
        (lambda: run_open(NOBODY, 5, 1, connections=0), "0 connections"),
        (lambda: run_burst(NOBODY, 0, 1), "rate of 0"),
        (lambda: run_burst(NOBODY, 5, 1, during=(3, print)), "3 s is not within"),
    ],
)
def test_a_value_that_cannot_be_run_is_named(call, named):
    with pytest.raises(ConfigError, match=named):
        call()


def test_a_service_that_is_not_there_is_said_before_any_run():
    with pytest.raises(RunFailed, match="nothing answers at"):
        run_open(Target(f"http://127.0.0.1:{free_port()}"), 10, 1)


def test_a_missing_locust_is_said_with_the_command(monkeypatch):
    monkeypatch.setattr("scalelab.core.lazy.is_installed", lambda module: False)
    with pytest.raises(MissingDependency, match="'locust' is not installed"):
        run_open(NOBODY, 10, 1)


@pytest.mark.slow
def test_the_package_never_imports_locust_into_our_process():
    code = (
        "import sys; from scalelab.loadtest import *; import scalelab.cli.load; "
        "sys.exit(any(m in sys.modules for m in ('locust', 'gevent')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "said"),
    [("/to/there", "answers 307: go to /there"), ("/status/404", "answers 404"), ("/drop", "got no answer")],
)
def test_an_answer_that_is_none_is_said(url, path, said):
    with pytest.raises(RunFailed, match=said):
        Target(url, path).check_answer(5.0)


@pytest.mark.slow
def test_a_busy_service_is_up(url):
    Target(url, "/status/503").check_answer(5.0, allow_busy=True)
    Target(url, "/status/202").check_answer(5.0, also=(202,))
    with pytest.raises(RunFailed, match="answers 503"):
        Target(url, "/status/503").check_answer(5.0)


@pytest.mark.slow
def test_https_to_a_plain_server_is_said(url):
    with pytest.raises(RunFailed, match=r"got no answer: .*handshake") as caught:
        Target(url.replace("http:", "https:"), "/ok").check_answer(0.5)  # it waits for more of the "request"
    assert "really https" in caught.value.hint


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    openssl = shutil.which("openssl") or pytest.skip("openssl is not installed: make system-packages")
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=IP:127.0.0.1"]  # fmt: skip
    subprocess.run(
        [openssl, *words, "-keyout", file.with_suffix(".key"), "-out", file], check=True, capture_output=True
    )
    file.write_bytes(file.read_bytes() + file.with_suffix(".key").read_bytes())
    return file


@pytest.mark.slow
def test_a_certificate_of_ones_own_is_refused_unless_told_otherwise(serve, certificate, monkeypatch):
    with serve("--tls", str(certificate)) as address:
        url = address.replace("http:", "https:")
        with pytest.raises(RunFailed, match=r"certificate of .* is not trusted") as caught:
            Target(url, "/ok").check_answer(5.0)
        assert "--insecure" in caught.value.hint
        trusting = Target(url, "/ok", verify_tls=False)
        trusting.check_answer(5.0)
        found = run_open(trusting, 50, 0.5, 0.0, arrivals="constant")
        assert (found.sent, found.ok) == (25, 25)
        refused = run_open(Target(url, "/ok"), 50, 0.5, 0.0, arrivals="constant")
        assert (refused.ok, sum(refused.errors.values())) == (0, 25)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        Target(url, "/ok").check_answer(5.0)
