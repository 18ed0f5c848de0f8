"""Trial answers of lab 10: right in several styles, wrong in the ways that are often seen."""

from scalelab.grading.trials import Task


def changed(source: str, *changes: tuple[str, str]) -> str:
    """Return an answer with pieces of its text replaced, each of which is there."""
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    return source


MASK_BY_ORDER = """
def magnitude_masks(weights, sparsity):
    prunable = {name: w.detach() for name, w in weights.items() if w.dim() >= 2}
    flat = torch.cat([w.reshape(-1).abs() for w in prunable.values()])
    order = torch.argsort(flat)
    stays = torch.ones_like(flat, dtype=torch.bool)
    stays[order[: round(sparsity * flat.numel())]] = False
    masks, start = {}, 0
    for name, w in prunable.items():
        masks[name] = stays[start : start + w.numel()].view_as(w)
        start += w.numel()
    return masks
"""
MASK_BY_SIZE = """
def magnitude_masks(weights, sparsity):
    prunable = {name: w for name, w in weights.items() if w.ndim > 1}
    sizes = torch.cat([w.abs().flatten() for w in prunable.values()])
    edge = sizes.sort().values[round(sparsity * len(sizes)) - 1]
    return {name: w.abs() > edge for name, w in prunable.items()}
"""

MASK = Task(
    right=[
        MASK_BY_ORDER,
        """
def magnitude_masks(weights, sparsity):
    masks = {name: torch.ones(w.shape, dtype=torch.bool) for name, w in weights.items() if w.ndim > 1}
    places = [(abs(value), name, at) for name in masks
              for at, value in enumerate(weights[name].flatten().tolist())]
    for _, name, at in sorted(places)[: round(sparsity * len(places))]:
        masks[name].view(-1)[at] = False
    return masks
""",
        """
def magnitude_masks(weights, sparsity):
    names = [name for name in weights if weights[name].ndim > 1]
    vector = nn.utils.parameters_to_vector([weights[name].detach().abs() for name in names])
    gone = round(sparsity * len(vector))
    mask = torch.ones(len(vector))
    mask[vector.topk(gone, largest=False).indices] = 0
    like = [weights[name].detach().clone() for name in names]
    nn.utils.vector_to_parameters(mask, like)
    return {name: each.bool() for name, each in zip(names, like)}
""",
    ],
    wrong={
        "per-layer": """
def magnitude_masks(weights, sparsity):
    masks = {}
    for name, w in weights.items():
        if w.ndim > 1:
            mask = torch.ones(w.numel(), dtype=torch.bool)
            mask[w.abs().flatten().argsort()[: round(sparsity * w.numel())]] = False
            masks[name] = mask.view(w.shape)
    return masks
""",
        "ties-dropped": MASK_BY_SIZE,
        "ties-kept": MASK_BY_SIZE.replace("> edge", ">= edge"),
        "mask-inverted": changed(
            MASK_BY_ORDER,
            ("torch.ones_like", "torch.zeros_like"),
            ("] = False", "] = True"),
        ),
        "signed-order": MASK_BY_ORDER.replace("w.reshape(-1).abs()", "w.reshape(-1)"),
        "not-the-smallest": MASK_BY_ORDER.replace(
            "torch.argsort(flat)", "torch.argsort(flat, descending=True)"
        ),
        "prunes-biases": MASK_BY_ORDER.replace(" if w.dim() >= 2", ""),
        "mask-missing": MASK_BY_ORDER.replace("w.dim() >= 2", "w.dim() == 2"),
        "wrong-count": MASK_BY_ORDER.replace("round(sparsity", "int(sparsity"),
        "mask-shape": MASK_BY_ORDER.replace(".view_as(w)", ""),
        "no-mask": MASK_BY_ORDER.replace(".view_as(w)", ".view_as(w) * w"),
        "no-dict": MASK_BY_ORDER.replace("return masks", "return list(masks.values())"),
    },
    crashing="""
def magnitude_masks(weights, sparsity):
    sizes = torch.cat([w.abs() for w in weights.values()])
    return sizes > sizes.quantile(sparsity)
""",
)

