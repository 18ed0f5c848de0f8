"""A small decoder-only transformer over characters: GPT-2's architecture at a size that a laptop trains.

Shape suffixes in this file: B = sequences, T = positions, D = width, H = heads, K = width of a head,
V = vocabulary.

Sources: attention, Vaswani et al. 2017, "Attention Is All You Need"; pre-norm blocks, initialization and its
scaling with depth, Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalelab.core.errors import ConfigError

ARCHITECTURE = "scalelab.CharGpt/1"


class CharGpt(nn.Module):
    """Predicts the next character: ids ``(B, T) int64`` to logits ``(B, T, V) float32``.

    Law: the logits at a position depend on the ids up to it and on none after it. Embedding, blocks and head
    are attributes of their own (`embed`, `blocks`, `head`), so that a pipeline can cut between any two.

    Args:
        vocabulary: number of different ids; 96 is the alphabet of `scalelab.data.load_text`.
        context: the most positions it can look at.
        width: numbers that stand for one position; a multiple of `heads`.
        dropout: share of numbers switched off in training, on each residual branch.
    """

    def __init__(
        self,
        vocabulary: int = 96,
        context: int = 64,
        layers: int = 4,
        heads: int = 4,
        width: int = 128,
        dropout: float = 0.0,
    ):
        super().__init__()
        if min(vocabulary, context, layers, heads, width) < 1 or width % heads or not 0 <= dropout < 1:
            raise ConfigError(
                f"a GPT of vocabulary {vocabulary}, context {context}, {layers} layers, {heads} heads, "
                f"width {width}, dropout {dropout} cannot be built",
                hint="give sizes from 1 up, a width that is a multiple of heads, a dropout from 0 to below 1",
            )
        self.config: dict[str, Any] = {
            "vocabulary": vocabulary,
            "context": context,
            "layers": layers,
            "heads": heads,
            "width": width,
            "dropout": dropout,
        }
        """what builds this network again: ``CharGpt(**config)``"""
        self.embed = Embed(vocabulary, context, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.head = Head(vocabulary, width)
        initialize(self)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Return logits ``(B, T, V)``.

        Raises:
            ConfigError: more positions than the context.
        """
        x_BTD = self.embed(ids_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD)
        logits_BTV: Tensor = self.head(x_BTD)
        return logits_BTV

    @torch.no_grad()
    def generate(self, ids_BT: Tensor, characters: int, *, seed: int = 0, temperature: float = 1.0) -> Tensor:
        """Return `ids_BT` continued by `characters` drawn ids, as ``(B, T + characters) int64``.

        Every new character is one forward pass over the last `context` positions.

        Args:
            temperature: divides the logits; 0 takes the likeliest character.

        Raises:
            ConfigError: nothing to continue, or a negative temperature.
        """
        if ids_BT.ndim != 2 or ids_BT.shape[1] < 1 or temperature < 0:
            raise ConfigError(
                f"ids of shape {tuple(ids_BT.shape)} at temperature {temperature} cannot be continued",
                hint="give ids (B, T) with T of at least 1, and a temperature from 0 up",
            )
        draws = torch.Generator().manual_seed(seed)
        was_training = self.training
        self.eval()
        try:
            for _ in range(characters):
                last_BV = self(ids_BT[:, -self.config["context"] :])[:, -1]
                if temperature == 0:
                    next_B1 = last_BV.argmax(dim=-1, keepdim=True)
                else:
                    next_B1 = torch.multinomial(F.softmax(last_BV / temperature, dim=-1), 1, generator=draws)
                ids_BT = torch.cat([ids_BT, next_B1], dim=1)
        finally:
            self.train(was_training)
        return ids_BT


class Embed(nn.Module):
    """What a character is, plus where it stands: ``(B, T) int64`` to ``(B, T, D)``."""

    def __init__(self, vocabulary: int, context: int, width: int):
        super().__init__()
        self.character = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(context, width)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Return ``(B, T, D)``; more positions than the context raise ConfigError."""
        positions, context = ids_BT.shape[1], self.position.num_embeddings
        if positions > context:
            raise ConfigError(
                f"{positions} positions are more than the context of {context}", hint="cut the sequences"
            )
        where_TD: Tensor = self.position(torch.arange(positions, device=ids_BT.device))
        return self.character(ids_BT) + where_TD


class Block(nn.Module):
    """Attention, then two dense layers, each added to what came in: ``(B, T, D)`` to ``(B, T, D)``."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.norm_attention, self.norm_dense = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.dense = Dense(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return ``(B, T, D)``."""
        x_BTD = x_BTD + self.dropout(self.attention(self.norm_attention(x_BTD)))
        return x_BTD + self.dropout(self.dense(self.norm_dense(x_BTD)))


class Attention(nn.Module):
    """Each position mixes what the positions up to it offer: ``softmax(q k' / sqrt(K)) v``, per head."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.head_width = width // heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return ``(B, T, D)``."""
        q_BHTK, k_BHTK, v_BHTK = (
            # -1 heads: under tensor parallelism a rank holds only its share of them
            layer(x_BTD).unflatten(-1, (-1, self.head_width)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed_BHTK = F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True)
        return self.out(mixed_BHTK.transpose(1, 2).flatten(2))


class Dense(nn.Module):
    """Two layers at each position by itself, four times as wide in between."""

    def __init__(self, width: int):
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return ``(B, T, D)``."""
        return self.down(F.gelu(self.up(x_BTD)))


class Head(nn.Module):
    """From the last block's numbers to a logit for each character: ``(B, T, D)`` to ``(B, T, V)``."""

    def __init__(self, vocabulary: int, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.logits = nn.Linear(width, vocabulary, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return logits ``(B, T, V)``."""
        return self.logits(self.norm(x_BTD))


def initialize(model: CharGpt) -> None:
    """Draw weights from N(0, 0.02), biases 0; what ends a residual branch is scaled by 1/sqrt(2 x layers)."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            ends_branch = name.endswith((".attention.out", ".dense.down"))
            spread = 0.02 / math.sqrt(2 * model.config["layers"]) if ends_branch else 0.02
            nn.init.normal_(module.weight, std=spread)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
