import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from scalelab.core.errors import ConfigError
from scalelab.data import load_text
from scalelab.models import CharGpt

V, T = 11, 8
SMALL = {"vocabulary": V, "context": T, "layers": 2, "heads": 2, "width": 16}


@pytest.fixture
def gpt():
    torch.manual_seed(0)
    return CharGpt(**SMALL)


@pytest.fixture
def ids_BT():
    return torch.randint(V, (3, T), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("positions", [1, 5, T])
def test_ids_give_a_logit_for_each_character_at_each_position(gpt, ids_BT, positions):
    logits_BTV = gpt(ids_BT[:, :positions])
    assert (logits_BTV.shape, logits_BTV.dtype) == ((3, positions, V), torch.float32)


def test_a_position_does_not_see_what_comes_after_it(gpt, ids_BT):
    before = gpt(ids_BT)
    changed = ids_BT.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % V
    after = gpt(changed)
    torch.testing.assert_close(after[:, :5], before[:, :5], rtol=0, atol=1e-6)
    assert (after[:, 5:] - before[:, 5:]).abs().amin(dim=-1).max() > 1e-4  # and it does see itself


def test_a_position_sees_all_that_came_before_it(gpt, ids_BT):
    embedded = gpt.embed(ids_BT).detach().requires_grad_()
    x = embedded
    for block in gpt.blocks:
        x = block(x)
    gpt.head(x)[:, -1].square().sum().backward()
    assert (embedded.grad.abs().amax(dim=-1) > 0).all()


def test_attention_is_the_softmax_of_masked_scaled_products(gpt, ids_BT):
    attention = gpt.blocks[0].attention
    x_BTD = torch.randn(3, T, 16, generator=torch.Generator().manual_seed(2))
    mixed = []
    for head in range(2):
        rows = slice(8 * head, 8 * head + 8)
        q, k, v = (layer(x_BTD)[..., rows] for layer in (attention.query, attention.key, attention.value))
        scores = (q @ k.transpose(1, 2)) / math.sqrt(8)
        scores = scores.masked_fill(torch.ones(T, T).triu(1).bool(), -torch.inf)
        mixed.append(scores.softmax(dim=-1) @ v)
    torch.testing.assert_close(attention(x_BTD), attention.out(torch.cat(mixed, dim=-1)))


def test_a_fresh_model_knows_nothing_it_guesses_all_characters_alike(gpt, ids_BT):
    loss = F.cross_entropy(gpt(ids_BT).flatten(0, 1), ids_BT.flatten())
    assert loss.item() == pytest.approx(math.log(V), rel=0.05)


def test_weights_are_drawn_as_gpt2_draws_them():
    torch.manual_seed(0)
    gpt = CharGpt(layers=8, width=128)
    spread = {name: p.std().item() for name, p in gpt.named_parameters() if p.ndim == 2}
    ends = {name: s for name, s in spread.items() if "attention.out" in name or "dense.down" in name}
    assert len(ends) == 16
    assert all(s == pytest.approx(0.02 / 4, rel=0.1) for s in ends.values())
    assert all(s == pytest.approx(0.02, rel=0.1) for name, s in spread.items() if name not in ends)
    assert all(not p.any() for name, p in gpt.named_parameters() if name.endswith("bias"))


def test_its_size_is_what_the_formula_says():
    gpt = CharGpt(vocabulary=96, context=64, layers=4, heads=4, width=128)
    d = 128
    block = 4 * (d * d + d) + (4 * d * d + 4 * d) + (4 * d * d + d) + 4 * d
    assert sum(p.numel() for p in gpt.parameters()) == (96 + 64) * d + 4 * block + 2 * d + 96 * d


def test_its_config_builds_it_again(gpt, ids_BT):
    again = CharGpt(**gpt.config)
    again.load_state_dict(gpt.state_dict())
    torch.testing.assert_close(again(ids_BT), gpt(ids_BT), rtol=0, atol=0)


def test_learning_text_lowers_the_loss_well_below_guessing():
    torch.manual_seed(0)
    gpt = CharGpt(context=32, layers=1, heads=2, width=32)
    windows = torch.from_numpy(load_text(4_000).windows(32))
    optimizer = torch.optim.AdamW(gpt.parameters(), lr=1e-2)
    losses = []
    for step in range(40):
        batch = windows[torch.arange(16 * step, 16 * step + 16) % len(windows)]
        loss = F.cross_entropy(gpt(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 4.4
    assert np.mean(losses[-5:]) < 3.3


def test_generated_text_begins_with_what_was_given_and_repeats_with_the_seed(gpt, ids_BT):
    gpt.train()
    first, again, other = (gpt.generate(ids_BT, 12, seed=seed) for seed in (0, 0, 1))
    assert first.shape == (3, T + 12)  # past the context
    assert torch.equal(first[:, :T], ids_BT)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert gpt.training


def test_at_temperature_0_each_character_is_the_likeliest(gpt, ids_BT):
    found = gpt.generate(ids_BT[:, :3], 2, temperature=0)
    assert torch.equal(found[:, 3], gpt(ids_BT[:, :3])[:, -1].argmax(dim=-1))
    assert torch.equal(found[:, 4], gpt(found[:, :4])[:, -1].argmax(dim=-1))


@pytest.mark.parametrize(
    "wrong",
    [{"layers": 0}, {"width": -4}, {"heads": 3}, {"vocabulary": 0}, {"context": 0}, {"dropout": 1.0}],
    ids=str,
)
def test_a_gpt_that_cannot_be_built_is_refused(wrong):
    with pytest.raises(ConfigError, match="cannot be built") as caught:
        CharGpt(**{**SMALL, **wrong})
    assert str(next(iter(wrong.values()))) in caught.value.message


def test_more_positions_than_the_context_are_refused(gpt):
    with pytest.raises(ConfigError, match="9 positions are more than the context of 8"):
        gpt(torch.zeros(1, 9, dtype=torch.int64))


def test_nothing_cannot_be_continued(gpt):
    with pytest.raises(ConfigError, match="cannot be continued"):
        gpt.generate(torch.zeros(1, 0, dtype=torch.int64), 3)
