"""Lab 07: what it says about ranks, bytes and broken trainings."""

from __future__ import annotations

import pytest
from labs_trials import LabUnderTest

pytest.importorskip("jupytext")
torch = pytest.importorskip("torch")
LAB = LabUnderTest("07")
ENDLESS = """
def ring_all_reduce(numbers, wire):
    right, left = (wire.rank + 1) % wire.world_size, (wire.rank - 1) % wire.world_size
    while True:
        wire.exchange(numbers[:1], right, torch.empty(1), left)
"""


class NoBroadcast:
    """A wire over which nobody learns rank 0's weights."""

    def __init__(self, wire):
        self.wire = wire

    def __getattr__(self, name):
        return getattr(self.wire, name)

    def broadcast(self, tensor):
        """Leave the tensor as it is."""


def test_a_deadlock_is_told_at_once_with_who_waits_for_whom(names):
    result = LAB.try_answer("ring", LAB.answers["ring"].wrong["stuck"], names)
    assert "rank 0 waits for a message from rank 1" in result.message
    assert result.seconds < 5, "it waited for a timeout"


def test_a_ring_that_never_ends_is_stopped(names):
    assert LAB.try_answer("ring", ENDLESS, names).code == "endless"


def test_more_ranks_send_no_more_than_twice_the_numbers(given):
    for ranks in (2, 4, 8):
        found = given.run_in_memory(lambda wire: [given.ring_all_reduce(torch.ones(24), wire), wire], ranks)
        sent = {wire.traffic.sent_bytes for _, wire in found}
        assert sent == {2 * (ranks - 1) * 24 // ranks * 4}
        assert max(sent) < 2 * 24 * 4


def test_the_broken_training_is_caught_and_the_right_one_is_not(given):
    assert not given.trains_as_one(given.common_train)
    assert given.trains_as_one(given.train)


def test_each_of_the_two_causes_is_caught_by_itself(given):
    def with_one_start(model, optimizer, batches, wire):
        for parameter in model.parameters():
            wire.broadcast(parameter)
        given.common_train(model, optimizer, batches, wire)

    def with_own_start(model, optimizer, batches, wire):
        given.train(model, optimizer, batches, NoBroadcast(wire))

    assert not given.trains_as_one(with_one_start)
    assert not given.trains_as_one(with_own_start)


def test_the_samplers_shares_are_those_of_one_epoch(given):
    shares = [given.rank_samples(10, rank, 4, epoch=2) for rank in range(4)]
    assert sorted(number for share in shares for number in share) == list(range(10))


def test_the_readme_has_the_install_line_and_the_counted_bytes():
    text = (LAB.folders.lab / "README.md").read_text(encoding="utf-8")
    assert "colab-badge.svg" in text
    assert 'pip install "scalelab[lab]"' in text
    assert "12 MB" in text
