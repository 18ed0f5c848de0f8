"""Trial answers of lab 06: right in several styles, wrong in the ways that are often seen."""

from scalelab.grading.trials import Task

WEIGHTS = Task(
    right=[
        """
def micro_batch_weights(labels):
    counts = [(each != IGNORE).sum().item() for each in labels]
    total = sum(counts)
    return [count / total for count in counts]
""",
        """
def micro_batch_weights(labels):
    counts = torch.stack([torch.count_nonzero(each.ne(-100)) for each in labels]).double()
    return counts / counts.sum()
""",
    ],
    wrong={
        "equal-shares": """
def micro_batch_weights(labels):
    return [1 / len(labels)] * len(labels)
""",
        "counts-images": """
def micro_batch_weights(labels):
    total = sum(len(each) for each in labels)
    return [len(each) / total for each in labels]
""",
        "inverse-shares": """
def micro_batch_weights(labels):
    inverse = [1 / int((each != IGNORE).sum()) for each in labels]
    return [value / sum(inverse) for value in inverse]
""",
        "not-shares": """
def micro_batch_weights(labels):
    return [int((each != IGNORE).sum()) for each in labels]
""",
        "wrong-number": """
def micro_batch_weights(labels):
    return [int((each != IGNORE).sum()) / each.numel() for each in labels[:-1]]
""",
        "wrong-weights": """
def micro_batch_weights(labels):
    shares = [float((each != IGNORE).float().mean()) for each in labels]
    return [share / sum(shares) for share in shares]
""",
    },
    crashing="""
def micro_batch_weights(labels):
    return (labels != IGNORE).sum() / len(labels)
""",
)

ACCUMULATE = Task(
    right=[
        """
def accumulate(model, micro_batches):
    total = sum((labels != IGNORE).sum().item() for _, labels in micro_batches)
    for p in model.parameters():
        p.grad = None
    losses = []
    for photos_B, labels_B in micro_batches:
        loss = nats(model, photos_B, labels_B) / total
        loss.backward()
        losses.append(float(loss.detach()))
    return sum(losses)
""",
        """
def accumulate(model, micro_batches):
    model.zero_grad(set_to_none=False)
    seen, nats_so_far = 0, 0.0
    for x, y in micro_batches:
        value = nats(model, x, y)
        value.backward()
        seen += int((y != IGNORE).sum())
        nats_so_far += value.item()
    for p in model.parameters():
        p.grad /= seen
    return nats_so_far / seen
""",
        """
def accumulate(model, micro_batches):
    weights = micro_batch_weights([y for _, y in micro_batches])
    model.zero_grad()
    mean_loss = torch.zeros(())
    for weight, (x, y) in zip(weights, micro_batches):
        mean = F.cross_entropy(model(x).reshape(-1, 10), y.reshape(-1), ignore_index=IGNORE)
        (weight * mean).backward()
        mean_loss += weight * mean.detach()
    return mean_loss
""",
    ],
    wrong={
        "divides-by-steps": """
def accumulate(model, micro_batches):
    model.zero_grad()
    loss = 0.0
    for x, y in micro_batches:
        mean = nats(model, x, y) / (y != IGNORE).sum() / len(micro_batches)
        mean.backward()
        loss += mean.item()
    return loss
""",
        "weighs-photos": """
def accumulate(model, micro_batches):
    model.zero_grad()
    photos_in_all, loss = sum(len(x) for x, _ in micro_batches), 0.0
    for x, y in micro_batches:
        mean = nats(model, x, y) / (y != IGNORE).sum() * len(x) / photos_in_all
        mean.backward()
        loss += mean.item()
    return loss
""",
        "sum-of-means": """
def accumulate(model, micro_batches):
    model.zero_grad()
    loss = 0.0
    for x, y in micro_batches:
        mean = nats(model, x, y) / (y != IGNORE).sum()
        mean.backward()
        loss += mean.item()
    return loss / len(micro_batches)
""",
        "sum-not-mean": """
def accumulate(model, micro_batches):
    model.zero_grad()
    loss = 0.0
    for x, y in micro_batches:
        value = nats(model, x, y)
        value.backward()
        loss += value.item()
    return loss
""",
        "only-the-last": """
def accumulate(model, micro_batches):
    total = sum(int((y != IGNORE).sum()) for _, y in micro_batches)
    loss = 0.0
    for x, y in micro_batches:
        model.zero_grad()
        share = nats(model, x, y) / total
        share.backward()
        loss += share.item()
    return loss
""",
        "old-gradient-stays": """
def accumulate(model, micro_batches):
    total = sum(int((y != IGNORE).sum()) for _, y in micro_batches)
    loss = 0.0
    for x, y in micro_batches:
        share = nats(model, x, y) / total
        share.backward()
        loss += share.item()
    return loss
""",
        "graphs-pile-up": """
def accumulate(model, micro_batches):
    total = sum(int((y != IGNORE).sum()) for _, y in micro_batches)
    model.zero_grad()
    loss = sum(nats(model, x, y) for x, y in micro_batches) / total
    loss.backward()
    return loss.item()
""",
        "one-big-batch": """
def accumulate(model, micro_batches):
    x = torch.cat([x for x, _ in micro_batches])
    y = torch.cat([y for _, y in micro_batches])
    model.zero_grad()
    loss = nats(model, x, y) / (y != IGNORE).sum()
    loss.backward()
    return loss.item()
""",
        "wrong-gradient": """
def accumulate(model, micro_batches):
    total = sum(y.numel() for _, y in micro_batches)
    model.zero_grad()
    loss = 0.0
    for x, y in micro_batches:
        share = nats(model, x, y) / total
        share.backward()
        loss += share.item()
    return loss
""",
        "mode-changed": """
def accumulate(model, micro_batches):
    total = sum(int((y != IGNORE).sum()) for _, y in micro_batches)
    model.train()
    model.zero_grad()
    loss = 0.0
    for x, y in micro_batches:
        share = nats(model, x, y) / total
        share.backward()
        loss += share.item()
    model.eval()
    return loss
""",
        "steps-already": """
def accumulate(model, micro_batches):
    from scalelab.train import accumulate_step
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    optimizer.zero_grad()
    return accumulate_step(model, optimizer, micro_batches).loss
""",
        "moves-weights": """
def accumulate(model, micro_batches):
    total = sum(int((y != IGNORE).sum()) for _, y in micro_batches)
    model.zero_grad()
    loss = 0.0
    for x, y in micro_batches:
        share = nats(model, x, y) / total
        share.backward()
        loss += share.item()
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.1 * p.grad
    return loss
""",
        "wrong-loss": """
def accumulate(model, micro_batches):
    total = sum(int((y != IGNORE).sum()) for _, y in micro_batches)
    model.zero_grad()
    for x, y in micro_batches:
        share = nats(model, x, y) / total
        share.backward()
    return share.item()
""",
    },
    crashing="""
def accumulate(model, micro_batches):
    model.zero_grad()
    loss = nats(model, micro_batches)
    loss.backward()
    return loss
""",
)