STORED = """
def stored_bytes(weight):
    size, full = weight.element_size(), int(torch.count_nonzero(weight))
    packed = gzip.compress(weight.contiguous().numpy().tobytes(), 6)
    return {
        "dense": weight.numel() * size,
        "gzip": len(packed),
        "sparse": full * size + full * 4 + (len(weight) + 1) * 4,
    }
"""

BYTES = Task(
    right=[
        STORED,
        """
def stored_bytes(weight):
    import warnings, zlib
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its own CSR a beta
        csr = weight.to_sparse_csr()
    parts = [csr.values(), csr.col_indices().int(), csr.crow_indices().int()]
    raw = weight.numpy().tobytes()
    return {"dense": len(raw), "gzip": len(zlib.compress(raw)), "sparse": sum(p.nbytes for p in parts)}
""",
        """
def stored_bytes(weight):
    import numpy as np
    array = weight.numpy()
    values = array[array != 0]
    columns = np.nonzero(array)[1].astype(np.int32)
    begins = np.concatenate([[0], np.cumsum((array != 0).sum(axis=1))]).astype(np.int32)
    return dict(dense=array.nbytes, gzip=len(gzip.compress(array.tobytes())),
                sparse=values.nbytes + columns.nbytes + begins.nbytes)
""",
    ],
    wrong={
        "counts-numbers": STORED.replace("weight.numel() * size", "weight.numel()"),
        "assumes-float32": STORED.replace("weight.numel() * size", "weight.numel() * 4"),
        "zeros-are-free": STORED.replace("weight.numel() * size", "full * size"),
        "values-alone": STORED.replace(" + full * 4 + (len(weight) + 1) * 4", ""),
        "rows-forgotten": STORED.replace(" + (len(weight) + 1) * 4", ""),
        "last-row-open": STORED.replace("(len(weight) + 1)", "len(weight)"),
        "two-indices": STORED.replace("full * 4 + (len(weight) + 1) * 4", "full * 8"),
        "wide-indices": STORED.replace(
            "full * 4 + (len(weight) + 1) * 4", "full * 8 + (len(weight) + 1) * 8"
        ),
        "index-for-zeros": STORED.replace(
            "int(torch.count_nonzero(weight))", "weight.numel()"
        ),
        "wrong-dense": STORED.replace("weight.numel() * size", "weight.numel() * size + 128"),
        "wrong-sparse": STORED.replace("(len(weight) + 1)", "(weight.shape[1] + 1)"),
        "wrong-gzip": STORED.replace(
            "len(packed)", "len(weight.contiguous().numpy().tobytes())"
        ),
        "key-missing": STORED.replace('"sparse":', '"csr":'),
        "no-counts": """
def stored_bytes(weight):
    return weight.nbytes, len(gzip.compress(weight.numpy().tobytes())), 0
""",
    },
    crashing="""
def stored_bytes(weight):
    return {"dense": weight.nbytes, "gzip": len(gzip.compress(weight)), "sparse": weight.to_csr().nbytes}
""",
)

