"""Whatever bytes come over the channel: the judge gets plain data, or an error that ends this one channel."""

from __future__ import annotations

import contextlib
import math
import random
import socket
import struct
import threading
import time
import tracemalloc
from pathlib import Path

import msgpack
import numpy as np
import pytest

from scalelab.grader.messages import MIB, Malformed
from scalelab.grader.wire import Channel, Closed, Late, TooLong, WireError


@pytest.fixture
def line():
    """The judge's channel, and the bare socket of whoever is at the other end."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    yield channel, theirs
    channel.close()
    theirs.close()


def frame(tree, raw=b"", *, sizes=None):
    body = tree if isinstance(tree, bytes) else msgpack.packb(tree)
    return struct.pack("!II", *(sizes or (len(body), len(raw)))) + body + raw


def received(line, data):
    channel, theirs = line
    sender = threading.Thread(target=lambda: _send(theirs, data))
    sender.start()
    try:
        return channel.receive(time.monotonic() + 5)
    finally:
        channel.close()
        sender.join()


def _send(sock, data):
    with contextlib.suppress(OSError):
        sock.sendall(data)


def value(tree):
    return ["dict", "value", tree]


def nested(depth, tag="list"):
    tree = [tag]
    for _ in range(depth):
        tree = [tag, tree]
    return tree


EIGHT = b"\0" * 8
MALFORMED = {
    "no msgpack": (b"\xc1", b""),
    "two messages in one": (msgpack.packb(["dict"]) * 2, b""),
    "half a message": (msgpack.packb(["dict", "value"])[:-2], b""),
    "a bare map": ({"value": 1}, b""),
    "a bare list": ([1, 2], b""),
    "no dict": (["list", 1], b""),
    "keys that are no text": (["dict", 1, 2], b""),
    "a key without value": (["dict", "value"], b""),
    "an extension": (value(msgpack.ExtType(1, b"import os")), b""),
    "a timestamp": (value(msgpack.Timestamp(1)), b""),
    "an unknown tag": (value(["pickle", b"cos\nsystem\n."]), b""),
    "a tag that is an attribute": (value(["__class__"]), b""),
    "a tag that is no text": (value([["list"]]), b""),
    "a key that cannot be one": (value(["dict", ["list"], 1]), b""),
    "a set of lists": (value(["set", ["list"]]), b""),
    "too deep": (value(nested(60)), b""),
    "deeper than any parser": (b"\x91" * 100_000 + b"\xc0", b""),
    "an array of objects": (value(["array", "|O", [1], 8]), EIGHT),
    "an array of records": (value(["array", "f8,O", [1], 8]), EIGHT),
    "an array of voids": (value(["array", "|V8", [1], 8]), EIGHT),
    "a type by name": (value(["array", "object", [1], 8]), EIGHT),
    "a type that is a list": (value(["array", ["list", "f8"], [1], 8]), EIGHT),
    "more shape than bytes": (value(["array", "<f8", [2], 8]), EIGHT),
    "more shape than bytes, announced": (value(["array", "<f8", [2], 16]), EIGHT),
    "less shape than bytes": (value(["array", "<f8", [1], 8]), EIGHT * 2),
    "a negative size": (value(["array", "<f8", [-1], 8]), EIGHT),
    "two negative sizes": (value(["array", "<f8", [-1, -1], 8]), EIGHT),
    "a size that overflows": (value(["array", "<f8", [2**62, 4], 0]), b""),
    "an empty array with a huge side": (value(["array", "<f8", [0, 2**39, 2**39], 0]), b""),
    "sizes that are no numbers": (value(["array", "<f8", [True], 8]), EIGHT),
    "sizes that are fractions": (value(["array", "<f8", [1.0], 8]), EIGHT),
    "too many sizes": (value(["array", "<f8", [1] * 65, 8]), EIGHT),
    "texts of no width": (value(["array", "|S0", [2**39], 0]), b""),
    "bytes used twice": (value(["tuple", ["bytes", 8], ["bytes", 8]]), EIGHT),
    "bytes counted backwards": (value(["tuple", ["bytes", 8], ["bytes", -8]]), EIGHT),
    "bytes of nobody": (value(1), EIGHT),
    "an array among texts": (value(["texts", 1, [1], ["array", "<f8", [1], 8]]), EIGHT),
    "few texts, a huge width": (value(["texts", 2**30, [1], ["list", "a"]]), b""),
    "a tensor of another type": (value(["tensor", "qint8", [8], 8]), EIGHT),
    "a tensor of an attribute": (value(["tensor", "load", [8], 8]), EIGHT),
    "a text that is none": (value(["text", 8]), b"\xff" * 8),
    "a text with half a pair": (value(["text", 3]), b"\xed\xa0\x80"),
    "a number of 10 MB": (value(["int", b"\x7f" * 10_000]), b""),
    "a decimal that fills the memory": (value(["decimal", "1e999999999"]), b""),
    "a decimal that is none": (value(["decimal", "__import__('os')"]), b""),
    "a fraction of zero": (value(["fraction", 1, 0]), b""),
    "a fraction of texts": (value(["fraction", "1", "2"]), b""),
    "a range that fills the memory": (value(["range", 0, 2**62, 1]), b""),
    "a range without a step": (value(["range", 0, 1, 0]), b""),
    "a function where none is expected": (value(["function", 1, "f"]), b""),
    "an iterator where none is expected": (value(["iterator", 1, "generator"]), b""),
    "a function of ours by a guess": (value(["yours", 1]), b""),
    "a number that is an array": (value(["number", ["array", "<f8", [1], 8]]), EIGHT),
    "a number that is a text": (value(["number", "1"]), b""),
    "complex texts": (value(["complex", "1", "2"]), b""),
    "an opaque value without a name": (value(["opaque", None, "x", None, None]), b""),
    "parts that are missing": (value(["array"]), b""),
    "parts that are too many": (value(["array", "<f8", [1], 8, 8]), EIGHT),
}  # fmt: skip


@pytest.mark.parametrize("what", MALFORMED)
def test_a_forged_message_is_malformed(line, what):
    with pytest.raises(Malformed):
        received(line, frame(*MALFORMED[what]))


def test_after_a_forged_message_the_channel_is_closed(line):
    channel, theirs = line
    theirs.sendall(frame(b"\xc1") + frame(value(1)))
    with pytest.raises(Malformed):
        channel.receive(time.monotonic() + 5)
    with pytest.raises(Closed):
        channel.receive(time.monotonic() + 5)
    with pytest.raises(Closed):
        channel.send({"value": 1})


@pytest.mark.parametrize(
    "sizes", [(2**32 - 1, 0), (0, 2**32 - 1), (4 * MIB + 1, 0), (9, 64 * MIB + 1)], ids=str
)
def test_an_overlong_message_is_refused_before_it_is_read(line, sizes):
    tracemalloc.start()
    try:
        with pytest.raises(TooLong):
            received(line, frame(value(1), sizes=sizes))
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def test_many_messages_are_too_long_together(line):
    channel, theirs = line
    data = frame(value(["bytes", MIB]), b"x" * MIB)
    sender = threading.Thread(target=lambda: [_send(theirs, data) for _ in range(300)])
    sender.start()
    got = []
    with pytest.raises(TooLong):
        got.extend(channel.receive(time.monotonic() + 20)["value"][:1] for _ in range(300))
    assert len(got) == 256
    channel.close()
    sender.join()


def test_who_sends_byte_by_byte_is_late(line):
    channel, theirs = line
    data, done = frame(value("x" * 4000)), threading.Event()

    def drip():
        for byte in data:
            if done.wait(0.002):
                return
            _send(theirs, bytes([byte]))

    sender = threading.Thread(target=drip)
    sender.start()
    started = time.monotonic()
    with pytest.raises(Late):
        channel.receive(started + 0.2)
    done.set()
    sender.join()
    assert time.monotonic() - started < 4


EQUAL_HASHES = {
    "tuples": [["tuple", *[-1 if i >> bit & 1 else -2 for bit in range(14)]] for i in range(1 << 14)],
    "whole numbers": [["int", (i * (2**61 - 1)).to_bytes(12, "big")] for i in range(2**5, 20_000)],
}


@pytest.mark.parametrize("what", EQUAL_HASHES)
@pytest.mark.parametrize("tag", ["set", "dict", "keys"])
def test_keys_of_one_hash_do_not_stop_the_judge(line, what, tag):
    keys = EQUAL_HASHES[what]
    tree = {
        "set": ["set", *keys],
        "dict": ["dict", *[part for key in keys for part in (key, 0)]],
        "keys": ["keys", ["list", *keys]],
    }[tag]
    started = time.process_time()
    with pytest.raises(TooLong):
        received(line, frame(value(tree)))
    assert time.process_time() - started < 20


def test_functions_without_end_are_too_many(line):
    line[0].callables.make_stand_in = lambda number, name: lambda: number
    with pytest.raises(TooLong):
        received(line, frame(value(["list", *[["function", i, "f"] for i in range(20_000)]])))


WIDE = {
    "an array": (["array", "|i1", [4097, 4097], 4097**2], 4097**2),
    "a list of numbers": (["floats", 8 * 600_000], 8 * 600_000),
    "a text": (["text", 17 * MIB], 17 * MIB),
}


@pytest.mark.parametrize("what", WIDE)
def test_small_raw_parts_that_grow_when_they_are_used_are_too_long(line, what):
    tree, size = WIDE[what]
    with pytest.raises(TooLong):
        received(line, frame(value(tree), b"a" * size))


@pytest.mark.parametrize("node", [["opaque", "T", "x", None, None], ["iterator", 1, "T"]], ids=str)
def test_a_thousand_types_of_values_are_a_hundred(line, node):
    line[0].callables.make_stand_in = lambda number, name: lambda: number
    tree = ["list", *[[f"{part}{i}" if part == "T" else part for part in node] for i in range(1000)]]
    found = received(line, frame(value(tree)))["value"]
    assert len({type(each) for each in found}) <= 101


def test_an_empty_frame_is_malformed(line):
    with pytest.raises(Malformed):
        received(line, frame(b""))


def test_wide_structures_cost_a_bounded_memory(line):
    tracemalloc.start()
    try:
        found = received(line, frame(value(["list", *[["set"]] * 50_000])))
        assert len(found["value"]) == 50_000
        assert tracemalloc.get_traced_memory()[1] < 25 * MIB
    finally:
        tracemalloc.stop()


def test_truth_values_are_zero_or_one_whatever_the_bytes_say(line):
    found = received(line, frame(value(["array", "|b1", [3], 3]), b"\x00\x02\xff"))["value"]
    assert found.view(np.uint8).tolist() == [0, 1, 1]


def test_tensors_of_truth_values_too(line):
    torch = pytest.importorskip("torch")
    found = received(line, frame(value(["tensor", "bool", [3], 3]), b"\x00\x02\xff"))["value"]
    assert found.view(torch.uint8).tolist() == [0, 1, 1]


def test_special_numbers_are_numbers(line):
    found = received(line, frame(value(["list", math.nan, math.inf, -0.0])))["value"]
    assert [math.isnan(found[0]), found[1], math.copysign(1, found[2])] == [True, math.inf, -1]


@pytest.mark.parametrize("name", ["list", "dict", "array", "a\nb\x1b[31m", "x" * 10_000, ""])
def test_no_name_of_a_type_breaks_the_report(line, name):
    from scalelab.grading.expectations import describe

    odd = received(line, frame(value(["opaque", name, "\x1b[2J<script>" * 900, [3], "float\n64"])))["value"]
    for text in (describe(odd), describe([odd]), repr(odd)):
        assert text.isprintable()
        assert len(text) < 400


def test_reading_runs_nothing(line, tmp_path):
    """A pickle, which would make a file when it is read, comes out as the bytes that it is."""
    import pickle

    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    data = pickle.dumps([Bomb()])
    assert received(line, frame(value(["bytes", len(data)]), data)) == {"value": data}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", range(20))
def test_random_changes_of_a_good_message_never_do_more_than_end_the_channel(seed):
    rng = random.Random(seed)
    parts = [["array", "<f8", [2], 16], ["dict", 1, ["set", 2]], ["opaque", "X", "x", [1], "O"]]
    parts += [["range", 1, 2, 3], ["int", b"\x01"], ["texts", 1, [1], ["list", "a"]], ["floats", 16]]
    good = frame(value(["list", 1, "a", *parts]), bytes(range(32)))
    for _ in range(150):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(8, len(data))] = rng.randrange(256)
        ours, theirs = socket.socketpair()
        channel = Channel(ours)
        theirs.sendall(data)
        theirs.close()
        try:
            assert type(channel.receive(time.monotonic() + 5)) is dict
        except WireError:
            assert not channel.is_open
        channel.close()
