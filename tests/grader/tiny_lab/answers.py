"""A right and a wrong answer per task of the tiny lab, as the cell that a student hands in."""

from __future__ import annotations

RIGHT = {
    "softmax": """\
def softmax(x):
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)""",
    "accumulate_gradients": """\
def accumulate_gradients(model, loss_fn, xs, ys, micro):
    model.zero_grad()
    for first in range(0, len(xs), micro):
        x, y = xs[first : first + micro], ys[first : first + micro]
        (loss_fn(model(x), y) * len(x) / len(xs)).backward()
    return [parameter.grad.detach().clone() for parameter in model.parameters()]""",
    "quantize_int8": """\
def quantize_int8(x):
    scale = float(x.abs().max()) / 127 or 1.0
    return torch.clamp(torch.round(x / scale), -127, 127).to(torch.int8), scale""",
    "ring_allreduce": """\
def ring_allreduce(parts):
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
    return [np.concatenate(each) for each in chunks], 2 * (n - 1)""",
    "bubble_fraction": "def bubble_fraction(p, m):\n    return (p - 1) / (m + p - 1)",
    "fast_pairwise": """\
def fast_pairwise(X):
    squares = (X * X).sum(1)
    return np.maximum(squares[:, None] + squares[None, :] - 2 * X @ X.T, 0)""",
}
WRONG = {
    "softmax": "def softmax(x):\n    return x * 0 + 7.0",
    "accumulate_gradients": """\
def accumulate_gradients(model, loss_fn, xs, ys, micro):
    return [torch.ones_like(parameter) for parameter in model.parameters()]""",
    "quantize_int8": "def quantize_int8(x):\n    return torch.zeros_like(x).to(torch.int8) + 3, 0.123",
    "ring_allreduce": "def ring_allreduce(parts):\n    return [part * 0 - 5 for part in parts], 99",
    "bubble_fraction": "def bubble_fraction(p, m):\n    return 42.0",
    "fast_pairwise": """\
def fast_pairwise(X):
    return np.array([[((a - b) ** 2).sum() for b in X] for a in X])""",
}