CHANNELS_BY_COPY = """
def keep_channels(conv, norm, after, keep):
    conv, norm, after = copy.deepcopy(conv), copy.deepcopy(norm), copy.deepcopy(after)
    columns = list(keep)
    if isinstance(after, nn.Linear):
        each = after.weight.shape[1] // conv.weight.shape[0]
        columns = [c * each + p for c in keep for p in range(each)]
        after.in_features = len(columns)
    else:
        after.in_channels = len(keep)
    conv.out_channels = norm.num_features = len(keep)
    conv.weight = nn.Parameter(conv.weight.detach()[keep])
    if conv.bias is not None:
        conv.bias = nn.Parameter(conv.bias.detach()[keep])
    norm.weight = nn.Parameter(norm.weight.detach()[keep])
    norm.bias = nn.Parameter(norm.bias.detach()[keep])
    norm.running_mean = norm.running_mean[keep]
    norm.running_var = norm.running_var[keep]
    after.weight = nn.Parameter(after.weight.detach()[:, columns])
    return conv, norm, after
"""
CHANNELS_ANEW = """
def keep_channels(conv, norm, after, keep):
    k, kind = len(keep), dict(dtype=conv.weight.dtype)
    new_conv = nn.Conv2d(conv.in_channels, k, conv.kernel_size, conv.stride, conv.padding,
                         conv.dilation, bias=conv.bias is not None, **kind)
    new_norm = nn.BatchNorm2d(k, eps=norm.eps, momentum=norm.momentum, **kind)
    with torch.no_grad():
        new_conv.weight.copy_(conv.weight[keep])
        if conv.bias is not None:
            new_conv.bias.copy_(conv.bias[keep])
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(new_norm, name).copy_(getattr(norm, name)[keep])
        if isinstance(after, nn.Linear):
            wide = after.weight.unflatten(1, (conv.out_channels, -1))[:, keep].flatten(1)
            new_after = nn.Linear(wide.shape[1], after.out_features, **kind)
            new_after.weight.copy_(wide)
        else:
            new_after = nn.Conv2d(k, after.out_channels, after.kernel_size, after.stride,
                                  after.padding, after.dilation, **kind)
            new_after.weight.copy_(after.weight[:, keep])
        new_after.bias.copy_(after.bias)
    return new_conv, new_norm, new_after
"""

CHANNELS = Task(
    right=[
        CHANNELS_BY_COPY,
        CHANNELS_ANEW.replace(
            "new_after.bias.copy_(after.bias)", "new_after.bias = after.bias and None"
        ).replace(
            "new_after.bias = after.bias and None",
            """if after.bias is None:
            new_after.bias = None
        else:
            new_after.bias.copy_(after.bias)""",
        ),
        """
def keep_channels(conv, norm, after, keep):
    layers = [copy.deepcopy(each) for each in (conv, norm, after)]
    for layer in layers[:2]:
        for part in [*layer.parameters(), *(b for b in layer.buffers() if b.ndim)]:
            part.data = part.data.index_select(0, torch.tensor(keep))
    weight = layers[2].weight
    groups = weight.data.reshape(weight.shape[0], conv.out_channels, -1, *weight.shape[2:])
    weight.data = groups[:, keep].reshape(weight.shape[0], -1, *weight.shape[2:])
    return layers
""",
    ],
    wrong={
        "rows-left": """
def keep_channels(conv, norm, after, keep):
    conv = copy.deepcopy(conv)
    off = [c for c in range(conv.out_channels) if c not in keep]
    with torch.no_grad():
        conv.weight[off] = 0
    return conv, copy.deepcopy(norm), copy.deepcopy(after)
""",
        "norm-left": changed(
            CHANNELS_BY_COPY,
            ("    norm.running_mean = norm.running_mean[keep]\n", ""),
            ("    norm.running_var = norm.running_var[keep]\n", ""),
        ),
        "columns-left": CHANNELS_BY_COPY.replace(".detach()[:, columns]", ".detach()"),
        "one-column-a-channel": CHANNELS_BY_COPY.replace("[:, columns]", "[:, keep]"),
        "columns-interleaved": CHANNELS_BY_COPY.replace(
            "[c * each + p for c in keep for p in range(each)]",
            "[c + p * norm.num_features for p in range(each) for c in keep]",
        ),
        "statistics-forgotten": CHANNELS_ANEW.replace(', "running_mean", "running_var"', ""),
        "norm-of-others": CHANNELS_ANEW.replace('"weight", "bias", ', ""),
        "rows-of-others": CHANNELS_BY_COPY.replace(
            "conv.weight.detach()[keep]", "conv.weight.detach()[: len(keep)]"
        ),
        "columns-of-others": CHANNELS_BY_COPY.replace("[:, columns]", "[:, : len(columns)]"),
        "settings-lost": CHANNELS_ANEW.replace(" conv.stride,", ""),
        "bias-lost": CHANNELS_ANEW.replace("        new_after.bias.copy_(after.bias)\n", ""),
        "changes-the-old": CHANNELS_BY_COPY.replace(
            "copy.deepcopy(conv), copy.deepcopy(norm), copy.deepcopy(after)",
            "conv, norm, after",
        ),
        "no-three-layers": CHANNELS_BY_COPY.replace(
            "return conv, norm, after", "return nn.Sequential(conv, norm, nn.ReLU(), after)"
        ),
    },
    crashing="""
def keep_channels(conv, norm, after, keep):
    return conv[keep], norm[keep], after[:, keep]
""",
)

