"""Runs beside the learner's code, for what cannot be sent as plain data: a model with its gradients."""

from __future__ import annotations

import numpy as np
import torch


def try_accumulate(
    answers, *, weights: list[np.ndarray], x: np.ndarray, y: np.ndarray, micro: int
) -> list[np.ndarray]:
    """Return what the learner's function makes of a network with these weights, as a list of arrays."""
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
    with torch.no_grad():
        for parameter, values in zip(model.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(values))
    loss = torch.nn.functional.mse_loss
    return answers["accumulate_gradients"](model, loss, torch.from_numpy(x), torch.from_numpy(y), micro)
