# ruff: noqa: E501  (a line is a student's line)
"""Answers to the tiny lab in unlike styles: right ones, and wrong ones with the points that they are due."""

from __future__ import annotations

RIGHT_STYLES: dict[str, tuple[str, ...]] = {
    "softmax": (
        "def softmax(x):\n    return torch.softmax(torch.as_tensor(x), -1).numpy()",
        """\
def softmax(x):
    x = np.asarray(x, dtype=np.float64)
    rows = x.reshape(-1, x.shape[-1])
    out = []
    for row in rows:
        top = max(row)
        parts = [math.exp(each - top) for each in row]
        out.append([each / sum(parts) for each in parts])
    return np.array(out).reshape(x.shape)""",
        """\
def softmax(x):
    logs = x - x.max(-1, keepdims=True)
    return np.exp(logs - np.log(np.exp(logs).sum(-1, keepdims=True)))""",
        """\
def _exp(values):
    return np.exp(values - np.max(values))
softmax = lambda x: np.apply_along_axis(lambda row: _exp(row) / _exp(row).sum(), -1, x)""",
    ),
    "accumulate_gradients": (
        """\
def accumulate_gradients(model, loss_fn, xs, ys, micro):
    parameters = list(model.parameters())
    total = [torch.zeros_like(each) for each in parameters]
    for first in range(0, len(xs), micro):
        x, y = xs[first:first + micro], ys[first:first + micro]
        for into, grad in zip(total, torch.autograd.grad(loss_fn(model(x), y), parameters)):
            into += grad * len(x)
    return [each / len(xs) for each in total]""",
        """\
def accumulate_gradients(model, loss_fn, xs, ys, micro):
    for p in model.parameters():
        p.grad = None
    for x, y in zip(xs.split(micro), ys.split(micro)):
        share = x.shape[0] / xs.shape[0]
        (share * loss_fn(model(x), y)).backward()
    return tuple(p.grad for p in model.parameters())""",
        """\
def accumulate_gradients(model, loss_fn, xs, ys, micro):
    model.zero_grad()
    loss = sum(loss_fn(model(x), y) * len(x) for x, y in zip(xs.split(micro), ys.split(micro))) / len(xs)
    loss.backward()
    return [p.grad.numpy().copy() for p in model.parameters()]""",
        """\
from torch.utils.data import DataLoader, TensorDataset
def accumulate_gradients(model, loss_fn, xs, ys, micro):
    model.zero_grad(set_to_none=True)
    for x, y in DataLoader(TensorDataset(xs, ys), batch_size=micro):
        loss_fn(model(x), y).mul(len(x)).div(len(xs)).backward()
    return [p.grad.clone() for p in model.parameters()]""",
    ),
    "quantize_int8": (
        """\
def quantize_int8(x):
    scale = x.abs().max() / 127
    return torch.clamp(torch.round(x / scale), -127, 127).to(torch.int8), scale""",
        """\
def quantize_int8(x):
    scale = max(abs(each) for each in x.flatten().tolist()) / 127
    q = torch.tensor([round(each / scale) for each in x.flatten().tolist()], dtype=torch.int8)
    return q.view(x.shape), scale""",
        """\
def quantize_int8(x):
    a = x.numpy()
    s = np.abs(a).max() / 127.0
    return torch.from_numpy(np.clip(np.rint(a / s), -127, 127).astype(np.int8)), np.float64(s)""",
        """\
def quantize_int8(x):
    scale = torch.linalg.vector_norm(x, ord=float("inf")).item() / 127
    q = torch.floor(x / scale + 0.5).clamp_(-127, 127).char()
    return (q, scale)""",
    ),
    "ring_allreduce": (
        """\
def ring_allreduce(parts):
    n, steps = len(parts), 0
    held = [dict(enumerate(np.array_split(np.asarray(p, dtype=float), n))) for p in parts]
    for phase in ("add", "copy"):
        for s in range(n - 1):
            moves = []
            for rank in range(n):
                chunk = (rank - s + (phase == "copy")) % n
                moves.append(((rank + 1) % n, chunk, held[rank][chunk]))
            for to, chunk, value in moves:
                held[to][chunk] = held[to][chunk] + value if phase == "add" else value
            steps += 1
    return [np.concatenate([h[c] for c in range(n)]) for h in held], steps""",
        """\
def ring_allreduce(parts):
    total = np.sum(parts, axis=0)
    return [total.copy() for _ in parts], 2 * (len(parts) - 1)""",
        """\
from collections import deque
def ring_allreduce(parts):
    n = len(parts)
    sums = [np.zeros_like(p) for p in parts]
    ring = deque(p.copy() for p in parts)
    for _ in range(n):
        for rank, value in enumerate(ring):
            sums[rank] += value
        ring.rotate(1)
    return sums, 2 * n - 2""",
        """\
class Rank:
    def __init__(self, part): self.part, self.total = part, part.copy()
def ring_allreduce(parts):
    ranks = [Rank(np.array(part, float)) for part in parts]
    for rank in ranks:
        for other in ranks:
            if other is not rank: rank.total = rank.total + other.part
    return tuple(rank.total for rank in ranks), np.int64(2 * (len(ranks) - 1))""",
    ),
    "bubble_fraction": (
        "def bubble_fraction(p, m):\n    return 1 - m / (m + p - 1)",
        "from fractions import Fraction\ndef bubble_fraction(p, m):\n    return float(Fraction(p - 1, m + p - 1))",
        """\
def bubble_fraction(p: int, m: int) -> float:
    slots = m + p - 1
    busy = sum(1 for stage in range(p) for t in range(slots) if stage <= t < stage + m)
    return 1.0 - busy / (p * slots)""",
        "bubble_fraction = lambda p, m: np.true_divide(p - 1, m + p - 1)",
    ),
    "fast_pairwise": (
        "def fast_pairwise(X):\n    return ((X[:, None, :] - X[None, :, :]) ** 2).sum(-1)",
        "def fast_pairwise(X):\n    t = torch.from_numpy(X)\n    return torch.cdist(t, t).square().numpy()",
        """\
def fast_pairwise(X):
    gram = np.einsum("ik,jk->ij", X, X)
    norms = gram.diagonal()
    return norms[:, None] - 2 * gram + norms""",
        """\
def fast_pairwise(X):
    out = np.empty((len(X), len(X)))
    for i, row in enumerate(X):
        out[i] = np.square(X - row).sum(axis=1)
    return out""",
    ),
}

