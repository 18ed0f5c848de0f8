"""A learner process may say what it likes: no forged answer earns points, stops the judge, blames the lab."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from grader_small_checks import HINTS, total

from scalelab.grader.remote import RemoteAnswers
from scalelab.grader.wire import Channel, WireError, WireLimits
from scalelab.grading import Outcome, check, run_check


def told(**parts):
    base = {"type": "KeyError", "mro": ["KeyError", "Exception"], "message": "1"}
    return {"raised": "ID", **base, **parts}


LINE = ["f", 1, "raise NotImplementedError", True]
FORGED = {
    "another id": {"value": "0" * 32, "of": 1},
    "an id that is a number": {"value": 1, "of": 1},
    "no id": {"value": None, "of": 1},
    "a value without a value": {"value": "ID"},
    "an order to the judge": {"run": "ID", "cells": ["1/0"]},
    "a question that only the judge may ask": {"get": "ID", "name": "total"},
    "a call of a function that was not lent": {"callback": "ID", "ref": 1, "args": [], "kwargs": {}},
    "a call by name": {"callback": "ID", "ref": "exit", "args": [], "kwargs": {}},
    "a call without arguments": {"callback": "ID", "ref": 1},
    "nothing": {},
    "an exception without a type": {"raised": "ID"},
    "an exception of the engine": told(type="ExpectationFailed", mro=["ExpectationFailed"]),
    "an inconclusive end": told(type="Inconclusive", mro=["Inconclusive", "Exception"]),
    "a fault of the lab": told(type="LabFileError", mro=["LabFileError", "Exception"]),
    "a task not begun, by its type": told(type="NotAttempted", mro=["NotAttempted", "Exception"]),
    "Ctrl-C": told(type="KeyboardInterrupt", mro=["KeyboardInterrupt", "BaseException"]),
    "the end of the judge": told(type="SystemExit", mro=["SystemExit", "BaseException"]),
    "an exception of a check's own function": told(**{"from": "0" * 32}),
    "a last value that is none": told(last=["x"]),
    "a last value of nothing": told(last=["x", None]),
    "a line that is none": told(line=["f", "1", "x", True]),
    "a line of a million digits": told(line=["f", 10**3000, "x", True]),
    "a stub deep inside a library": told(mro=["NotImplementedError"], line=[*LINE[:3], False]),
    "a type of 100 kB": told(type="x" * 100_000, message="y" * 100_000, mro=["Exception"] * 1000),
    "an exception group": told(mro=["ExceptionGroup", "BaseExceptionGroup"]),
    "an error that needs five arguments": told(type="UnicodeDecodeError", mro=["UnicodeDecodeError"]),
}


def play(sock, message):
    """Answer `get` honestly, and the call after it with a forged message."""
    channel = Channel(sock, limits=WireLimits(all_structure_bytes=1 << 40))
    try:
        asked = channel.receive(time.monotonic() + 5)
        channel.send({"value": asked["get"], "of": len})
        asked = channel.receive(time.monotonic() + 5)
        channel.send({key: asked["call"] if part == "ID" else part for key, part in message.items()})
        channel.receive(time.monotonic() + 5)
    except WireError:
        pass
    finally:
        channel.close()


def judged_against(message, chosen=total):
    ours, theirs = socket.socketpair()
    player = threading.Thread(target=play, args=(theirs, message))
    player.start()
    answers = RemoteAnswers(Channel(ours))
    try:
        return run_check(replace(chosen, limit_s=2), answers, seed=1), answers
    finally:
        answers._channel.close()
        player.join()


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_answer_is_a_crash_or_a_failure_of_this_check(what):
    result, _ = judged_against(FORGED[what])
    assert result.outcome in {Outcome.CRASHED, Outcome.FAILED}, str(result)
    assert result.points == 0
    assert len(result.message) < 3000
    assert result.message.isprintable()


@pytest.mark.parametrize("what", list(FORGED)[:6])
def test_an_answer_to_another_question_ends_the_channel(what):
    result, answers = judged_against(FORGED[what])
    assert result.code == "line-broken"
    assert not answers.is_usable


def test_an_answer_that_was_sent_before_the_question_is_none():
    ours, theirs = socket.socketpair()
    peer = Channel(theirs)
    peer.send({"value": "0" * 32, "of": 1})
    answers = RemoteAnswers(Channel(ours))
    result = run_check(total, answers, seed=1)
    answers._channel.close()
    assert (result.outcome, result.code) == (Outcome.CRASHED, "line-broken")
    peer.close()


def test_no_two_questions_have_the_same_id():
    ours, theirs = socket.socketpair()
    answers, peer, seen = RemoteAnswers(Channel(ours)), Channel(theirs), []

    def reply():
        for _ in range(50):
            message = peer.receive(time.monotonic() + 5)
            seen.append(message["has"])
            peer.send({"value": message["has"], "of": True})

    replier = threading.Thread(target=reply)
    replier.start()
    assert all("x" in answers for _ in range(50))
    replier.join()
    assert len(set(seen)) == 50
    assert {len(number) for number in seen} == {32}
    answers._channel.close()
    peer.close()


def test_a_forged_not_attempted_is_no_more_than_that():
    """It may say that nothing was attempted, which gives no points either."""
    result, _ = judged_against(told(kind="not-attempted", message="\x1b[1mno"))
    assert (result.outcome, result.points, result.message) == (Outcome.NOT_ATTEMPTED, 0, " [1mno")


def test_an_error_beside_the_answer_without_any_value_is_not_the_labs_fault():
    ours, theirs = socket.socketpair()

    def reply():
        peer = Channel(theirs)
        asked = peer.receive(time.monotonic() + 5)
        peer.send({"raised": asked["inside"], "type": "E", "mro": [], "message": ""})
        peer.close()

    @check("beside", points=1, hints=HINTS)
    def beside(answers):
        """Ask beside."""
        answers.inside("try_it")

    player = threading.Thread(target=reply)
    player.start()
    answers = RemoteAnswers(Channel(ours), inside_source="def try_it(answers): 0")
    result = run_check(beside, answers, seed=1)
    player.join()
    answers._channel.close()
    assert result.outcome is Outcome.CRASHED


def test_inputs_that_an_oracle_needs_stay_as_they_are():
    """Only what a check marks as shared is written back, and only as the type that it was."""
    ours, theirs = socket.socketpair()
    answers, peer = RemoteAnswers(Channel(ours)), Channel(theirs)
    changed = [[9], {"a": 9}, np.zeros(7), "x", None]
    shared = [[1], {"a": 1}, np.ones(3), {1}, [2]]

    def reply():
        asked = peer.receive(time.monotonic() + 5)
        peer.send({"value": asked["get"], "of": len})
        asked = peer.receive(time.monotonic() + 5)
        assert asked["shared"] == [0, 1, 2, 3, 4]
        peer.send({"value": asked["call"], "of": 0, "changed": changed})

    player = threading.Thread(target=reply)
    player.start()
    inputs = [answers.shared(value) for value in shared]
    answers["f"](*inputs, private := [1])
    player.join()
    assert inputs[:2] == [[9], {"a": 9}]
    assert inputs[2].tolist() == [1, 1, 1]
    assert inputs[3:] == [{1}, [2]]
    assert private == [1]
    answers._channel.close()
    peer.close()
