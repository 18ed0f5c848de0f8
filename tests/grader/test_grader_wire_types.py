"""What goes over the wire comes out as it went in, as a copy; what is no plain data comes out as a line."""

from __future__ import annotations

import socket
import time
from collections import Counter, OrderedDict, deque
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from scalelab.grader.messages import Malformed
from scalelab.grader.wire import Channel, Closed, Late, TooLong, WireLimits
from scalelab.grading.expectations import describe
from scalelab.grading.plain import Opaque


@pytest.fixture
def ends():
    """Two ends of a channel; functions that come to the second one give their number when called."""
    ours, theirs = map(Channel, socket.socketpair())
    theirs.callables.make_stand_in = lambda number, name: lambda: number
    yield ours, theirs
    ours.close()
    theirs.close()


def through(ends, value):
    ends[0].send({"value": value}, time.monotonic() + 5)
    return ends[1].receive(time.monotonic() + 5)["value"]


# fmt: off
VALUES = [
    None, True, ..., 0, -1, 2**63 - 1, 2**63, -(2**64), 10**3999, 1.5, float("nan"), float("-inf"), -0.0,
    1 + 2j, "", "é 🙂\0", "é" * 40_000, b"", b"\xff" * 40_000, range(3, 9, 2), range(9, 3, -1),
    Decimal("1.50"), Fraction(-1, 3), [], [1, [2.5, ["a"]]], [0.1] * 1000, [2**62] * 1000, [1, 2.0] * 600,
    [True, False] * 9, [2**70] * 20, (), (1, (2,)), {1, 2}, frozenset({"a"}),
    {}, {1: {"a": [None]}, (1, 2): 3},
    deque([1, 2], 4),
    {1: 2}.keys(), {1: 2}.values(), {1: 2}.items(), np.float32(1.5), np.int8(-3), np.bool_(True),
    np.str_("hé"),
    np.float64("nan"), np.longdouble(1.25), np.array(3.0), np.zeros((0, 3)), np.arange(24).reshape(2, 3, 4),
    np.arange(4).astype(">i4"), np.array([True, False]), np.array(["a", "bcd"]), np.array([b"a", b"bcd"]),
    np.ones(3, np.float16), np.ones(2, np.complex64), np.array([], dtype="U5"),
]
# fmt: on


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_plain_data_comes_out_as_it_went_in(ends, value):
    found = through(ends, value)
    assert type(found) is type(value)
    assert repr(found) == repr(value)
    assert str(getattr(found, "dtype", "")).lstrip("<") == str(getattr(value, "dtype", "")).lstrip("<")


@pytest.mark.parametrize(
    ("value", "read"),
    [(OrderedDict(a=1), {"a": 1}), (Counter("aab"), {"a": 2, "b": 1}), (bytearray(b"ab"), b"ab")],
    ids=str,
)
def test_other_containers_come_out_as_their_base_type(ends, value, read):
    found = through(ends, value)
    assert type(found) is type(read)
    assert found == read


def test_an_array_of_any_layout_comes_out_in_order(ends):
    square = np.arange(12).reshape(3, 4)
    for array in (square.T, square[::-1, ::2], np.asfortranarray(square), np.broadcast_to(7, (2, 2))):
        found = through(ends, array)
        assert (found == array).all()
        assert found.flags.c_contiguous
        assert found.flags.writeable
        assert found.flags.owndata or found.base.flags.owndata


def test_equal_arrays_of_one_message_share_no_memory(ends):
    array = np.zeros(4)
    first, second = through(ends, [array, array])
    first[:] = 1
    assert second.tolist() == [0, 0, 0, 0]
    assert array.tolist() == [0, 0, 0, 0]


def test_tensors_come_out_as_copies_without_a_graph(ends):
    torch = pytest.importorskip("torch")
    tensors = [
        torch.arange(6).reshape(2, 3).T, torch.ones(2, dtype=torch.bfloat16), torch.tensor(True),
        torch.zeros(0, 2), torch.tensor([1 + 2j]).conj(), torch.ones(2, requires_grad=True) * 2,
        torch.arange(2)[::4], torch.arange(2)[3::4],
        torch.nn.Parameter(torch.ones(3)), torch.eye(2).to_sparse(),
    ]  # fmt: skip
    for tensor in tensors:
        found = through(ends, tensor)
        assert type(found) is torch.Tensor
        assert found.dtype == tensor.dtype
        assert not found.requires_grad
        assert torch.equal(found, tensor.detach().to_dense())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), " object"),
        (np.array([1, None]), "ndarray of shape (2,), object"),
        (np.datetime64("2026-01-01"), "(datetime64)"),
        (10**4001, "a whole number of more than 4000 digits (odd int)"),
        (range(10**9), "range(0, 1000000000) (range)"),
        (Decimal("1e999999"), "a number that is too long (Decimal)"),
        (type("list", (), {"__repr__": lambda self: "[]"})(), "[] (odd list)"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_plain_data_comes_out_as_a_line_that_shows_it(ends, value, said):
    found = through(ends, value)
    assert isinstance(found, Opaque)
    assert said in describe(found)
    for use in (bool, len, list, float):
        with pytest.raises(TypeError):
            use(found)


def test_what_is_no_plain_data_is_refused_where_a_check_gives_it(ends):
    for value in (object(), [object()], ValueError, pytest):
        with pytest.raises(TypeError):
            ends[0].send({"value": value}, is_strict=True)
    ends[0].send({"value": len}, is_strict=True)  # and the channel still works
    assert ends[1].receive()["value"]() == 1


def test_a_function_that_comes_back_is_the_function_itself(ends):
    ours, theirs = ends
    stand_in = through(ends, len)
    theirs.send({"value": [stand_in]})
    assert ours.receive()["value"] == [len]


def test_a_function_of_an_earlier_check_is_not_to_be_had(ends):
    ours, theirs = ends
    stand_in = through(ends, len)
    theirs.send({"value": stand_in})
    ours.renew()
    with pytest.raises(Malformed):
        ours.receive()


def test_nothing_is_sent_of_what_is_too_long(ends):
    ours, theirs = Channel(ends[0]._socket, limits=WireLimits(frame_bytes=1 << 20, depth=5)), ends[1]
    deep: list = []
    for _ in range(9):
        deep = [deep]
    wide = [None] * 600_000
    for value in (np.zeros(1 << 18), np.broadcast_to(0.0, 1 << 40), "x" * (2 << 20), deep, wide, {1: wide}):
        with pytest.raises(TooLong):
            ours.send({"value": value})
    ours.send({"value": 1})
    assert theirs.receive() == {"value": 1}


def test_a_list_that_holds_itself_is_too_long(ends):
    loop: list = []
    loop.append(loop)
    with pytest.raises(TooLong):
        ends[0].send({"value": loop})


def test_a_deadline_holds_for_reading_and_for_writing(ends):
    ours, theirs = ends
    with pytest.raises(Late):
        ours.receive(time.monotonic() + 0.01)
    with pytest.raises(Closed):
        ours.receive()
    with pytest.raises(Late):
        theirs.send({"value": np.zeros(1 << 22)}, time.monotonic() + 0.05)  # nobody reads


def test_the_other_side_hangs_up(ends):
    ends[1].close()
    for _ in range(2):
        with pytest.raises(Closed):
            ends[0].receive(time.monotonic() + 5)