WRONG_STYLES: dict[str, tuple[tuple[str, float], ...]] = {
    "softmax": (
        ("def softmax(x):\n    e = np.exp(x)\n    return e / e.sum(-1, keepdims=True)", 1.0),
        ("def softmax(x):\n    e = np.exp(x - x.max())\n    return e / e.sum()", 1.0),
        ("def softmax(x):\n    e = np.exp(x - x.max(-1, keepdims=True))\n    return e / e.sum(0)", 1.0),
        ("def softmax(x):\n    x = x - x.max(-1, keepdims=True)\n    return x / x.sum(-1, keepdims=True)", 0.0),
    ),
    "accumulate_gradients": (
        (
            """\
def accumulate_gradients(model, loss_fn, xs, ys, micro):
    model.zero_grad()
    batches = list(zip(xs.split(micro), ys.split(micro)))
    for x, y in batches:
        (loss_fn(model(x), y) / len(batches)).backward()
    return [p.grad for p in model.parameters()]""",
            1.0,
        ),
        (
            """\
def accumulate_gradients(model, loss_fn, xs, ys, micro):
    model.zero_grad()
    for x, y in zip(xs.split(micro), ys.split(micro)):
        loss_fn(model(x), y).backward()
    return [p.grad for p in model.parameters()]""",
            0.0,
        ),
        (
            """\
def accumulate_gradients(model, loss_fn, xs, ys, micro):
    for first in range(0, len(xs), micro):
        model.zero_grad()
        loss_fn(model(xs[first:first + micro]), ys[first:first + micro]).backward()
    return [p.grad for p in model.parameters()]""",
            0.0,
        ),
        (
            """\
def accumulate_gradients(model, loss_fn, xs, ys, micro):
    model.zero_grad()
    for first in range(0, len(xs) - micro, micro):
        x, y = xs[first:first + micro], ys[first:first + micro]
        (loss_fn(model(x), y) * len(x) / len(xs)).backward()
    return [p.grad for p in model.parameters()]""",
            0.0,
        ),
    ),
    "quantize_int8": (
        ("def quantize_int8(x):\n    s = float(x.abs().max()) / 127\n    return (x / s).to(torch.int8), s", 0.0),
        ("def quantize_int8(x):\n    s = float(x.max()) / 128\n    return torch.round(x / s).to(torch.int8), s", 0.0),
        ("def quantize_int8(x):\n    s = float(x.abs().max()) / 127\n    return torch.round(x / s), s", 1.0),
        ("def quantize_int8(x):\n    s = float(x.std())\n    return torch.round(x / s).clamp(-127, 127).char(), s", 0.0),
    ),
    "ring_allreduce": (
        ("def ring_allreduce(parts):\n    total = sum(parts)\n    return [total for _ in parts], len(parts) - 1", 0.0),
        ("def ring_allreduce(parts):\n    mean = sum(parts) / len(parts)\n"
         "    return [mean for _ in parts], 2 * (len(parts) - 1)", 0.0),
        ("def ring_allreduce(parts):\n    return sum(parts), 2 * (len(parts) - 1)", 0.0),
        ("def ring_allreduce(parts):\n    n = len(parts)\n    size = len(parts[0]) // n * n\n"
         "    return [sum(p[:size] for p in parts)] * n, 2 * (n - 1)", 1.0),
    ),
    "bubble_fraction": (
        ("def bubble_fraction(p, m):\n    return (p - 1) / m", 0.0),
        ("def bubble_fraction(p, m):\n    return p / (m + p)", 0.0),
        ("def bubble_fraction(p, m):\n    return (p - 1) // (m + p - 1)", 0.0),
        ("def bubble_fraction(p, m):\n    return round((p - 1) / (m + p - 1), 2)", 0.0),
    ),
    "fast_pairwise": (
        ("def fast_pairwise(X):\n    return np.array([[((a - b) ** 2).sum() for b in X] for a in X])", 0.0),
        ("def fast_pairwise(X):\n    return np.sqrt(((X[:, None] - X[None]) ** 2).sum(-1))", 0.0),
        ("def fast_pairwise(X):\n    X = X.astype(np.float16)\n    return ((X[:, None] - X[None]) ** 2).sum(-1)", 0.0),
        ("def fast_pairwise(X):\n    n = len(X)\n    out = np.zeros((n, n))\n    for i in range(n):\n"
         "        for j in range(n):\n            for k in range(X.shape[1]):\n"
         "                out[i, j] += (X[i, k] - X[j, k]) ** 2\n    return out", 0.0),
    ),
}  # fmt: skip
