# %% [markdown]
# # Six small pieces of a training system
#
# A lab for tests of the grader: six tasks of two points, a set-up and a small demonstration before them.

# %%
from scalelab import Lab

lab = Lab("tiny_lab")

# %%
import math
import time

import numpy as np
import torch

torch.manual_seed(0)
torch.set_num_threads(1)

# %%
# a line through noisy points, as labs begin
inputs = torch.randn(256, 32)
targets = inputs @ torch.randn(32, 1) + 0.01 * torch.randn(256, 1)
network = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
descent = torch.optim.SGD(network.parameters(), lr=1e-2)
for _ in range(50):
    loss = torch.nn.functional.mse_loss(network(inputs), targets)
    descent.zero_grad()
    loss.backward()
    descent.step()
print(f"loss {loss.item():.4f}")

# %% [markdown]
# A softmax over the last axis that stands large numbers.


# %% task="softmax"
def softmax(x):
    ### BEGIN SOLUTION
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)
    ### END SOLUTION


# %% check="softmax"
lab.check("softmax")

# %% [markdown]
# Gradients over micro-batches that equal the gradient of the mean loss over all.


# %% task="accumulate_gradients"
def accumulate_gradients(model, loss_fn, xs, ys, micro):
    ### BEGIN SOLUTION
    model.zero_grad()
    for first in range(0, len(xs), micro):
        x, y = xs[first : first + micro], ys[first : first + micro]
        (loss_fn(model(x), y) * len(x) / len(xs)).backward()
    return [parameter.grad.detach().clone() for parameter in model.parameters()]
    ### END SOLUTION


# %% check="accumulate_gradients"
lab.check("accumulate_gradients")

# %% [markdown]
# Symmetric int8: return (q, scale), with q in [-127, 127].


# %% task="quantize_int8"
def quantize_int8(x):
    ### BEGIN SOLUTION
    scale = float(x.abs().max()) / 127 or 1.0
    return torch.clamp(torch.round(x / scale), -127, 127).to(torch.int8), scale
    ### END SOLUTION


# %% check="quantize_int8"
lab.check("quantize_int8")

# %% [markdown]
# The sum of n equal arrays by a ring: return (list of n results, number of steps of the ring).


# %% task="ring_allreduce"
def ring_allreduce(parts):
    ### BEGIN SOLUTION
    n = len(parts)
    chunks = [np.array_split(np.array(part, dtype=float), n) for part in parts]
    for step in range(n - 1):
        sent = [chunks[rank][(rank - step) % n].copy() for rank in range(n)]
        for rank in range(n):
            chunks[(rank + 1) % n][(rank - step) % n] += sent[rank]
    for step in range(n - 1):
        sent = [chunks[rank][(rank + 1 - step) % n].copy() for rank in range(n)]
        for rank in range(n):
            chunks[(rank + 1) % n][(rank + 1 - step) % n] = sent[rank]
    return [np.concatenate(each) for each in chunks], 2 * (n - 1)
    ### END SOLUTION


# %% check="ring_allreduce"
lab.check("ring_allreduce")

# %% [markdown]
# The idle share of a GPipe schedule with p stages and m micro-batches.


# %% task="bubble_fraction"
def bubble_fraction(p, m):
    ### BEGIN SOLUTION
    return (p - 1) / (m + p - 1)
    ### END SOLUTION


# %% check="bubble_fraction"
lab.check("bubble_fraction")

# %% [markdown]
# Pairwise squared distances, at least four times as fast as two loops.


# %% task="fast_pairwise"
def slow_pairwise(X):
    out = np.zeros((len(X), len(X)))
    for i in range(len(X)):
        for j in range(len(X)):
            out[i, j] = ((X[i] - X[j]) ** 2).sum()
    return out


def fast_pairwise(X):
    ### BEGIN SOLUTION
    squares = (X * X).sum(1)
    return np.maximum(squares[:, None] + squares[None, :] - 2 * X @ X.T, 0)
    ### END SOLUTION


# %% check="fast_pairwise"
lab.check("fast_pairwise")

# %% [markdown]
# In words: what does the ring not send twice?

# %%
lab.explain("ring", "")
