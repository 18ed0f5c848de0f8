import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from scalelab.core.errors import ConfigError
from scalelab.data import compose_pins
from scalelab.models import PinReader
from scalelab.train import IGNORE, accumulate_gradients, accumulate_step, measure_accumulation
from scalelab.train.accumulate import (
    average_step_means,
    cut,
    flat_gradient,
    freeze_batch_norm,
    relative_distance,
)
from scalelab.train.accumulation_report import equal_cuts, saved_bytes

N = 14


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = PinReader(width=16, channels=(2, 3, 4)).train()
    freeze_batch_norm(model)
    return model


@pytest.fixture
def batch():
    """Fourteen images; the last ones are mostly without labels, so micro-batches weigh differently."""
    sample = compose_pins(N, "train", seed=0)
    labels_NP = torch.from_numpy(sample.labels).long()
    labels_NP[9:, 1:] = IGNORE
    return torch.from_numpy(sample.images), labels_NP


def full_gradient(model, batch):
    """The oracle: torch's own mean over the whole batch."""
    images_NHW, labels_NP = batch
    model.zero_grad()
    F.cross_entropy(model(images_NHW).flatten(0, 1), labels_NP.flatten(), ignore_index=IGNORE).backward()
    return flat_gradient(model)


CUTS = [[14], [7, 7], [6, 6, 2], [13, 1], [1, 13], [1] * 14, [5, 9]]


@pytest.mark.parametrize("sizes", CUTS, ids=str)
def test_any_cut_gives_the_gradient_of_the_full_batch(model, batch, sizes):
    wanted = full_gradient(model, batch)
    accumulate_gradients(model, cut(*batch, sizes))
    assert relative_distance(flat_gradient(model), wanted) < 1e-6


@pytest.mark.parametrize("sizes", CUTS, ids=str)
def test_any_cut_gives_the_step_of_the_full_batch(model, batch, sizes):
    full_gradient(model, batch)
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), 0.5))
    wanted = [p - 0.1 * p.grad for p in model.parameters()]
    report = accumulate_step(
        model, torch.optim.SGD(model.parameters(), lr=0.1), cut(*batch, sizes), max_grad_norm=0.5
    )
    torch.testing.assert_close([p.detach() for p in model.parameters()], [p.detach() for p in wanted])
    assert report.grad_norm == pytest.approx(norm, rel=1e-5)
    assert report.targets == 9 * 6 + 5


def test_the_reported_loss_is_the_mean_over_all_targets(model, batch):
    images_NHW, labels_NP = batch
    wanted = F.cross_entropy(model(images_NHW).flatten(0, 1), labels_NP.flatten(), ignore_index=IGNORE).item()
    assert accumulate_gradients(model, cut(*batch, [10, 4]))[0] == pytest.approx(wanted, rel=1e-6)


def test_averaging_by_steps_is_wrong_on_a_ragged_cut(model, batch):
    wanted = full_gradient(model, batch)
    average_step_means(model, cut(*batch, [6, 6, 2]))
    assert relative_distance(flat_gradient(model), wanted) > 0.01


def test_an_old_gradient_does_not_leak_into_the_next_step(model, batch):
    wanted = full_gradient(model, batch)
    accumulate_gradients(model, cut(*batch, [7, 7]))
    accumulate_gradients(model, cut(*batch, [7, 7]))
    assert relative_distance(flat_gradient(model), wanted) < 1e-6


def test_a_micro_batch_without_targets_changes_nothing(model, batch):
    wanted = full_gradient(model, batch)
    empty = (batch[0][:3], torch.full((3, 6), IGNORE))
    accumulate_gradients(model, [empty, batch])
    assert relative_distance(flat_gradient(model), wanted) < 1e-6


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_step_without_targets_is_refused_before_it_changes_a_weight(model, batch, n):
    micro_batches = [(batch[0][:2], torch.full((2, 6), IGNORE))] * n
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ConfigError, match="IGNORE"):
        accumulate_step(model, torch.optim.SGD(model.parameters(), lr=1.0), micro_batches)
    torch.testing.assert_close(list(model.parameters()), before, rtol=0, atol=0)


@pytest.mark.parametrize("sizes", [[], [7], [7, 8], [14, 0], [15, -1]], ids=str)
def test_cuts_that_do_not_make_the_batch_are_refused(batch, sizes):
    with pytest.raises(ConfigError, match="do not make a batch of 14"):
        cut(*batch, sizes)


@pytest.mark.parametrize(
    ("n", "size", "cuts"), [(70, 32, (32, 32, 6)), (64, 32, (32, 32)), (5, 8, (5,)), (3, 1, (1, 1, 1))]
)
def test_equal_cuts_leave_the_rest_to_the_last(n, size, cuts):
    assert equal_cuts(n, size) == cuts


def test_saved_bytes_count_what_two_layers_keep_by_hand():
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4), nn.ReLU())
    kept = 3 * (8 + 16 + 4) * 4  # the input and both outputs of ReLU: each once
    assert saved_bytes(model, torch.zeros(3, 8)) == kept


def test_saved_bytes_count_a_slice_as_a_slice():
    model = nn.Sequential(nn.Linear(8, 4))
    assert saved_bytes(model, torch.zeros(100, 8)[:3]) == 3 * 8 * 4


def test_saved_bytes_grow_in_proportion_to_the_batch(model, batch):
    assert saved_bytes(model, batch[0][:8]) == 4 * saved_bytes(model, batch[0][:2])


@pytest.mark.slow
def test_the_report_holds_the_law_and_shows_both_mistakes():
    threads = torch.get_num_threads()
    report = measure_accumulation(70, 32, rounds=1)
    assert [row.cuts for row in report.rows] == [(70,), (32, 32, 6), (16, 16, 16, 16, 6)]
    assert max(row.relative_error for row in report.rows) < 1e-12
    assert max(row.float32_error for row in report.rows) < 1e-5
    assert (np.diff([row.saved_bytes for row in report.rows]) < 0).all()
    assert report.error_of_step_mean > 0.05
    assert report.error_of_batch_statistics > 0.01
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"rounds": 0}, {"micro_batches": (4, 0)}])
def test_sizes_below_one_are_refused(wrong):
    with pytest.raises(ConfigError, match="a batch of"):
        measure_accumulation(**{"width": 8, **wrong})
