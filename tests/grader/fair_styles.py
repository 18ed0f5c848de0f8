"""More right answers to the labs' tasks, in styles that their own trial answers lack.

Recursion, one-liners, generators, NumPy for torch and torch for NumPy, hooks, closures, comprehensions.
"""

STYLES: dict[str, dict[str, list[str]]] = {}

STYLES["00"] = {
    "stopwatch": [
        """
def time_calls(call, n, warmup=5, clock=time.perf_counter):
    def after(left, taken):
        if left == 0:
            return taken
        began = clock()
        call()
        return after(left - 1, taken + [clock() - began])
    for _ in range(warmup): call()
    return after(n, [])
""",
    ],
    "interval": [
        """
def median_interval(values):
    from itertools import accumulate
    n, x = len(values), np.sort(values)
    k = sum(40 * below <= 2**n for below in accumulate(math.comb(n, i) for i in range((n + 1) // 2)))
    return (np.median(x), *((x[k - 1], x[-k]) if k else (-np.inf, np.inf)))
""",
    ],
    "aa-test": [
        """
def false_alarm_share(decide, measure_pair, trials=100):
    verdicts = {"A": 0, "B": 0, "INCONCLUSIVE": 0}
    done = 0
    while done < trials:
        pair = measure_pair()
        verdicts[decide(pair[0], pair[1])] += 1
        done += 1
    return float(np.float64(verdicts["A"] + verdicts["B"]) / trials)
""",
    ],
    "verdict": [
        """
winner = lambda a, b: (lambda m: "A" if m[1] > 1 else "B" if m[2] < 1 else "INCONCLUSIVE")(
    median_interval((np.array(b) / np.array(a)).tolist()))
""",
    ],
    "fair-race": [
        """
def race(call_a, call_b, pairs, clock=time.perf_counter):
    times = {"a": [], "b": []}
    order = "abba" * pairs
    for side in order[: 2 * pairs]:
        times[side] += time_calls({"a": call_a, "b": call_b}[side], n=1, warmup=0, clock=clock)
    return times["a"], times["b"]
""",
    ],
    "guard": [],
}

STYLES["01"] = {
    "settings": [
        """
import json
from hashlib import sha256
def run_settings(changes):
    settings = dict(DEFAULTS)
    try:
        for name, value in changes.items():
            settings[name]  # KeyError where there is no such setting
            settings[name] = value
    except KeyError as error:
        raise ValueError(f"no setting {error}") from error
    return settings
run_id = lambda settings: sha256(json.dumps(dict(sorted(settings.items()))).encode("utf8")).hexdigest()[:12]
""",
    ],
    "split": [
        """
def split_parcels(parcel, test_share, seed):
    dice = np.random.RandomState(seed)
    ids, which = np.unique(parcel, return_inverse=True)
    is_test = np.zeros(len(ids), bool)
    is_test[dice.permutation(len(ids))[: int(np.rint(test_share * len(ids)))]] = True
    return np.flatnonzero(~is_test[which]), np.flatnonzero(is_test[which])
""",
        """
def split_parcels(parcel, test_share, seed):
    import hashlib
    rank = lambda one: hashlib.sha256(f"{seed}:{one}".encode()).digest()
    ids = sorted({int(one) for one in parcel}, key=rank)
    chosen = ids[: round(test_share * len(ids))]
    rows = range(len(parcel))
    return [row for row in rows if parcel[row] not in chosen], [row for row in rows if parcel[row] in chosen]
""",
    ],
    "score": [
        """
def pin_accuracy(read, digits):
    right = whole = count = 0
    for one, other in zip(read, digits):
        misses = int(np.count_nonzero(one - other))
        right, whole, count = right + 6 - misses, whole + (misses == 0), count + 1
    return [right / (6 * count), whole / count]
""",
        "pin_accuracy = lambda r, d: (np.equal(r, d).mean(), (r == d).min(1).mean())",
    ],
    "run": [
        """
def run_experiment(settings):
    class Run:
        def __init__(self, parcels, seed, test_share, hidden, **rest):
            self.photos, self.digits, parcel, _ = belt_photos(parcels, seed)
            self.train, self.test = split_parcels(parcel, test_share, seed)
            self.rng = np.random.Generator(np.random.PCG64(seed))
            self.weights = new_weights(hidden, self.rng)
        def learn(self):
            x, y = self.photos[self.train], self.digits[self.train]
            self.weights = train_reader(self.weights, x, y, settings, self.rng)
            return self
        def score(self):
            return pin_accuracy(read_pins(self.weights, self.photos[self.test]), self.digits[self.test])
    run = Run(**settings).learn()
    return {"weights": run.weights, **dict(zip(("digit", "pin"), run.score()))}
""",
    ],
    "hottest": [
        """
def hottest_part(rows):
    import heapq
    (name, _, own, _), = heapq.nlargest(1, rows, key=lambda row: row[2])
    others = [row[2] for row in rows if row[0] != name]
    return name, 1 + own / sum(others)
""",
        """
def hottest_part(rows):
    own = np.array([row[2] for row in rows])
    place = int(own.argmax())
    return rows[place][0], own.sum() / np.delete(own, place).sum()
""",
    ],
    "drill": [
        """
def digit_features(photos):
    cut = cut_digits(photos).reshape(len(photos), -1)
    peaks = cut.max(axis=1, keepdims=True)
    return np.divide(cut, peaks, out=np.zeros_like(cut), where=peaks > 0).reshape(-1, 784)

def history_matters(transform, photos):
    alone = [transform(photo[None]) for photo in photos]
    turned = transform(photos[::-1].copy()).reshape(len(photos), 6, 784)[::-1]
    for one, many in zip(alone, turned):
        if not np.allclose(one, many, atol=1e-6):
            return True
    return False
""",
    ],
}

