"""Trial answers of lab 11: right in several styles, wrong in the ways that are often seen."""

from scalelab.grading.trials import Task


def but(source: str, *changes: tuple[str, str]) -> str:
    """Return a source with some of its text replaced; each piece must be there."""
    for old, new in changes:
        if old not in source:
            raise ValueError(f"{old!r} is not in the answer")
        source = source.replace(old, new)
    return source


EXPORT_RIGHT = """
def export_reader(model, path):
    awake = [module for module in model.modules() if module.training]
    model.eval()
    batch = torch.export.Dim("n", min=1)
    sample = torch.zeros((3, 28, 168), dtype=torch.uint8)
    torch.onnx.export(
        model, (sample,), str(path), input_names=["images"], output_names=["logits"],
        dynamic_shapes=[{0: batch}], external_data=False, verbose=False,
    )
    for module in awake:
        module.training = True
"""

LEGACY = """
def export_reader(model, path):
    modes = [module.training for module in model.modules()]
    model.eval()
    torch.onnx.export(
        model, torch.zeros(1, 28, 168, dtype=torch.uint8), str(path), dynamo=False,
        training=torch.onnx.TrainingMode.EVAL, input_names=["images"], output_names=["logits"],
        dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
    )
    for module, mode in zip(model.modules(), modes):
        module.training = mode
"""

EXPORT = Task(
    right=[
        EXPORT_RIGHT,
        """
def export_reader(model, path):
    twin = copy.deepcopy(model).eval()
    sample = torch.randint(0, 256, (2, 28, 168), dtype=torch.uint8)
    program = torch.onnx.export(
        twin, (sample,), input_names=["images"], output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), verbose=False,
    )
    program.save(str(path), external_data=False)
""",
        LEGACY,
    ],
    wrong={
        "no-file": but(LEGACY, ("str(path)", 'str(path) + ".onnx"')),
        "weights-outside": but(EXPORT_RIGHT, ("external_data=False, ", "")),
        "wrong-dtype": but(LEGACY, ("dtype=torch.uint8", "dtype=torch.float32")),
        "other-names": but(
            LEGACY,
            (
                'input_names=["images"], output_names=["logits"]',
                'input_names=["x"], output_names=["y"]',
            ),
            ('{"images": {0: "n"}, "logits": {0: "n"}}', '{"x": {0: "n"}, "y": {0: "n"}}'),
        ),
        "fixed-batch": but(
            LEGACY, ('dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},', "")
        ),
        "training-kept": but(LEGACY, ("EVAL", "PRESERVE"), ("    model.eval()\n", "")),
        "mode-changed": but(LEGACY, ("        module.training = mode\n", "        pass\n")),
        "wakes-the-frozen": but(
            LEGACY, ("        module.training = mode\n", "        module.train()\n")
        ),
        "model-moved": but(
            LEGACY,
            (
                "    model.eval()",
                "    model(torch.zeros(3, 28, 168, dtype=torch.uint8))\n    model.eval()",
            ),
        ),
        "wrong-logits": but(
            LEGACY,
            (
                "        model, torch",
                "        nn.Sequential(model, nn.Softmax(dim=-1)), torch",
            ),
        ),
        "no-model": """
def export_reader(model, path):
    torch.save(model.state_dict(), str(path))
""",
    },
    crashing=but(EXPORT_RIGHT, ("dtype=torch.uint8", "dtype=np.uint8")),
)