LOSS_FLAT = """
def distillation_loss(student, teacher, labels, temperature, alpha):
    s, t, y = student.reshape(-1, 10), teacher.detach().reshape(-1, 10), labels.reshape(-1)
    soft = F.kl_div(F.log_softmax(s / temperature, dim=1), F.softmax(t / temperature, dim=1),
                    reduction="batchmean") * temperature**2
    hard = F.cross_entropy(s, y, ignore_index=IGNORE) if (y != IGNORE).any() else 0.0
    return alpha * soft + (1 - alpha) * hard
"""
BATCHMEAN = """
def distillation_loss(student, teacher, labels, temperature, alpha):
    own = F.log_softmax(student / temperature, dim=-1)
    soft = F.softmax(teacher.detach() / temperature, dim=-1)
    loss = alpha * temperature**2 * F.kl_div(own, soft, reduction="batchmean")
    if (labels != IGNORE).any():
        hard = F.cross_entropy(student.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
        loss = loss + (1 - alpha) * hard
    return loss
"""

LOSS = Task(
    right=[
        LOSS_FLAT,
        """
def distillation_loss(student, teacher, labels, temperature, alpha):
    with torch.no_grad():
        p = (teacher / temperature).softmax(-1)
        log_p = (teacher / temperature).log_softmax(-1)
    log_q = (student / temperature).log_softmax(-1)
    kl = (p * (log_p - log_q)).sum(-1).mean()
    labelled = labels != IGNORE
    ce = F.cross_entropy(student[labelled], labels[labelled], reduction="sum") / max(1, int(labelled.sum()))
    return alpha * temperature**2 * kl + (1 - alpha) * ce
""",
        """
def distillation_loss(student, teacher, labels, temperature, alpha):
    own = torch.log_softmax(student / temperature, -1)
    soft = torch.log_softmax(teacher.detach() / temperature, -1)
    part = F.kl_div(own, soft, reduction="sum", log_target=True) / labels.numel()
    part = part * temperature * temperature
    nats = F.cross_entropy(student.transpose(1, 2), labels, ignore_index=IGNORE, reduction="none")
    count = (labels != IGNORE).sum().clamp(min=1)
    return torch.lerp(nats.sum() / count, part, alpha)
""",
    ],
    wrong={
        "no-square": LOSS_FLAT.replace(" * temperature**2", ""),
        "square-once": LOSS_FLAT.replace("temperature**2", "temperature"),
        "batchmean-of-photos": BATCHMEAN,
        "mean-of-classes": LOSS_FLAT.replace(
            'reduction="batchmean")', 'reduction="none").mean()'
        ),
        "kl-turned": LOSS_FLAT.replace(
            "F.log_softmax(s / temperature, dim=1), F.softmax(t / temperature, dim=1)",
            "F.log_softmax(t / temperature, dim=1), F.softmax(s / temperature, dim=1)",
        ),
        "soft-cross-entropy": """
def distillation_loss(student, teacher, labels, temperature, alpha):
    s, t, y = student.flatten(0, 1), teacher.detach().flatten(0, 1), labels.flatten()
    soft = F.cross_entropy(s / temperature, (t / temperature).softmax(1)) * temperature**2
    hard = F.cross_entropy(s, y, ignore_index=IGNORE) if (y != IGNORE).any() else 0.0
    return alpha * soft + (1 - alpha) * hard
""",
        "teacher-not-softened": LOSS_FLAT.replace("F.softmax(t / temperature", "F.softmax(t"),
        "student-not-softened": LOSS_FLAT.replace(
            "F.log_softmax(s / temperature", "F.log_softmax(s"
        ),
        "alpha-swapped": LOSS_FLAT.replace(
            "alpha * soft + (1 - alpha) * hard", "(1 - alpha) * soft + alpha * hard"
        ),
        "labels-forgotten": LOSS_FLAT.replace("(y != IGNORE).any()", "(y != IGNORE).all()"),
        "labels-softened": LOSS_FLAT.replace(
            "F.cross_entropy(s,", "F.cross_entropy(s / temperature,"
        ),
        "divides-by-all": LOSS_FLAT.replace(
            "F.cross_entropy(s, y, ignore_index=IGNORE)",
            'F.cross_entropy(s, y, ignore_index=IGNORE, reduction="sum") / len(y)',
        ),
        "nan-without-labels": LOSS_FLAT.replace(" if (y != IGNORE).any() else 0.0", ""),
        "teacher-taught": LOSS_FLAT.replace(".detach()", ""),
        "student-detached": LOSS_FLAT.replace(
            "return alpha * soft + (1 - alpha) * hard",
            "return (alpha * soft + (1 - alpha) * hard).detach()",
        ),
        "not-finite": LOSS_FLAT.replace(
            "F.softmax(t / temperature, dim=1)", "t / temperature"
        ),
        "wrong-gradient": LOSS_FLAT.replace(
            "F.log_softmax(s / temperature, dim=1)",
            "F.log_softmax(s.detach() / temperature, dim=1)",
        ).replace("else 0.0", "else 0.0 * s.sum()"),
        "wrong-loss": LOSS_FLAT.replace(
            "return alpha * soft + (1 - alpha) * hard", "return soft + hard"
        ),
    },
    crashing="""
def distillation_loss(student, teacher, labels, temperature, alpha):
    soft = F.kl_div(student / temperature, teacher / temperature, reduction="batch")
    return alpha * soft + (1 - alpha) * F.cross_entropy(student, labels)
""",
)

