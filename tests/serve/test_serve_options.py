import pytest

from scalelab.serve.options import parse_key, read_options
from scalelab.serve.protocol import PRIORITIES, Problem


def test_options_are_read_from_query_and_headers():
    options = read_options(b"wait_s=1.5&priority=high", {b"task-deadline-s": b"20", b"accept": b"*/*"})
    assert (options.wait_s, options.deadline_s, options.priority) == (1.5, 20, 0)
    options = read_options(b"", {})
    assert (options.wait_s, options.deadline_s, PRIORITIES[options.priority]) == (0, None, "normal")


def test_the_query_counts_where_both_are_given():
    assert read_options(b"wait_s=2", {b"task-wait-s": b"9"}).wait_s == 2


@pytest.mark.parametrize(
    "query",
    [b"wait_s=", b"wait_s=soon", b"wait_s=-1", b"wait_s=31", b"wait_s=nan", b"deadline_s=0", b"x" * 201],
)
def test_options_that_cannot_be_kept_are_refused(query):
    with pytest.raises(Problem) as caught:
        read_options(query, {})
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("query", "head", "named", "guess"),
    [
        (b"wait=1", {}, "'wait'", "wait_s"),
        (b"priority=hihg", {}, "'hihg'", "high"),
        (b"", {b"task-wait": b"1"}, "'task-wait'", "task-wait-s"),
        (b"", {b"task-priority": b"urgent"}, "'urgent'", "high, low, normal"),
    ],
)
def test_a_mistyped_option_is_refused_with_a_guess(query, head, named, guess):
    with pytest.raises(Problem, match=named) as caught:
        read_options(query, head)
    assert guess in caught.value.hint


@pytest.mark.parametrize("key", [b"", b"a" * 201, "é".encode(), b"a\tb"])
def test_keys_that_cannot_be_kept_are_refused(key):
    with pytest.raises(Problem, match="Idempotency-Key"):
        parse_key(key)


def test_no_key_is_no_key():
    assert parse_key(None) == ""
