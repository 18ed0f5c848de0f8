"""Pruning: masks that keep the shape, and channels that are really gone, with the same logits."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from scalelab.compress.shrink import (
    apply_masks,
    file_sizes,
    magnitude_masks,
    n_of_m_masks,
    prune_channels,
)
from scalelab.compress.shrink.channels import choose_channels, mask_channels, remove_channels
from scalelab.compress.shrink.masks import share_of_zeros
from scalelab.core.errors import ConfigError, DataError
from scalelab.models import PinReader, save_reader

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 28, 168), np.uint8))


@pytest.fixture
def model():
    """A reader whose batch norms are no identity, so that a channel lost in them would show."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        reader = PinReader(width=24, channels=(6, 8, 10))
        for norm in (reader.stem[1], reader.stem[4], reader.stem[7]):
            for tensor in (norm.weight, norm.bias, norm.running_mean):
                torch.nn.init.normal_(tensor)
            torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    return reader.eval()


@pytest.mark.parametrize("sparsity", [0, 0.5, 0.9])
def test_the_smallest_weights_of_all_layers_are_dropped_and_no_others(model, sparsity):
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    masks = magnitude_masks(model, sparsity)
    apply_masks(model, masks)
    assert share_of_zeros(model) == pytest.approx(sparsity, abs=1e-4)
    dropped = torch.cat([before[name][~mask].abs() for name, mask in masks.items()])
    stays = torch.cat([before[name][mask].abs() for name, mask in masks.items()])
    assert dropped.numel() == 0 or dropped.max() <= stays.min()
    for name, weight in model.named_parameters():
        np.testing.assert_array_equal(weight.detach(), before[name] * masks.get(name, True))


def test_weights_of_equal_size_are_not_dropped_together(model):
    for weight in model.parameters():
        torch.nn.init.ones_(weight)
    apply_masks(model, magnitude_masks(model, 0.3))
    assert share_of_zeros(model) == pytest.approx(0.3, abs=1e-3)


def test_two_of_every_four_neighbours_stay_and_they_are_the_largest(model):
    masks = n_of_m_masks(model)
    assert {"head.1.weight", "head.4.weight"} <= set(masks)
    assert "stem.0.weight" not in masks, "25 inputs are no multiple of 4"
    for name, mask in masks.items():
        groups = dict(model.named_parameters())[name].detach().abs().reshape(-1, 4)
        kept = mask.reshape(-1, 4)
        assert (kept.sum(1) == 2).all()
        assert (groups.where(kept, np.inf).min(1).values >= groups.where(~kept, 0).max(1).values).all()


def test_zeros_take_the_bytes_of_any_number_until_they_are_packed(model, tmp_path):
    dense = file_sizes(save_reader(model, tmp_path / "dense.safetensors"))
    apply_masks(model, magnitude_masks(model, 0.9))
    sparse = file_sizes(save_reader(model, tmp_path / "sparse.safetensors"))
    assert sparse.bytes == dense.bytes
    assert sparse.gzip_bytes < 0.4 * dense.gzip_bytes


def test_the_pruned_reader_gives_the_logits_of_the_masked_one(model):
    kept = choose_channels(model, width=9, channels=(3, 5, 4))
    masked, small = mask_channels(model, kept), remove_channels(model, kept)
    with torch.no_grad():
        expected, whole = masked(IMAGES), model(IMAGES)
        torch.testing.assert_close(small(IMAGES), expected, atol=1e-5, rtol=0)
    assert (expected - whole).abs().max() > 0.01, "nothing was masked"
    assert small.config == {"width": 9, "channels": [3, 5, 4], "dropout": 0.0}


def test_a_reader_that_keeps_everything_is_the_same(model):
    small = prune_channels(model, 24, (6, 8, 10))
    for name, tensor in model.state_dict().items():
        if "num_batches" not in name:
            torch.testing.assert_close(small.state_dict()[name], tensor, rtol=0, atol=0)


def test_the_channels_of_the_largest_folded_norm_stay(model):
    with torch.no_grad():
        model.stem[1].weight[[1, 4]] *= 100
        model.head[4].weight[[2, 3, 20]] *= 100
    kept = choose_channels(model, width=3, channels=(2, 8, 10))
    assert kept.channels[0].tolist() == [1, 4]
    assert kept.units[1].tolist() == [2, 3, 20]


def test_pruning_leaves_the_reader_itself_and_its_mode_alone(model):
    before = copy.deepcopy(model.state_dict())
    assert prune_channels(model.train(), 4, (1, 1, 1)).training
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


@pytest.mark.slow
def test_the_pruned_reader_is_exported_again_and_its_file_is_smaller(model, tmp_path):
    from scalelab.compress import export_onnx

    small = prune_channels(model, 6, (3, 4, 5))
    weights = 4 * sum(weight.numel() for weight in small.parameters())
    assert weights < 0.3 * 4 * sum(weight.numel() for weight in model.parameters())
    assert weights < export_onnx(small, tmp_path / "small.onnx").bytes < weights + 8000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: magnitude_masks(model, 1.0), "sparsity of 1.0"),
        (lambda model: n_of_m_masks(model, 5, 4), "5 of 4"),
        (lambda model: prune_channels(model, 25, (6, 8, 10)), "width 25"),
        (lambda model: prune_channels(model, 4, (6, 0, 10)), r"\(6, 0, 10\)"),
        (lambda model: prune_channels(model, 4, (6, 8)), r"\(6, 8\)"),
        (lambda model: apply_masks(model, {"head.1.wait": torch.ones(1)}), "head.1.wait"),
        (lambda model: apply_masks(model, {"head.1.weight": torch.ones(1)}), "head.1.weight"),
    ],
)
def test_a_pruning_that_cannot_be_is_refused(model, call, message):
    with pytest.raises(ConfigError, match=message):
        call(model)


def test_a_model_without_weights_or_with_broken_ones_is_refused(model, tmp_path):
    with pytest.raises(DataError, match="no weights to prune"):
        magnitude_masks(torch.nn.ReLU(), 0.5)
    torch.nn.init.constant_(model.head[1].weight, np.nan)
    with pytest.raises(DataError, match="NaN"):
        magnitude_masks(model, 0.5)
    with pytest.raises(DataError, match="cannot be read"):
        file_sizes(tmp_path / "none")