FRONT_PLAIN = """
def pareto_front(rows):
    kept = []
    for i, b in enumerate(rows):
        is_beaten = False
        for a in rows:
            as_good = a[0] <= b[0] and a[1] <= b[1] and a[2] >= b[2]
            better = a[0] < b[0] or a[1] < b[1] or a[2] > b[2]
            if as_good and better:
                is_beaten = True
        if not is_beaten:
            kept.append(i)
    return kept
"""

FRONT = Task(
    right=[
        FRONT_PLAIN,
        """
def pareto_front(rows):
    import numpy as np
    costs = np.array(rows, dtype=float).reshape(-1, 3) * [1, 1, -1]
    as_good = (costs[:, None] <= costs[None]).all(axis=2)
    better = (costs[:, None] < costs[None]).any(axis=2)
    return np.flatnonzero(~(as_good & better).any(axis=0)).tolist()
""",
        """
def pareto_front(rows):
    costs = {i: (row[0], row[1], -row[2]) for i, row in enumerate(rows)}
    front = []
    for i in sorted(costs, key=costs.get):  # whoever beats a row stands before it
        mine = costs[i]
        if not any(costs[j] != mine and all(x <= y for x, y in zip(costs[j], mine)) for j in front):
            front.append(i)
    return sorted(front)
""",
    ],
    wrong={
        "better-in-all": FRONT_PLAIN.replace("<=", "<").replace(">=", ">"),
        "accuracy-turned": FRONT_PLAIN.replace("a[2] >= b[2]", "a[2] <= b[2]").replace(
            "a[2] > b[2]", "a[2] < b[2]"
        ),
        "work-forgotten": FRONT_PLAIN.replace(" and a[1] <= b[1]", "").replace(
            " or a[1] < b[1]", ""
        ),
        "bytes-forgotten": FRONT_PLAIN.replace("a[0] <= b[0] and ", "").replace(
            "a[0] < b[0] or ", ""
        ),
        "accuracy-alone": """
def pareto_front(rows):
    best = max(row[2] for row in rows)
    return [i for i, row in enumerate(rows) if row[2] == best]
""",
        "the-beaten": FRONT_PLAIN.replace("if not is_beaten", "if is_beaten"),
        "returns-rows": FRONT_PLAIN.replace("kept.append(i)", "kept.append(b)"),
        "no-positions": FRONT_PLAIN.replace("kept.append(i)", "kept.append(str(i))"),
        "no-list": FRONT_PLAIN.replace("return kept", "return len(kept)"),
        "wrong-front": """
def pareto_front(rows):
    return [i for i, b in enumerate(rows)
            if not any(j != i and a[0] <= b[0] and a[1] <= b[1] and a[2] >= b[2] for j, a in enumerate(rows))]
""",
    },
    crashing="""
def pareto_front(rows):
    best = sorted(rows, key=lambda row: row.bytes)
    return [rows.index(row) for row in best]
""",
)

