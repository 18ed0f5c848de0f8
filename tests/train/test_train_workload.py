import pytest
import torch

from scalelab.train.ddp import MODELS
from scalelab.train.workload import WIDTHS, make_workload

SIZES = {"reader": 8, "gpt": 16, "mlp": 8}


def test_each_model_that_can_be_asked_for_is_there():
    assert list(MODELS) == list(WIDTHS) == list(SIZES)


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_goes_through_and_every_parameter_gets_a_gradient(name):
    work = make_workload(name, batch_size=3, batches=2, width=SIZES[name])
    assert [len(inputs) for inputs, _ in work.batches] == [3, 3]
    assert not torch.equal(work.batches[0][0], work.batches[1][0])
    loss = work.loss(work.model, work.batches[0])
    loss.backward()
    assert 0 < loss.item() < 10
    assert all(p.grad is not None for p in work.model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_gives_the_same_weights(name):
    one, same, other = (
        make_workload(name, batch_size=2, batches=1, width=SIZES[name], seed=seed).model for seed in (0, 0, 1)
    )
    first = torch.cat([p.flatten() for p in one.parameters()])
    assert torch.equal(first, torch.cat([p.flatten() for p in same.parameters()]))
    assert not torch.equal(first, torch.cat([p.flatten() for p in other.parameters()]))


@pytest.mark.parametrize("name", MODELS)
def test_the_mean_of_equal_shares_is_the_loss_of_the_batch(name):
    """Otherwise DDP's averaged gradient would not be the batch's."""
    work = make_workload(name, batch_size=6, batches=1, width=SIZES[name])
    inputs, targets = work.batches[0]
    parts = [work.loss(work.model, (inputs[i : i + 2], targets[i : i + 2])) for i in (0, 2, 4)]
    torch.testing.assert_close(sum(parts) / 3, work.loss(work.model, work.batches[0]))


def test_the_mlp_has_the_bytes_that_its_docstring_says():
    with torch.device("meta"):
        from scalelab.train.workload import _wide_mlp

        model = _wide_mlp(WIDTHS["mlp"])
    assert round(sum(p.nbytes for p in model.parameters()) / 1e6) == 24
