import copy

import pytest
import torch
import torch.nn.functional as F

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.models import CharGpt
from scalelab.train.data_parallel import run_in_threads
from scalelab.train.parallel import HeldActivations, split_gpt, state_bytes, with_checkpoints

torch.manual_seed(0)
GPT = CharGpt(vocabulary=11, context=8, layers=2, heads=4, width=32)
WINDOWS = torch.randint(11, (5, 9))


def backward(model):
    logits = model(WINDOWS[:, :-1])
    F.cross_entropy(logits.flatten(0, 1), WINDOWS[:, 1:].flatten()).backward()
    return logits.detach()


def whole():
    model = copy.deepcopy(GPT)
    return model, backward(model)


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_a_split_gpt_has_the_logits_and_gradients_of_the_whole(world_size):
    alone, wanted = whole()

    def run(wire):
        model = split_gpt(GPT, wire)
        return model, backward(model)

    found = run_in_threads(run, world_size)
    for rank, (model, logits) in enumerate(found):
        torch.testing.assert_close(logits, wanted, rtol=1e-5, atol=1e-5)
        for name in ("embed.character.weight", "head.logits.weight", "blocks.0.norm_dense.weight"):
            gradient, whole_gradient = model.get_parameter(name).grad, alone.get_parameter(name).grad
            torch.testing.assert_close(gradient, whole_gradient, rtol=1e-5, atol=1e-6)
        for split, block in zip(model.blocks, alone.blocks, strict=True):
            query = block.attention.query.weight.grad.chunk(world_size)[rank]
            out = block.attention.out.weight.grad.chunk(world_size, dim=1)[rank]
            torch.testing.assert_close(split.attention.share.query.weight.grad, query, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(split.attention.share.out.weight.grad, out, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(
                split.dense.bias.grad, block.dense.down.bias.grad, rtol=1e-5, atol=1e-6
            )


def test_a_block_costs_two_all_reduces_forward_and_two_backward():
    def run(wire):
        backward(split_gpt(GPT, wire))
        return wire.traffic

    for traffic in run_in_threads(run, 2):
        assert traffic.launches == 2 * (2 + 2)
        assert traffic.handed_bytes == 2 * (2 + 2) * 5 * 8 * 32 * 4


def test_each_rank_holds_its_share_of_the_blocks_matrices():
    def matrices(model):
        return sum(p.numel() for name, p in model.named_parameters() if "blocks" in name and p.ndim == 2)

    found = run_in_threads(lambda wire: matrices(split_gpt(GPT, wire)), 4)
    assert found == [matrices(GPT) // 4] * 4


def test_heads_that_the_ranks_do_not_divide_are_refused():
    with pytest.raises(RunFailed, match="4 heads cannot be shared equally by 3 ranks") as caught:
        run_in_threads(lambda wire: split_gpt(GPT, wire), 3)
    assert isinstance(caught.value.__cause__, ConfigError)


def held(model):
    with HeldActivations(model.parameters()) as activations:
        backward(model)
    return activations


def test_held_activations_are_all_let_go_after_the_backward_pass():
    activations = held(copy.deepcopy(GPT))
    assert activations.most > 0
    assert activations.now == 0


def test_what_one_matrix_product_holds_is_its_input():
    layer, x = torch.nn.Linear(3, 2), torch.ones(4, 3)
    with HeldActivations(layer.parameters()) as activations:
        y = layer(x)
        assert activations.now == x.nbytes
        y.sum().backward()
        del y
    assert (activations.now, activations.most) == (0, x.nbytes)


def test_checkpointing_gives_the_same_gradients_and_holds_far_less():
    alone, wanted = whole()
    model = with_checkpoints(GPT)
    torch.testing.assert_close(backward(model), wanted)
    for (name, found), other in zip(model.named_parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(found.grad, other.grad, msg=name)
    model.zero_grad()
    with HeldActivations(model.parameters()) as forward_only:
        loss = model(WINDOWS[:, :-1]).sum()
    with HeldActivations(alone.parameters()) as of_the_whole:
        other = alone(WINDOWS[:, :-1]).sum()
    assert 0 < forward_only.most < 0.4 * of_the_whole.most
    del loss, other


def test_bf16_shrinks_what_matrix_products_hold_and_keeps_norms_and_softmax_in_float32():
    ids = torch.randint(
        11, (200, 8)
    )  # large, so that bf16 copies of the weights, held too, are little beside it
    model = copy.deepcopy(GPT)
    with HeldActivations(model.parameters()) as plain:
        logits = model(ids)
    with HeldActivations(model.parameters()) as mixed, torch.autocast("cpu", dtype=torch.bfloat16):
        logits_bf16 = model(ids)
    assert 0.5 < mixed.most / plain.most < 0.8
    torch.testing.assert_close(logits_bf16.float(), logits, rtol=0.05, atol=0.05)


def test_state_is_parameters_gradients_and_two_moments():
    model = copy.deepcopy(GPT)
    optimizer = torch.optim.AdamW(model.parameters())
    size = sum(p.nbytes for p in model.parameters())
    assert state_bytes(model, optimizer).total == size
    backward(model)
    optimizer.step()
    found = state_bytes(model, optimizer)
    assert (found.parameters, found.gradients, found.optimizer) == (size, size, 2 * size)