GUARD = """
def keeps_the_zeros(tune):
    model = tiny_reader(seed=3)
    masks = every_second(model)
    start = copy.deepcopy(model)
    tune(model, torch.optim.SGD(model.parameters(), lr=0.2), masks, [photos(4, seed=5), photos(4, seed=6)])
    moved = False
    for (name, new), old in zip(model.named_parameters(), start.parameters()):
        if name in masks:
            if new[~masks[name]].any():
                return False
            moved = moved or bool((new != old)[masks[name]].any())
    return moved
"""
TUNE_PLAIN = """
def tune_pruned(model, optimizer, masks, batches):
    weights = dict(model.named_parameters())
    for name in masks:
        weights[name].data *= masks[name]
    losses = []
    for images, labels in batches:
        optimizer.zero_grad()
        loss = label_loss(model, images, labels)
        loss.backward()
        optimizer.step()
        for name in masks:
            weights[name].data *= masks[name]
        losses.append(float(loss.detach()))
    return losses
"""
DROP_FIRST = "    for name in masks:\n        weights[name].data *= masks[name]\n    losses"
DROP_AFTER = "        for name in masks:\n            weights[name].data *= masks[name]\n"

TUNE = Task(
    right=[
        TUNE_PLAIN + GUARD,
        """
def tune_pruned(model, optimizer, masks, batches):
    held = [(p, ~masks[name]) for name, p in model.named_parameters() if name in masks]
    def clear(*_):
        with torch.no_grad():
            for p, gone in held:
                p[gone] = 0.0
    clear()
    losses = []
    handle = optimizer.register_step_post_hook(clear)
    for x, y in batches:
        optimizer.zero_grad()
        loss = label_loss(model, x, y)
        loss.backward()
        optimizer.step()
        losses += [loss.item()]
    handle.remove()
    return losses
"""
        + GUARD,
        """
def tune_pruned(model, optimizer, masks, batches):
    losses = []
    def hold():
        for name, weight in model.named_parameters():
            if name in masks:
                weight.data = torch.where(masks[name], weight.data, torch.zeros(()))
    for batch in batches:
        hold()
        optimizer.zero_grad(set_to_none=False)
        loss = label_loss(model, *batch)
        loss.backward()
        for name, weight in model.named_parameters():
            if name in masks:
                weight.grad *= masks[name]
        optimizer.step()
        losses = [*losses, loss.item()]
    hold()
    return losses

def keeps_the_zeros(tune):
    model = tiny_reader()
    masks = every_second(model)
    weights = {name: p for name, p in model.named_parameters() if name in masks}
    old = {name: p.detach().clone() for name, p in weights.items()}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    tune(model, optimizer, masks, [photos(6, seed=1)])
    zeros = sum(int((p[~masks[name]] != 0).sum()) for name, p in weights.items())
    return zeros == 0 and not all(torch.equal(p * masks[name], old[name] * masks[name])
                                  for name, p in weights.items())
""",
    ],
    wrong={
        "zeros-grow-back": TUNE_PLAIN.replace(DROP_AFTER, "") + GUARD,
        "dense-at-first": TUNE_PLAIN.replace(DROP_FIRST, "    losses") + GUARD,
        "wrong-steps": TUNE_PLAIN.replace("in batches:", "in batches[:-1]:") + GUARD,
        "wrong-weights": TUNE_PLAIN.replace(
            "    losses = []", "    losses = []\n    model.eval()"
        )
        + GUARD,
        "wrong-losses": TUNE_PLAIN.replace(
            "float(loss.detach())", "float(loss.detach()) / len(images)"
        )
        + GUARD,
        "guard-misses": TUNE_PLAIN
        + """
def keeps_the_zeros(tune):
    model = tiny_reader()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = tune(model, optimizer, every_second(model), [photos(4, seed=1)] * 3)
    return losses[-1] < losses[0]
""",
        "guard-counts-zeros": TUNE_PLAIN
        + """
def keeps_the_zeros(tune):
    model = tiny_reader()
    tune(model, torch.optim.SGD(model.parameters(), lr=0.1), every_second(model), [photos(4, seed=1)] * 3)
    return share_of_zeros(model) > 0.49
""",
        "guard-one-layer": TUNE_PLAIN
        + """
def keeps_the_zeros(tune):
    model = tiny_reader()
    masks = every_second(model)
    before = model.stem[0].weight.detach().clone()
    tune(model, torch.optim.SGD(model.parameters(), lr=0.1), masks, [photos(4, seed=1)] * 3)
    weight, mask = model.stem[0].weight, masks["stem.0.weight"]
    return not weight[~mask].any() and not torch.equal(weight[mask], before[mask])
""",
        "guard-lets-idle": TUNE_PLAIN
        + """
def keeps_the_zeros(tune):
    model = tiny_reader()
    masks = every_second(model)
    tune(model, torch.optim.SGD(model.parameters(), lr=0.1), masks, [photos(4, seed=1)])
    return all(not p[~masks[name]].any() for name, p in model.named_parameters() if name in masks)
""",
        "guard-blames-the-right": TUNE_PLAIN
        + """
def keeps_the_zeros(tune):
    model = tiny_reader()
    masks = every_second(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    tune(model, torch.optim.SGD(model.parameters(), lr=0.1), masks, [photos(4, seed=1)])
    return all(torch.equal(p.detach(), before[name] * masks[name])
               for name, p in model.named_parameters() if name in masks)
""",
        "no-yes-or-no": TUNE_PLAIN
        + """
def keeps_the_zeros(tune):
    model = tiny_reader()
    tune(model, torch.optim.SGD(model.parameters(), lr=0.1), every_second(model), [photos(4, seed=1)])
    return share_of_zeros(model)
""",
    },
    crashing="""
def tune_pruned(model, optimizer, masks, batches):
    for images, labels in batches:
        loss = label_loss(model, images, labels)
        loss.backward()
        optimizer.step()
        model.weight *= masks
    return loss
"""
    + GUARD,
)

ANSWERS = {
    "mask": MASK,
    "bytes": BYTES,
    "channels": CHANNELS,
    "loss": LOSS,
    "front": FRONT,
    "tune": TUNE,
}
