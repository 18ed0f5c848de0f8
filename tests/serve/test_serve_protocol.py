import itertools
import json

import pytest

from scalelab.serve.protocol import (
    DONE,
    PRIORITIES,
    Problem,
    Task,
    answer,
    check_length,
    is_task_id,
    new_task_ids,
)

RAW = bytes(range(256))


def test_a_body_over_the_limit_closes_the_connection():
    with pytest.raises(Problem) as caught:
        check_length(11, 10)
    assert caught.value.status == 413
    assert caught.value.headers == {"connection": "close"}
    check_length(10, 10)


@pytest.mark.parametrize("payload", [b"", b"x", RAW * 256])
@pytest.mark.parametrize("priority", range(len(PRIORITIES)))
def test_a_task_comes_back_from_its_bytes(payload, priority):
    task = Task("0f" * 16, payload, "gateway-1", 12.5, priority)
    assert Task.unpack(task.pack()) == task


@pytest.mark.parametrize(
    "packed", [b"", RAW[:21], bytes(20) + b"\x03\x00", bytes(21) + b"\x01", bytes(21) + b"\x01\xff"]
)
def test_bytes_that_are_no_task_are_refused(packed):
    with pytest.raises(ValueError, match=r"task|decode"):
        Task.unpack(packed)


def test_an_answer_is_one_line_of_json_that_begins_with_id_and_status():
    line = answer("0f" * 16, DONE, result={"pin": "5\n6"})
    assert b"\n" not in line
    assert line.startswith(b'{"task_id":"' + b"0f" * 16 + b'","status":"done"')
    with pytest.raises(ValueError, match="Out of range"):
        answer("0f" * 16, DONE, result={"confidence": float("nan")})


def test_task_ids_never_come_twice():
    ids = list(itertools.islice(new_task_ids(), 1000))
    assert len(set(ids)) == 1000
    assert all(map(is_task_id, ids))


@pytest.mark.parametrize("text", ["", "0f", "0F" * 16, "../" * 11, "g" * 32])
def test_what_is_no_task_id_is_known_without_the_broker(text):
    assert not is_task_id(text)


def test_a_result_that_is_no_json_leaves_nothing_behind_for_the_next():
    itself: list = []
    itself.append(itself)
    for bad in (itself, float("nan"), {1}):
        with pytest.raises((TypeError, ValueError)):
            answer("a" * 32, DONE, result={"inner": [bad]})
    good = {"inner": [1.5, "é", None, True], "name": "x"}
    body = answer("a" * 32, DONE, result=good, batch=2)
    assert json.loads(body) == {"task_id": "a" * 32, "status": "done", "result": good, "batch": 2}