PARITY_RIGHT = """
def parity(model, predict, images, batches=BATCHES, tolerance=1e-4):
    twin = copy.deepcopy(model).eval()
    worst = 0.0
    for n in batches:
        with torch.inference_mode():
            want = twin(torch.from_numpy(images[:n])).numpy()
        try:
            got = np.asarray(predict(images[:n]))
        except Exception:
            return math.inf, False
        if got.shape != want.shape or np.isnan(got).any():
            return math.inf, False
        worst = max(worst, float(np.max(np.abs(got - want))))
    return worst, worst <= tolerance
"""
PARITY = Task(
    right=[
        PARITY_RIGHT,
        """
def parity(model, predict, images, batches=BATCHES, tolerance=1e-4):
    modes = {module: module.training for module in model.modules()}
    model.eval()
    with torch.no_grad():
        wanted = [model(torch.tensor(images[:size])) for size in batches]
    for module, mode in modes.items():
        module.training = mode

    def distance(size, reference):
        try:
            found = torch.as_tensor(np.array(predict(images[:size])))
        except Exception:
            return math.inf
        if found.shape != reference.shape:
            return math.inf
        far = (found - reference).abs().max().item()
        return math.inf if math.isnan(far) else far

    worst = max(map(distance, batches, wanted))
    return worst, not worst > tolerance
""",
        """
def parity(model, predict, images, batches=BATCHES, tolerance=1e-4):
    was = [(m, m.training) for m in model.modules()]
    model.eval()
    rows = []
    for n in batches:
        want = model(torch.from_numpy(images[:n].copy())).detach().numpy()
        try:
            got = predict(images[:n])
            rows.append(np.abs(got - want).max() if np.shape(got) == want.shape else np.nan)
        except Exception:
            rows.append(np.nan)
    for m, mode in was:
        m.training = mode
    worst = float(np.nan_to_num(np.max(rows), nan=np.inf))
    return worst, bool(worst <= tolerance)
""",
    ],
    wrong={
        "not-all-batches": but(PARITY_RIGHT, ("for n in batches:", "for n in batches[:1]:")),
        "reference-in-training": but(PARITY_RIGHT, (".eval()", "")),
        "test-changes-mode": but(
            PARITY_RIGHT, ("copy.deepcopy(model).eval()", "model.eval()")
        ),
        "test-moves-model": but(
            PARITY_RIGHT,
            ("    worst = 0.0", "    model(torch.from_numpy(images))\n    worst = 0.0"),
        ),
        "argmax-only": but(
            PARITY_RIGHT, ("np.abs(got - want)", "got.argmax(-1) != want.argmax(-1)")
        ),
        "signed": but(PARITY_RIGHT, ("np.abs(got - want)", "got - want")),
        "averages": but(
            PARITY_RIGHT, ("np.max(np.abs(got - want))", "np.median(np.abs(got - want))")
        ),
        "nan-passes": but(
            PARITY_RIGHT,
            (" or np.isnan(got).any()", ""),
            (
                "worst = max(worst, float(np.max(np.abs(got - want))))",
                "worst = max(worst, far(got, want))",
            ),
        )
        + """
def far(got, want):
    return float(np.abs(got - want).max())
""",
        "broadcasts": but(PARITY_RIGHT, ("got.shape != want.shape or ", "")),
        "refusal-passes": but(
            PARITY_RIGHT,
            (
                "Exception:\n            return math.inf, False",
                "Exception:\n            continue",
            ),
        ),
        "refusal-escapes": but(PARITY_RIGHT, ("except Exception:", "except TypeError:")),
        "mixing-passes": but(PARITY_RIGHT, ("images[:n]", "images[:1].repeat(n, axis=0)")),
        "refuses-the-right": but(PARITY_RIGHT, ("worst <= tolerance", "worst == 0")),
        "own-tolerance": but(PARITY_RIGHT, ("worst <= tolerance", "worst <= 1e-4")),
        "wrong-worst": but(PARITY_RIGHT, ("return math.inf, False", "return 1e9, False")),
        "no-pair": but(PARITY_RIGHT, ("return worst, worst", "return worst, n, worst")),
    },
    crashing=but(PARITY_RIGHT, ("torch.from_numpy(images[:n])", "images[:n]")),
)