STEP_RIGHT = """
def accumulated_step(model, optimizer, micro_batches, max_grad_norm=float("inf")):
    accumulate(model, micro_batches)
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
    optimizer.step()
    return norm
"""

STEP = Task(
    right=[
        STEP_RIGHT,
        """
def accumulated_step(model, optimizer, micro_batches, max_grad_norm=float("inf")):
    accumulate(model, micro_batches)
    length = flat_gradient(model).norm().item()
    if length > max_grad_norm:
        for p in model.parameters():
            p.grad.mul_(max_grad_norm / length)
    optimizer.step()
    optimizer.zero_grad()
    return length
""",
    ],
    wrong={
        "accumulate-first": ACCUMULATE.wrong["weighs-photos"] + STEP_RIGHT,
        "not-clipped": """
def accumulated_step(model, optimizer, micro_batches, max_grad_norm=float("inf")):
    accumulate(model, micro_batches)
    optimizer.step()
    return float(flat_gradient(model).norm())
""",
        "clips-after-step": """
def accumulated_step(model, optimizer, micro_batches, max_grad_norm=float("inf")):
    accumulate(model, micro_batches)
    optimizer.step()
    return float(nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm))
""",
        "cleared-before-step": """
def accumulated_step(model, optimizer, micro_batches, max_grad_norm=float("inf")):
    accumulate(model, micro_batches)
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
    optimizer.zero_grad()
    optimizer.step()
    return norm
""",
        "clips-values": """
def accumulated_step(model, optimizer, micro_batches, max_grad_norm=float("inf")):
    accumulate(model, micro_batches)
    norm = float(flat_gradient(model).norm())
    nn.utils.clip_grad_value_(model.parameters(), max_grad_norm)
    optimizer.step()
    return norm
""",
        "clips-each": """
def accumulated_step(model, optimizer, micro_batches, max_grad_norm=float("inf")):
    total = sum(int((y != IGNORE).sum()) for _, y in micro_batches)
    model.zero_grad()
    for x, y in micro_batches:
        (nats(model, x, y) / total).backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
    optimizer.step()
    return float(norm)
""",
        "steps-each": """
def accumulated_step(model, optimizer, micro_batches, max_grad_norm=float("inf")):
    for micro_batch in micro_batches:
        accumulate(model, [micro_batch])
        norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        optimizer.step()
    return float(norm)
""",
        "wrong-norm": """
def accumulated_step(model, optimizer, micro_batches, max_grad_norm=float("inf")):
    loss = accumulate(model, micro_batches)
    nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
    optimizer.step()
    return float(flat_gradient(model).norm())
""",
    },
    crashing="""
def accumulated_step(model, optimizer, micro_batches, max_grad_norm=float("inf")):
    accumulate(model, micro_batches)
    norm = nn.utils.clip_grad_norm_(model, max_grad_norm)
    optimizer.step()
    return norm
""",
)

