import pytest

from scalelab.core.errors import ConfigError
from scalelab.serve.guard import Guard, RateLimit, read_keys
from scalelab.serve.protocol import Problem
from scalelab.serve.settings import StackSettings

KEY = "correct-horse-battery"


def head(**fields):
    return {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}


@pytest.mark.parametrize(
    "sent",
    [
        head(x_api_key=KEY),
        head(authorization=f"Bearer {KEY}"),
        head(authorization=f"bearer  {KEY} "),
        head(x_api_key=KEY, authorization="Basic eDp5"),
    ],
)
def test_a_known_key_passes(sent):
    Guard([KEY, "another-key-of-20-chars"]).check(sent, "1.2.3.4")


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({}, "wants an API key"),
        (head(x_api_key=""), "wants an API key"),
        (head(x_api_key=KEY[:-1]), "not known"),
        (head(authorization=f"Basic {KEY}"), "wants an API key"),
        ({b"x-api-key": b"\xff\x00"}, "not known"),
        (head(x_api_key=KEY, authorization="Bearer something-else-here"), "not known"),
        (head(x_api_key=KEY[1:], authorization=f"Bearer {KEY}"), "not known"),
    ],
)
def test_anything_else_is_401_and_never_repeats_what_was_sent(sent, said):
    with pytest.raises(Problem, match=said) as caught:
        Guard([KEY]).check(sent, "1.2.3.4")
    assert caught.value.status == 401
    assert caught.value.headers["www-authenticate"].startswith("Bearer")
    assert KEY[:-1] not in caught.value.body().decode()


def test_a_bucket_gives_its_rate_and_a_burst_of_one_second():
    now_s = [0.0]
    rate = RateLimit(4, clock=lambda: now_s[0])
    assert [rate.take("a") for _ in range(4)] == [0, 0, 0, 0]
    assert rate.take("a") == pytest.approx(0.25)
    assert rate.take("b") == 0
    now_s[0] = 0.25
    assert rate.take("a") == 0
    assert rate.take("a") == pytest.approx(0.25)
    now_s[0] = 100
    assert [rate.take("a") > 0 for _ in range(5)] == [False] * 4 + [True]


def test_less_than_one_request_a_second_is_a_rate_too():
    now_s = [0.0]
    rate = RateLimit(0.1, clock=lambda: now_s[0])
    assert rate.take("a") == 0
    assert rate.take("a") == pytest.approx(10)
    now_s[0] = 10
    assert rate.take("a") == 0


def test_the_rate_of_a_hundred_thousand_clients_needs_no_more_memory_than_of_ten_thousand():
    rate = RateLimit(1, clock=lambda: 0.0)
    for number in range(30_000):
        rate.take(str(number))
    assert len(rate._buckets) == 10_000


def test_keys_stand_one_a_line(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"# ours\n\n{KEY}\n  another-key-of-20-chars\n")
    assert read_keys(path) == [KEY, "another-key-of-20-chars"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"# nothing\n", "holds no API key"),
        (b"short\n", r"line 1 .* \(5 characters\)"),
        (b"with a space in between\n", "line 1"),
        ("schlüssel-mit-umlaut\n".encode(), "line 1"),
    ],
)
def test_a_file_without_usable_keys_is_refused_without_saying_them(tmp_path, content, said):
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        read_keys(path)
    assert "secrets" in caught.value.hint
    assert "umlaut" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rate_limit": -1}, "-1 requests a second"),
        ({"rate_limit": float("nan")}, "nan requests a second"),
        ({"rate_limit": 5, "naive": True}, "naive app"),
        ({"api_key_file": "/nowhere/keys"}, "/nowhere/keys"),
        ({"max_body_bytes": 4703}, "4703 bytes hold no item of 4704"),
    ],
)
def test_settings_that_cannot_be_kept_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        StackSettings(model_path="", **settings).check()


@pytest.mark.parametrize(
    ("host", "key_file", "is_exposed"),
    [("127.0.0.1", "", False), ("localhost", "", False), ("0.0.0.0", "", True), ("0.0.0.0", "keys", False)],
)
def test_an_open_door_to_other_machines_is_said(host, key_file, is_exposed):
    warning = StackSettings(model_path="", host=host, api_key_file=key_file).exposure()
    assert bool(warning) is is_exposed
    assert not is_exposed or ("--api-key-file" in warning and host in warning)