DIFF_RIGHT = """
def all_graphs(graph):
    found = [graph]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found += all_graphs(attribute.g)
    return found


def operators(model):
    return Counter(node.op_type for graph in all_graphs(model.graph) for node in graph.node)


def graph_diff(before, after):
    old, new = operators(before), operators(after)
    return {op: (old[op], new[op]) for op in sorted({*old, *new}) if old[op] != new[op]}


def weight_bytes(model):
    total = 0
    for graph in all_graphs(model.graph):
        for tensor in graph.initializer:
            total += onnx.numpy_helper.to_array(tensor).nbytes
    return total
"""
DIFF = Task(
    right=[
        DIFF_RIGHT,
        """
def walk(graph, ops, sizes):
    sizes.extend(onnx.numpy_helper.to_array(each).nbytes for each in graph.initializer)
    for node in graph.node:
        ops[node.op_type] = ops.get(node.op_type, 0) + 1
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                walk(attribute.g, ops, sizes)

def graph_diff(before, after):
    old, new, changed = {}, {}, {}
    walk(before.graph, old, [])
    walk(after.graph, new, [])
    for op in set(old) | set(new):
        pair = [old.get(op, 0), new.get(op, 0)]
        if pair[0] != pair[1]:
            changed[op] = pair
    return changed

def weight_bytes(model):
    sizes = []
    walk(model.graph, {}, sizes)
    return sum(sizes)
""",
        """
def graph_diff(before, after):
    counts = []
    for model in (before, after):
        todo, ops = [model.graph], []
        while todo:
            graph = todo.pop()
            for node in graph.node:
                ops.append(node.op_type)
                todo += [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
        counts.append(ops)
    names = set(counts[0] + counts[1])
    pairs = {name: (counts[0].count(name), counts[1].count(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if len(set(pair)) == 2}

def weight_bytes(model):
    todo, total = [model.graph], 0
    while todo:
        graph = todo.pop()
        todo += [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
        for tensor in graph.initializer:
            kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            total += math.prod(tensor.dims) * kind.itemsize
    return total
""",
    ],
    wrong={
        "skips-subgraphs": but(
            DIFF_RIGHT,
            (
                "for graph in all_graphs(model.graph) for node in graph.node",
                "for node in model.graph.node",
            ),
        ),
        "keeps-unchanged": but(DIFF_RIGHT, (" if old[op] != new[op]", "")),
        "turned-around": but(DIFF_RIGHT, ("(old[op], new[op])", "(new[op], old[op])")),
        "one-sided": but(DIFF_RIGHT, ("sorted({*old, *new})", "sorted(old)")),
        "single-number": but(DIFF_RIGHT, ("(old[op], new[op])", "new[op] - old[op]")),
        "wrong-diff": but(
            DIFF_RIGHT, ("found += all_graphs(attribute.g)", "found += [attribute.g]")
        ),
        "raw-only": but(
            DIFF_RIGHT, ("onnx.numpy_helper.to_array(tensor).nbytes", "len(tensor.raw_data)")
        ),
        "skips-subgraph-weights": but(
            DIFF_RIGHT,
            (
                "    for graph in all_graphs(model.graph):\n",
                "    for graph in [model.graph]:\n",
            ),
        ),
        "counts-numbers": but(DIFF_RIGHT, (".nbytes", ".size")),
        "assumes-float32": but(DIFF_RIGHT, (".nbytes", ".size * 4")),
        "file-size": DIFF_RIGHT
        + """
def weight_bytes(model):
    return len(model.SerializeToString())
""",
        "wrong-bytes": but(DIFF_RIGHT, ("total +=", "total =")),
    },
    crashing=but(DIFF_RIGHT, ("model.graph", "model.graphs")),
)