BYTES = Task(
    right=[
        """
def saved_bytes(model, images):
    own = [*model.parameters(), *model.buffers()]
    weights = {each.untyped_storage().data_ptr() for each in own}
    kept = []

    def pack(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = model(images)
    sizes = {
        each.data_ptr(): each.nbytes for each in kept if each.untyped_storage().data_ptr() not in weights
    }
    return sum(sizes.values())
""",
        """
def saved_bytes(model, images):
    total, seen, alive = 0, set(), []
    skip = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def pack(tensor):
        nonlocal total
        alive.append(tensor)
        key = (tensor.data_ptr(), tensor.nbytes)
        if key not in seen and tensor.untyped_storage().data_ptr() not in skip:
            seen.add(key)
            total += tensor.nelement() * tensor.element_size()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks:
        model(images)
    return total
""",
    ],
    wrong={
        "counts-weights": """
def saved_bytes(model, images):
    kept = {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(images)
    return sum(tensor.numel() * tensor.element_size() for tensor in kept.values())
""",
        "counts-twice": """
def saved_bytes(model, images):
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    total = 0

    def pack(tensor):
        nonlocal total
        if tensor.untyped_storage().data_ptr() not in weights:
            total += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(images)
    return total
""",
        "whole-storage": """
def saved_bytes(model, images):
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(images)
    return sum(storage.nbytes() for storage in kept.values())
""",
        "counts-numbers": """
def saved_bytes(model, images):
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def pack(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(images)
    return sum(tensor.numel() for tensor in kept.values())
""",
        "assumes-float32": """
def saved_bytes(model, images):
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def pack(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(images)
    return sum(4 * tensor.numel() for tensor in kept.values())
""",
        "every-output": """
def saved_bytes(model, images):
    total = 0
    for layer in model:
        images = layer(images)
        total += images.numel() * images.element_size()
    return total
""",
        "wrong-bytes": """
def saved_bytes(model, images):
    return images.numel() * images.element_size()
""",
    },
    crashing="""
def saved_bytes(model, images):
    with torch.autograd.graph.saved_tensors_hooks() as kept:
        model(images)
    return sum(tensor.nbytes for tensor in kept)
""",
)

CHECKPOINT = Task(
    right=[
        """
def run_checkpointed(blocks, x):
    for each in blocks:
        x = checkpoint(each, x, use_reentrant=False, preserve_rng_state=True)
    return x
""",
        """
def run_checkpointed(blocks, x):
    import functools
    return functools.reduce(lambda y, block: checkpoint(block, y, use_reentrant=False), blocks, x)
""",
        """
def run_checkpointed(blocks, x):
    from torch.utils.checkpoint import checkpoint_sequential
    open_ended = [*blocks, nn.Identity()]  # the last segment is never checkpointed
    return checkpoint_sequential(open_ended, len(open_ended), x, use_reentrant=False)
""",
    ],
    wrong={
        "nothing-recomputed": """
def run_checkpointed(blocks, x):
    for block in blocks:
        x = block(x)
    return x
""",
        "no-gradient": """
def run_checkpointed(blocks, x):
    with torch.no_grad():
        for block in blocks[:-1]:
            x = block(x)
    return checkpoint(blocks[-1], x, use_reentrant=False)
""",
        "one-segment": """
def run_checkpointed(blocks, x):
    return checkpoint(nn.Sequential(*blocks), x, use_reentrant=False)
""",
        "reentrant-form": """
def run_checkpointed(blocks, x):
    for block in blocks:
        x = checkpoint(block, x)
    return x
""",
        "other-dropout": """
def run_checkpointed(blocks, x):
    for block in blocks:
        x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
    return x
""",
        "some-blocks-kept": """
def run_checkpointed(blocks, x):
    for number, block in enumerate(blocks):
        x = checkpoint(block, x, use_reentrant=False) if number % 2 else block(x)
    return x
""",
        "other-output": """
def run_checkpointed(blocks, x):
    for block in reversed(list(blocks)):
        x = checkpoint(block, x, use_reentrant=False)
    return x
""",
    },
    crashing="""
def run_checkpointed(blocks, x):
    return checkpoint(blocks, x, use_reentrant=False)
""",
)

