"""Levers on a training's memory, and the counts that show them: checkpointing, bf16, shards."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from scalelab.models import CharGpt


@dataclass(frozen=True)
class StateBytes:
    """What one rank holds of a training between two steps [bytes]."""

    parameters: int
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        """All three."""
        return self.parameters + self.gradients + self.optimizer


class HeldActivations:
    """Counts, inside a ``with``, the bytes that autograd holds for backward passes, now and at most.

    A tensor that several operations keep counts once while any of them does; parameters are left out.
    """

    def __init__(self, parameters: Iterable[Tensor]):
        self._left_out = {p.untyped_storage().data_ptr() for p in parameters}
        self._users: dict[tuple[int, int], int] = {}
        self.now = self.most = 0

    def __enter__(self) -> HeldActivations:
        self._hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda t: _Held(self, t), lambda held: held.tensor
        )
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)

    def take(self, key: tuple[int, int]) -> None:
        """Count one more user of a tensor."""
        if key[0] in self._left_out:
            return
        self._users[key] = self._users.get(key, 0) + 1
        if self._users[key] == 1:
            self.now += key[1]
            self.most = max(self.most, self.now)

    def drop(self, key: tuple[int, int]) -> None:
        """Count one user less; the last one frees the tensor."""
        if key in self._users:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key]
                self.now -= key[1]


class _Held:
    """A saved tensor; the graph lets go of it when its backward pass is done."""

    def __init__(self, account: HeldActivations, tensor: Tensor):
        self.account, self.tensor = account, tensor
        self.key = (tensor.untyped_storage().data_ptr(), tensor.numel() * tensor.element_size())
        account.take(self.key)

    def __del__(self) -> None:
        self.account.drop(self.key)


def with_checkpoints(model: CharGpt) -> CharGpt:
    """Return a copy that keeps only each block's input and computes the rest again in the backward pass.

    Law: the same gradients; about a third more computation (Chen et al. 2016, "Training Deep Nets with
    Sublinear Memory Cost").
    """
    model = copy.deepcopy(model)
    model.blocks = nn.ModuleList(_Recomputed(block) for block in model.blocks)
    return model


class _Recomputed(nn.Module):
    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block

    def forward(self, x_BTD: Tensor) -> Tensor:
        return checkpoint(self.block, x_BTD, use_reentrant=False)


def state_bytes(model: nn.Module, optimizer: torch.optim.Optimizer) -> StateBytes:
    """Count what this process holds of parameters, gradients and optimizer state; of shards, its own."""
    states = [value for state in optimizer.state.values() for value in state.values()]
    return StateBytes(
        sum(_local_bytes(p) for p in model.parameters()),
        sum(_local_bytes(p.grad) for p in model.parameters() if p.grad is not None),
        sum(_local_bytes(value) for value in states if isinstance(value, Tensor) and value.ndim),
    )


def _local_bytes(tensor: Any) -> int:
    local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local.numel() * local.element_size()