PICK_RIGHT = """
def pick_provider(wanted, listed, profile, least=0.5):
    skipped = {}
    for name in wanted:
        if name not in listed:
            skipped[name] = "not listed"
            continue
        try:
            events = profile(name)
        except Exception:
            skipped[name] = "fails"
            continue
        ran = [event["args"]["provider"] for event in events if "provider" in event.get("args", {})]
        own = ran.count(name)
        if own > 0 and own / len(ran) >= least:
            return name, skipped
        skipped[name] = "not used"
    raise ValueError(f"none of {wanted} can be used")
"""
PROVIDERS = Task(
    right=[
        PICK_RIGHT,
        """
def pick_provider(wanted, listed, profile, least=0.5):
    def reason(name):
        if name not in listed:
            return "not listed"
        try:
            counts = Counter(e["args"].get("provider", "") for e in profile(name) if e.get("args"))
        except Exception:
            return "fails"
        nodes = sum(count for provider, count in counts.items() if provider)
        return "" if counts[name] >= max(1, least * nodes) else "not used"

    reasons = {}
    for name in wanted:
        reasons[name] = reason(name)
        if not reasons[name]:
            del reasons[name]
            return name, reasons
    raise ValueError("no provider is usable", reasons)
""",
        """
def share(name, events):
    own = others = 0
    for event in events:
        who = (event.get("args") or {}).get("provider")
        own += who == name
        others += who not in (None, name)
    return own / (own + others) if own else -1

def pick_provider(wanted, listed, profile, least=0.5):
    usable = [n for n in wanted if n in listed]
    skipped = {}
    for name in wanted:
        if name in usable:
            try:
                if share(name, profile(name)) >= least:
                    return name, skipped
                skipped[name] = "not used"
            except Exception as error:
                skipped[name] = "fails"
        else:
            skipped[name] = "not listed"
    raise ValueError(skipped)
""",
    ],
    wrong={
        "trusts-the-list": """
def pick_provider(wanted, listed, profile, least=0.5):
    skipped = {}
    for name in wanted:
        if name in listed:
            return name, skipped
        skipped[name] = "not listed"
    raise ValueError("none is listed")
""",
        "tries-unlisted": but(
            PICK_RIGHT,
            ("if name not in listed:", "if not name:"),
        ),
        "error-escapes": but(PICK_RIGHT, ("except Exception:", "except ImportError:")),
        "one-node-is-enough": but(PICK_RIGHT, (" and own / len(ran) >= least", "")),
        "counts-every-event": but(PICK_RIGHT, ("own / len(ran)", "own / len(events)")),
        "too-strict": but(
            PICK_RIGHT,
            ("own = ran.count(name)", "own = time_of(events, name)"),
            ("own / len(ran)", "own / time_of(events)"),
        )
        + """
def time_of(events, name=""):
    ran = [e for e in events if e.get("args", {}).get("provider")]
    return sum(e["dur"] for e in ran if name in e["args"]["provider"])
""",
        "wrong-reasons": but(
            PICK_RIGHT, ('skipped[name] = "fails"', "skipped[name] = 'not used'")
        ),
        "wrong-pick": but(PICK_RIGHT, ("in wanted:", "in listed:")),
        "nothing-usable": but(
            PICK_RIGHT,
            (
                'raise ValueError(f"none of {wanted} can be used")',
                'return "CPUExecutionProvider", skipped',
            ),
        ),
        "no-name-and-reasons": but(PICK_RIGHT, ("return name, skipped", "return (name,)")),
    },
    crashing=but(PICK_RIGHT, ('event["args"]["provider"]', 'event["provider"]')),
)