GUARD = """
def counts_every_photo(epoch):
    few = cut(*photos(9, seed=4), [3, 3, 3])
    steps, moved = weights_after(epoch, few, per_step=2)
    _, without = weights_after(epoch, few[:2], per_step=2)
    return steps == 2 and not torch.equal(moved, without)
"""
EPOCH_RIGHT = """
def train_epoch(model, optimizer, micro_batches, per_step):
    starts = range(0, len(micro_batches), per_step)
    for start in starts:
        accumulated_step(model, optimizer, micro_batches[start : start + per_step])
    return len(starts)
"""
GROUPS_BY_HAND = """
def train_epoch(model, optimizer, micro_batches, per_step):
    steps = 0
    for first in range(0, len(micro_batches), per_step):
        group = micro_batches[first : first + per_step]
        optimizer.zero_grad()
        for x, y in group:
            (nats(model, x, y) / (y != IGNORE).sum() / DIVISOR).backward()
        optimizer.step()
        steps += 1
    return steps
"""

EPOCH = Task(
    right=[
        EPOCH_RIGHT + GUARD,
        """
def train_epoch(model, optimizer, micro_batches, per_step):
    waiting, steps = [], 0
    for micro_batch in micro_batches:
        waiting.append(micro_batch)
        if len(waiting) == per_step:
            accumulated_step(model, optimizer, waiting)
            waiting, steps = [], steps + 1
    if waiting:
        accumulated_step(model, optimizer, waiting)
        steps += 1
    return steps

def counts_every_photo(epoch):
    model = tiny_reader(5)
    before = nn.utils.parameters_to_vector(model.parameters()).clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    took = epoch(model, optimizer, [photos(4, seed=1)], 2)
    after = nn.utils.parameters_to_vector(model.parameters())
    return took == 1 and bool((after != before).any())
""",
    ],
    wrong={
        "leftover-dropped": """
def train_epoch(model, optimizer, micro_batches, per_step):
    return common_epoch(model, optimizer, micro_batches, per_step)
"""
        + GUARD,
        "leftover-diluted": GROUPS_BY_HAND.replace("DIVISOR", "per_step") + GUARD,
        "epoch-by-steps": GROUPS_BY_HAND.replace("DIVISOR", "len(group)") + GUARD,
        "wrong-steps": """
def train_epoch(model, optimizer, micro_batches, per_step):
    for micro_batch in micro_batches:
        accumulated_step(model, optimizer, [micro_batch])
    return len(micro_batches)
"""
        + GUARD,
        "wrong-epoch": """
def train_epoch(model, optimizer, micro_batches, per_step):
    starts = range(0, len(micro_batches), per_step)
    for start in starts:
        accumulated_step(model, optimizer, micro_batches[: start + per_step])
    return len(starts)
"""
        + GUARD,
        "wrong-count": EPOCH_RIGHT.replace(
            "return len(starts)", "return len(micro_batches) // per_step"
        )
        + GUARD,
        "guard-misses": EPOCH_RIGHT
        + """
def counts_every_photo(epoch):
    steps, _ = weights_after(epoch, cut(*photos(12, seed=4), [3, 3, 3, 3]), per_step=2)
    return steps == 2
""",
        "guard-counts-steps": EPOCH_RIGHT
        + """
def counts_every_photo(epoch):
    steps, _ = weights_after(epoch, cut(*photos(9, seed=4), [3, 3, 3]), per_step=2)
    return steps == 2
""",
        "guard-blames-the-right": EPOCH_RIGHT
        + """
def counts_every_photo(epoch):
    steps, _ = weights_after(epoch, cut(*photos(9, seed=4), [3, 3, 3]), per_step=2)
    return steps == 3
""",
        "no-yes-or-no": EPOCH_RIGHT
        + """
def counts_every_photo(epoch):
    return weights_after(epoch, cut(*photos(9, seed=4), [3, 3, 3]), per_step=2)
""",
    },
    crashing="""
def train_epoch(model, optimizer, micro_batches, per_step):
    for group in micro_batches.chunk(per_step):
        accumulated_step(model, optimizer, group)
"""
    + GUARD,
)

ANSWERS = {
    "weights": WEIGHTS,
    "accumulate": ACCUMULATE,
    "step": STEP,
    "bytes": BYTES,
    "checkpoint": CHECKPOINT,
    "epoch": EPOCH,
}