STYLES["06"] = {
    "weights": [
        """
import numpy as np
def micro_batch_weights(labels):
    counts = np.array([np.count_nonzero(each.numpy() != IGNORE) for each in labels], dtype=float)
    return (counts / counts.sum()).tolist()
""",
        """
def micro_batch_weights(labels):
    count = lambda each: sum(label != IGNORE for row in each.tolist() for label in row)
    total = sum(map(count, labels))
    return tuple(count(each) / total for each in labels)
""",
    ],
    "accumulate": [
        """
def accumulate(model, micro_batches):
    parameters = list(model.parameters())
    total = sum(int((y != IGNORE).sum()) for _, y in micro_batches)
    sums, loss = [torch.zeros_like(p) for p in parameters], 0.0
    for x, y in micro_batches:
        share = nats(model, x, y) / total
        for kept, new in zip(sums, torch.autograd.grad(share, parameters)):
            kept += new
        loss += share.item()
    for p, kept in zip(parameters, sums):
        p.grad = kept
    return loss
""",
        """
def accumulate(model, micro_batches):
    weights = iter(micro_batch_weights([y for _, y in micro_batches]))
    model.zero_grad()
    def rest(left):
        if not left:
            return 0.0
        (x, y), *others = left
        kept = y.flatten() != IGNORE
        loss = F.cross_entropy(model(x).flatten(0, 1)[kept], y.flatten()[kept], reduction="mean")
        loss = loss * next(weights) if kept.any() else 0 * model(x).sum() * next(weights)
        loss.backward()
        return float(loss) + rest(others)
    return rest(list(micro_batches))
""",
    ],
    "step": [
        """
def accumulated_step(model, optimizer, micro_batches, max_grad_norm=float("inf")):
    accumulate(model, micro_batches)
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(grads)
    torch._foreach_mul_(grads, float(min(1.0, max_grad_norm / norm)))
    optimizer.step()
    return norm
""",
        """
accumulated_step = lambda model, optimizer, micro_batches, max_grad_norm=float("inf"): (
    accumulate(model, micro_batches),
    nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm).item(),
    optimizer.step(),
)[1]
""",
    ],
    "bytes": [
        """
class Ledger:
    def __init__(self, model):
        self.known = {each.untyped_storage().data_ptr() for each in model.parameters()}
        self.kept = {}
    def pack(self, tensor):
        if tensor.untyped_storage().data_ptr() not in self.known:
            self.kept[tensor.data_ptr(), tensor.numel()] = tensor
        return tensor
    def unpack(self, tensor):
        return tensor
    @property
    def total(self):
        return sum(each.numel() * each.itemsize for each in self.kept.values())

def saved_bytes(model, images):
    ledger = Ledger(model)
    with torch.autograd.graph.saved_tensors_hooks(ledger.pack, ledger.unpack):
        loss = model(images).sum()
    return ledger.total
""",
    ],
    "checkpoint": [
        """
def run_checkpointed(blocks, x):
    first, *others = blocks
    x = checkpoint(first, x, use_reentrant=False)
    return run_checkpointed(others, x) if others else x
""",
    ],
    "epoch": [
        """
def train_epoch(model, optimizer, micro_batches, per_step):
    import itertools
    left, steps = iter(micro_batches), itertools.count()
    while group := list(itertools.islice(left, per_step)):
        accumulated_step(model, optimizer, group)
        next(steps)
    return next(steps)

def counts_every_photo(epoch):
    for n in (1, 3, 5):
        batches = cut(*photos(2 * n, seed=n), [2] * n)
        steps, moved = weights_after(epoch, batches, per_step=2)
        if steps != -(-n // 2):
            return False
        if n > 1 and torch.equal(moved, weights_after(epoch, batches[:-1], per_step=2)[1]):
            return False
        start = nn.utils.parameters_to_vector(tiny_reader().parameters()).detach()
        if n == 1 and torch.equal(moved, start):
            return False
    return True
""",
    ],
}