READ_RIGHT = """
def read_photos(reader, images):
    ink = images.float()
    peaks = ink.flatten(1).max(dim=1).values.clamp(min=1)
    scores = reader.head(reader.stem((ink / peaks[:, None, None]).unsqueeze(1)))
    return scores.reshape(len(images), 6, 10)
"""
GUARD = """
def is_batch_free(predict, images, batches=(2, 7, 32), tolerance=1e-3):
    for size in batches:
        try:
            together = predict(images[:size])
            alone = np.concatenate([predict(images[k : k + 1]) for k in range(size)])
        except Exception:
            return False
        if not np.all(np.abs(together - alone) <= tolerance):
            return False
    return True
"""
DRILL = Task(
    right=[
        READ_RIGHT + GUARD,
        """
def read_photos(reader, images):
    peak = images.amax((-2, -1), keepdim=True).clamp(min=1)
    stretched = (images.float() / peak.float())[:, None]
    return reader.head(reader.stem(stretched)).unflatten(1, (6, 10))

def is_batch_free(predict, images, batches=(2, 7, 32), tolerance=1e-3):
    try:
        for size in batches:
            found = predict(images[:size])
            for place in range(size):
                apart = np.abs(found[place] - predict(images[place][None])[0]).max()
                if not apart <= tolerance:
                    return False
        return True
    except Exception:
        return False
""",
        """
def read_photos(reader, images):
    ink = images.unsqueeze(1).float()
    ink = ink / torch.clamp(torch.amax(ink, dim=(1, 2, 3), keepdim=True), min=1.0)
    return reader.head(reader.stem(ink)).view(-1, 10).view(-1, 6, 10)

def is_batch_free(predict, images, batches=(2, 7, 32), tolerance=1e-3):
    def largest(size):
        batch = images[:size]
        singles = [predict(photo[None])[0] for photo in batch]
        return float(np.max(np.abs(predict(batch) - np.stack(singles))))
    try:
        found = [largest(size) for size in batches]
    except Exception:
        return False
    return all(math.isfinite(each) and each <= tolerance for each in found)
""",
    ],
    wrong={
        "nothing-mended": """
def read_photos(reader, images):
    return draft_read(reader, images)
"""
        + GUARD,
        "rows-mixed": but(
            READ_RIGHT, ("reshape(len(images), 6, 10)", "reshape(6, -1, 10).transpose(0, 1)")
        )
        + GUARD,
        "ink-of-the-batch": but(
            READ_RIGHT,
            ("ink.flatten(1).max(dim=1).values.clamp(min=1)", "ink.max().expand(len(ink))"),
        )
        + GUARD,
        "ink-left-as-it-is": """
def read_photos(reader, images):
    ink = images.float() / 255
    scores = reader.head(reader.stem(ink.unsqueeze(1)))
    return scores.reshape(-1, 6, 10)
"""
        + GUARD,
        "turned-digits": but(
            READ_RIGHT, ("reshape(len(images), 6, 10)", "reshape(-1, 10, 6).transpose(1, 2)")
        )
        + GUARD,
        "wrong-axes": but(
            READ_RIGHT, ("reshape(len(images), 6, 10)", "reshape(-1, 6, 10).transpose(0, 1)")
        )
        + GUARD,
        "wrong-reading": but(
            READ_RIGHT, ("reshape(len(images), 6, 10)", "reshape(-1, 6, 10).softmax(-1)")
        )
        + GUARD,
        "one-by-one": """
def read_photos(reader, images):
    return torch.cat([draft_read(reader, photo[None]) for photo in images])
"""
        + GUARD,
        "guard-blames-the-right": READ_RIGHT
        + but(
            GUARD,
            (
                "np.all(np.abs(together - alone) <= tolerance)",
                "np.array_equal(together, alone)",
            ),
        ),
        "guard-first-row-only": READ_RIGHT
        + but(GUARD, ("together - alone", "together[:1] - alone[:1]")),
        "guard-averages": READ_RIGHT
        + but(GUARD, ("np.abs(together - alone) <=", "np.abs(together - alone).mean() <=")),
        "guard-small-batch": READ_RIGHT + but(GUARD, ("in batches:", "in batches[:2]:")),
        "guard-argmax": READ_RIGHT
        + but(
            GUARD,
            (
                "np.abs(together - alone) <= tolerance",
                "together.argmax(-1) == alone.argmax(-1)",
            ),
        ),
        "guard-misses-ink": READ_RIGHT
        + """
def is_batch_free(predict, images, batches=(2, 7, 32), tolerance=1e-3):
    try:
        turned = [(predict(images[:n]), predict(images[:n][::-1])[::-1]) for n in batches]
    except Exception:
        return False
    return all(bool((np.abs(one - two) <= tolerance).all()) for one, two in turned)
""",
        "guard-nan": READ_RIGHT
        + but(
            GUARD,
            ("not np.all(np.abs(together - alone) <=", "(np.abs(together - alone).max() >"),
        ),
        "guard-lets-errors-out": READ_RIGHT
        + but(GUARD, ("except Exception:", "except TypeError:")),
        "guard-refusal": READ_RIGHT
        + but(
            GUARD, ("            return False\n        if", "            continue\n        if")
        ),
        "guard-misses-mixing": READ_RIGHT
        + but(
            GUARD, ("together - alone", "np.sort(together.ravel()) - np.sort(alone.ravel())")
        ),
        "no-true-or-false": READ_RIGHT
        + but(GUARD, ("    return True", "    return together")),
    },
    crashing=but(READ_RIGHT, ("(ink / peaks[:, None, None]).unsqueeze(1)", "ink")) + GUARD,
)

ANSWERS = {
    "export": EXPORT,
    "parity": PARITY,
    "diff": DIFF,
    "providers": PROVIDERS,
    "drill": DRILL,
}
