"""Trial answers of lab 09: right in several styles, wrong in the ways that are often seen."""

from scalelab.grading.trials import Task

SCALE = """
def scale_and_zero(low, high, bits=8):
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (2**bits - 1) or 1.0
    return scale, round(-low / scale)
"""
QUANTIZE = """
def quantize(values, scale, zero_point, bits=8):
    steps = np.rint(values / scale) + zero_point
    return np.clip(steps, 0, 2**bits - 1).astype(np.uint8)
"""
DEQUANTIZE = """
def dequantize(integers, scale, zero_point):
    return (integers.astype(np.float32) - zero_point) * np.float32(scale)
"""


def scale(change: str, to: str) -> str:
    assert change in SCALE
    return SCALE.replace(change, to) + QUANTIZE + DEQUANTIZE


def quantize(change: str, to: str) -> str:
    assert change in QUANTIZE
    return SCALE + QUANTIZE.replace(change, to) + DEQUANTIZE


def dequantize(body: str) -> str:
    head = "\ndef dequantize(integers, scale, zero_point):\n    "
    return SCALE + QUANTIZE + head + body + "\n"


AFFINE = Task(
    right=[
        SCALE + QUANTIZE + DEQUANTIZE,
        """
def scale_and_zero(low, high, bits=8):
    if low > 0:
        low = 0.0
    if high < 0:
        high = 0.0
    if low == high:
        return 1.0, 0
    step = (high - low) / ((1 << bits) - 1)
    return step, int(np.floor(0.5 - low / step))

def quantize(values, scale, zero_point, bits=8):
    q = np.round(np.asarray(values, dtype=np.float64) / scale).astype(np.int64) + zero_point
    q[q < 0] = 0
    q[q > 2**bits - 1] = 2**bits - 1
    return q.astype("uint8")

def dequantize(integers, scale, zero_point):
    return scale * (integers.astype(np.int32) - zero_point)
""",
        """
def scale_and_zero(low, high, bits=8):
    ends = np.array([low, high, 0.0], dtype=np.float32)
    width = ends.max() - ends.min()
    if not width:
        return np.float32(1), np.int64(0)
    scale = width / np.float32(2**bits - 1)
    return scale, np.rint(-ends.min() / scale)

def quantize(values, scale, zero_point, bits=8):
    x = torch.from_numpy(np.ascontiguousarray(values))
    return (x / scale).round().add(zero_point).clamp(0, 2**bits - 1).to(torch.uint8).numpy()

def dequantize(integers, scale, zero_point):
    table = np.array([scale * (q - zero_point) for q in range(256)], dtype=np.float32)
    return table[integers]
""",
    ],
    wrong={
        "range-without-zero": scale("low, high = min(low, 0.0), max(high, 0.0)", "pass"),
        "steps-not-marks": scale("(2**bits - 1)", "2**bits"),
        "ignores-bits": scale("(2**bits - 1)", "255"),
        "symmetric-ruler": scale("(high - low)", "2 * max(-low, high)"),
        "wrong-scale": scale("(2**bits - 1)", "(2**bits - 2)"),
        "values-swapped": scale(
            "return scale, round(-low / scale)", "return round(-low / scale), scale"
        ),
        "zero-not-whole": scale("round(-low / scale)", "-low / scale"),
        "zero-sign": scale("round(-low / scale)", "round(low / scale)"),
        "wrong-zero": scale("round(-low / scale)", "0"),
        "flat-range": scale(" or 1.0", "").replace(
            "round(-low / scale)", "round(-low / scale) if scale else 0"
        ),
        "not-two-values": scale("return scale, round(-low / scale)", "return [scale]"),
        "no-saturation": quantize(
            "np.clip(steps, 0, 2**bits - 1)", "(steps.astype(int) % 256)"
        ),
        "not-uint8": quantize(".astype(np.uint8)", ""),
        "other-shape": quantize("np.clip(steps,", "np.clip(steps.ravel(),"),
        "zero-point-left-out": quantize(" + zero_point", ""),
        "zero-point-subtracted": quantize(" + zero_point", " - zero_point"),
        "truncates": quantize("np.rint(values / scale)", "(values / scale).astype(int)"),
        "floors": quantize("np.rint(values / scale)", "values // scale"),
        "rounds-after-adding": quantize(
            "np.rint(values / scale) + zero_point", "np.rint(values / scale + zero_point)"
        ),
        "halves-up": quantize("np.rint(values / scale)", "np.floor(values / scale + 0.5)"),
        "wrong-integers": quantize("np.rint(values / scale)", "np.ceil(values / scale)"),
        "unsigned-wraps": dequantize("return scale * (integers - np.uint8(zero_point))"),
        "zero-point-unscaled": dequantize(
            "return scale * integers.astype(float) - zero_point"
        ),
        "zero-point-kept": dequantize("return scale * integers.astype(float)"),
        "wrong-numbers": dequantize(
            "return scale * (integers.astype(float) - zero_point).clip(-128, 127) + scale"
        ),
    },
    crashing="""
def scale_and_zero(low, high, bits=8):
    return (high - low).max() / (2**bits - 1), 0

def quantize(values, scale, zero_point, bits=8):
    return (values / scale + zero_point).clamp(0, 2**bits - 1)
"""
    + DEQUANTIZE,
)

STEPS = "np.round(weights / scales.reshape(-1, 1))"
WEIGHTS_RIGHT = """
def quantize_weights(weights, bits=8):
    most = 2 ** (bits - 1) - 1
    largest = np.abs(weights).max(axis=1)
    scales = np.where(largest == 0, 1, largest / most).astype(np.float32)
    integers = np.round(weights / scales.reshape(-1, 1))
    return integers.astype(np.int8), scales
"""


def weights(change: str, to: str) -> str:
    assert change in WEIGHTS_RIGHT
    return WEIGHTS_RIGHT.replace(change, to)


WEIGHTS = Task(
    right=[
        WEIGHTS_RIGHT,
        """
def quantize_weights(weights, bits=8):
    n = 2 ** (bits - 1) - 1
    integers, scales = [], []
    for row in weights:
        scale = max(row.max(), -row.min()) / n
        scale = float(scale) if scale > 0 else 1e-8
        scales.append(scale)
        integers.append([round(float(weight) / scale) for weight in row])
    return np.array(integers, dtype=np.int8), np.array(scales, dtype=np.float32)
""",
        """
def quantize_weights(weights, bits=8):
    w = torch.from_numpy(weights)
    most = (1 << bits - 1) - 1
    scales = w.abs().amax(dim=1).div(most).clamp(min=1e-12)
    q = (w / scales[:, None]).round().clamp(-most, most)
    return q.to(torch.int8).numpy(), scales.numpy()
""",
    ],
    wrong={
        "one-scale": weights(
            "np.abs(weights).max(axis=1)", "np.full(len(weights), np.abs(weights).max())"
        ),
        "scales-of-inputs": """
def quantize_weights(weights, bits=8):
    most = 2 ** (bits - 1) - 1
    scales = (np.abs(weights).max(axis=0) / most).astype(np.float32)
    return np.round(weights / scales).astype(np.int8), scales
""",
        "scales-shape": weights(", scales\n", ", scales.reshape(-1, 1)\n"),
        "dead-row": """
def quantize_weights(weights, bits=8):
    most = 2 ** (bits - 1) - 1
    scales = np.abs(weights).max(axis=1) / most
    with np.errstate(invalid="ignore"):
        return np.round(np.nan_to_num(weights / scales[:, None])).astype(np.int8), scales
""",
        "uses-128": weights("largest / most", "largest / (most + 1)"),
        "no-abs": weights("np.abs(weights).max(axis=1)", "weights.max(axis=1)"),
        "not-symmetric": weights("largest / most", "np.ptp(weights, axis=1) / (2 * most + 1)"),
        "ignores-bits": weights("2 ** (bits - 1) - 1", "127"),
        "wrong-scales": weights("np.abs(weights).max(axis=1)", "3 * weights.std(axis=1)"),
        "not-int8": weights("integers.astype(np.int8)", "integers"),
        "weights-truncated": weights(STEPS, "weights / scales.reshape(-1, 1)"),
        "wrong-weights": weights(STEPS, "np.round(weights / scales.max())"),
        "other-shape": weights("integers.astype(np.int8)", "integers.astype(np.int8).ravel()"),
        "not-two-values": weights(
            "return integers.astype(np.int8), scales",
            "return integers.astype(np.int8), scales, 0",
        ),
    },
    crashing="""
def quantize_weights(weights, bits=8):
    most = 2 ** (bits - 1) - 1
    scales = np.abs(weights).max(axis=1) / most
    return (weights / scales[:, None]).round().to(np.int8), scales
""",
)

RANGES_RIGHT = """
def input_ranges(model, layers, batches, keep=1.0):
    seen = {layer: [] for layer in layers}
    hooks = [
        layer.register_forward_pre_hook(lambda which, given: seen[which].append(given[0].flatten()))
        for layer in layers
    ]
    with torch.no_grad():
        for batch in batches:
            model(batch)
    for hook in hooks:
        hook.remove()
    if not all(seen.values()):
        raise ValueError("no calibration batches")
    ends = (1 - keep) / 2, (1 + keep) / 2
    return [tuple(np.quantile(torch.cat(seen[layer]).numpy(), ends)) for layer in layers]
"""


def ranges(change: str, to: str) -> str:
    assert change in RANGES_RIGHT
    return RANGES_RIGHT.replace(change, to)


ONE_BY_ONE = """
def input_ranges(model, layers, batches, keep=1.0):
    found = []
    batches = list(batches)
    if not batches:
        raise ValueError("no calibration batches")
    for layer in layers:
        values = []
        with layer.register_forward_pre_hook(lambda _, given, values=values: values.append(given[0])):
            with torch.no_grad():
                for batch in batches:
                    model(batch)
        values = torch.cat(values).numpy()
        found.append((np.quantile(values, (1 - keep) / 2), np.quantile(values, (1 + keep) / 2)))
    return found
"""
PER_BATCH = """
def input_ranges(model, layers, batches, keep=1.0):
    seen = {layer: [] for layer in layers}
    ends = [(1 - keep) / 2, (1 + keep) / 2]

    def look(layer, given):
        seen[layer].append(np.quantile(given[0].numpy(), ends))

    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    with torch.no_grad():
        for batch in batches:
            model(batch)
    for hook in hooks:
        hook.remove()
    if not seen[layers[0]]:
        raise ValueError("no calibration batches")
    return [SUMMARY for layer in layers]
"""

CALIBRATE = Task(
    right=[
        RANGES_RIGHT,
        """
def input_ranges(model, layers, batches, keep=1.0):
    collected = [[] for _ in layers]

    def watch(into):
        def look(module, given):
            into.append(given[0].detach().numpy().copy().reshape(-1))
        return look

    hooks = []
    for layer, into in zip(layers, collected):
        hooks.append(layer.register_forward_pre_hook(watch(into)))
    count = 0
    try:
        with torch.inference_mode():
            for count, batch in enumerate(batches, start=1):
                model(batch)
    finally:
        [hook.remove() for hook in hooks]
    if count == 0:
        raise ValueError("the stream of calibration batches is empty")
    result = []
    for values in map(np.concatenate, collected):
        cut = 100 * (1 - keep) / 2
        result.append([float(np.percentile(values, cut)), float(np.percentile(values, 100 - cut))])
    return result
""",
        """
def input_ranges(model, layers, batches, keep=1.0):
    inputs = [torch.empty(0) for _ in layers]
    with torch.no_grad():
        for batch in batches:
            hooks = [
                layer.register_forward_hook(
                    lambda _, given, out, i=i: inputs.__setitem__(
                        i, torch.cat([inputs[i], given[0].flatten()])
                    )
                )
                for i, layer in enumerate(layers)
            ]
            model(batch)
            for hook in hooks:
                hook.remove()
    if any(len(values) == 0 for values in inputs):
        raise ValueError("nothing to calibrate with")
    skip = [int((1 - keep) / 2 * (len(values) - 1)) for values in inputs]
    ordered = [values.sort().values for values in inputs]
    return [(values[k], values[-1 - k]) for values, k in zip(ordered, skip)]
""",
    ],
    wrong={
        "passes-repeated": ONE_BY_ONE,
        "hooks-stay": ranges("        hook.remove()", "        pass"),
        "gradients-on": ranges("    with torch.no_grad():\n", "    if True:\n").replace(
            "given[0].flatten()", "given[0].detach().flatten()"
        ),
        "empty-goes-on": ranges(
            'raise ValueError("no calibration batches")', "return [(0.0, 1.0)] * 2"
        ),
        "other-order": ranges(
            "for layer in layers]\n", "for layer in model.children()]\n"
        ).replace("[tuple(", "[tuple("),
        "last-batch-only": ranges("torch.cat(seen[layer])", "seen[layer][-1]"),
        "first-batch-only": ranges(
            "            model(batch)\n", "            model(batch)\n            break\n"
        ),
        "mean-of-batches": PER_BATCH.replace("SUMMARY", "tuple(np.mean(seen[layer], axis=0))"),
        "quantiles-of-batches": PER_BATCH.replace(
            "SUMMARY", "(np.min(seen[layer], axis=0)[0], np.max(seen[layer], axis=0)[1])"
        ),
        "ignores-keep": ranges("(1 - keep) / 2, (1 + keep) / 2", "0, 1"),
        "one-sided": ranges("(1 - keep) / 2, (1 + keep) / 2", "1 - keep, keep"),
        "late-binding": """
def input_ranges(model, layers, batches, keep=1.0):
    seen = [[torch.zeros(1)] for _ in layers]
    hooks = []
    for i, layer in enumerate(layers[::-1]):
        look = lambda _, given: seen[-1 - i].append(given[0].flatten())
        hooks.append(layer.register_forward_pre_hook(look))
    with torch.no_grad():
        for batch in batches:
            model(batch)
    for hook in hooks:
        hook.remove()
    if len(seen[0]) == 1:
        raise ValueError("no calibration batches")
    return [(values.min(), values.max()) for values in map(torch.cat, seen)]
""",
        "symmetric-ranges": PER_BATCH.replace(
            "SUMMARY", "tuple(np.abs(seen[layer]).max() * np.array([-1, 1]))"
        ),
        "mode-changed": ranges(
            "    with torch.no_grad():\n", "    model.train()\n    with torch.no_grad():\n"
        ),
        "outputs-not-inputs": ranges(
            "register_forward_pre_hook(lambda which, given: seen[which].append(given[0].flatten()))",
            "register_forward_hook(lambda which, given, out: seen[which].append(out.flatten()))",
        ),
        "wrong-ranges": ranges("given[0].flatten()", "given[0].abs().flatten()"),
        "not-pairs": ranges("tuple(np.quantile(", "max(np.quantile("),
    },
    crashing="""
def input_ranges(model, layers, batches, keep=1.0):
    values = [model.inputs_of(layer, batch) for batch in batches for layer in layers]
    return [(value.min(), value.max()) for value in values]
""",
)

PRODUCT_RIGHT = """
def integer_product(q_x, zero_point, q_w):
    return (q_x.astype(np.int32) - zero_point) @ q_w.astype(np.int32).T
"""
LAYER = """
def int8_linear(x, scale, zero_point, q_w, w_scales, bias):
    sums = integer_product(quantize(x, scale, zero_point), zero_point, q_w)
    return sums * scale * w_scales + bias
"""


def product(body: str) -> str:
    return "\ndef integer_product(q_x, zero_point, q_w):\n    " + body + "\n" + LAYER


def layer(change: str, to: str) -> str:
    assert change in LAYER
    return PRODUCT_RIGHT + LAYER.replace(change, to)


PRODUCT = Task(
    right=[
        PRODUCT_RIGHT + LAYER,
        """
def integer_product(q_x, zero_point, q_w):
    wide = np.einsum("nk,mk->nm", q_x, q_w, dtype=np.int64, casting="unsafe")
    corrected = wide - zero_point * q_w.sum(axis=1, dtype=np.int64)
    return corrected.astype(np.int32)

def int8_linear(x, scale, zero_point, q_w, w_scales, bias):
    total = integer_product(quantize(x, scale, zero_point), zero_point, q_w).astype(np.float64)
    for m in range(len(w_scales)):
        total[:, m] = total[:, m] * float(w_scales[m]) * scale + bias[m]
    return total
""",
        """
def integer_product(q_x, zero_point, q_w):
    x = torch.from_numpy(q_x).double() - zero_point
    return (x @ torch.from_numpy(q_w).double().T).to(torch.int32).numpy()

def int8_linear(x, scale, zero_point, q_w, w_scales, bias):
    q = np.clip(np.rint(x / scale) + zero_point, 0, 255).astype(np.uint8)
    steps = np.float32(integer_product(q, zero_point, q_w))
    return steps * (np.float32(scale) * w_scales)[None, :] + bias[None, :]
""",
    ],
    wrong={
        "zero-point-forgotten": product(
            "return q_x.astype(np.int32) @ q_w.astype(np.int32).T"
        ),
        "zero-point-once": product(
            "return q_x.astype(np.int32) @ q_w.astype(np.int32).T - np.int32(zero_point)"
        ),
        "zero-point-added": product(
            "return (q_x.astype(np.int32) + zero_point) @ q_w.astype(np.int32).T"
        ),
        "unsigned-sums": product(
            "return (q_x - np.uint8(zero_point)).astype(np.int32) @ q_w.astype(np.int32).T"
        ),
        "int8-overflow": product(
            "return (q_x.astype(np.int8).astype(np.int32) - zero_point) @ q_w.astype(np.int32).T"
        ),
        "int16-overflow": product(
            "return ((q_x @ q_w.T) - zero_point * q_w.sum(axis=1, dtype=np.int64)).astype(np.int32)"
        ),
        "float32-sums": product(
            "return ((q_x.astype(np.float32) - zero_point) @ q_w.astype(np.float32).T).astype(np.int32)"
        ),
        "not-int32": product(
            "return (q_x.astype(np.int64) - zero_point) @ q_w.astype(np.int64).T"
        ),
        "wrong-sums": product(
            "return ((q_x.astype(np.int32) - zero_point) // 2) @ q_w.astype(np.int32).T * np.int32(2)"
        ),
        "other-shape": product(
            "return (q_x.astype(np.int32) - zero_point) @ q_w[:-1].astype(np.int32).T"
        ),
        "bias-missing": layer(" + bias", ""),
        "bias-scaled": layer(
            "sums * scale * w_scales + bias", "(sums + bias) * scale * w_scales"
        ),
        "scales-along-photos": layer("w_scales + bias", "w_scales[:, None] + bias"),
        "input-scale-missing": layer("sums * scale", "sums"),
        "weight-scales-missing": layer(" * w_scales", ""),
        "float-product": layer(
            "sums * scale * w_scales", "x.astype(np.float64) @ (q_w * w_scales[:, None]).T"
        ),
        "wrong-output": layer("w_scales + bias", "w_scales - bias"),
    },
    crashing="""
def integer_product(q_x, zero_point, q_w):
    return (q_x.astype(np.int32) - zero_point) @ q_w.astype(np.int32)
"""
    + LAYER,
)

LOSS = "right_before.astype(float).mean(axis=1) - right_after.astype(float).mean(axis=1)"
GUARD_RIGHT = """
def judge_loss(right_before, right_after, at_most):
    d = right_before.astype(float).mean(axis=1) - right_after.astype(float).mean(axis=1)
    half = 1.96 * d.std(ddof=1) / len(d) ** 0.5
    low, high = d.mean() - half, d.mean() + half
    if high <= at_most:
        return d.mean(), low, high, "accept"
    return d.mean(), low, high, "reject" if low > at_most else "inconclusive"
"""


def guard(change: str, to: str) -> str:
    assert change in GUARD_RIGHT
    return GUARD_RIGHT.replace(change, to)


GUARD = Task(
    right=[
        GUARD_RIGHT,
        """
def judge_loss(right_before, right_after, at_most):
    rng, n = np.random.default_rng(7), len(right_before)
    means = []
    for _ in range(1200):
        chosen = rng.integers(0, n, n)
        means.append(right_before[chosen].mean() - right_after[chosen].mean())
    means.sort()
    low, high = means[30], means[-31]
    lost = right_before.mean() - right_after.mean()
    verdict = "inconclusive"
    if low > at_most:
        verdict = "reject"
    elif high <= at_most:
        verdict = "accept"
    return lost, low, high, verdict
""",
        """
def judge_loss(right_before, right_after, at_most):
    lost = (right_before.sum(1).astype(int) - right_after.sum(1)) / right_before.shape[1]
    ways, counts = np.unique(lost, return_counts=True)
    drawn = np.random.default_rng(1).multinomial(len(lost), counts / len(lost), size=2000)
    low, high = np.quantile(drawn @ ways / len(lost), [0.025, 0.975])
    said = {(True, True): "accept", (False, False): "reject"}
    return [lost.mean(), low, high, said.get((low <= at_most, high <= at_most), "inconclusive")]
""",
    ],
    wrong={
        "gained-not-lost": guard(
            LOSS,
            "right_after.astype(float).mean(axis=1) - right_before.astype(float).mean(axis=1)",
        ),
        "per-cent": guard(
            "d = right_before.astype(float).mean(axis=1) - right_after.astype(float).mean(axis=1)",
            "d = 100 * (right_before.mean(axis=1) - right_after.mean(axis=1))",
        ),
        "whole-pins": guard(
            LOSS, "right_before.all(axis=1).astype(float) - right_after.all(axis=1)"
        ),
        "count-not-share": guard("return d.mean(), low", "return d.sum() * 6, low"),
        "losses-only": guard(LOSS, "(right_before & ~right_after).mean(axis=1)"),
        "wrong-share": guard(LOSS, "(right_before != right_after).mean(axis=1)"),
        "unpaired": guard(
            "d.std(ddof=1)", "(right_before.mean(1).var() + right_after.mean(1).var()) ** 0.5"
        ),
        "digits-not-photos": guard(
            "d.std(ddof=1) / len(d) ** 0.5",
            "(right_before * 1.0 - right_after).std() / right_before.size**0.5",
        ),
        "one-standard-error": guard("1.96 * ", ""),
        "spread-of-photos": guard(" / len(d) ** 0.5", ""),
        "wrong-level": guard("1.96", "1.645"),
        "limit-ignored": guard("high <= at_most", "high <= 0").replace(
            "low > at_most", "low > 0"
        ),
        "wrong-interval": guard(
            "d.mean() - half, d.mean() + half", "d.mean(), d.mean() + 2 * half"
        ),
        "middle-only": """
def judge_loss(right_before, right_after, at_most):
    d = right_before.astype(float).mean(axis=1) - right_after.astype(float).mean(axis=1)
    half = 1.96 * d.std(ddof=1) / len(d) ** 0.5
    said = "accept" if d.mean() <= at_most else "reject"
    return d.mean(), d.mean() - half, d.mean() + half, said
""",
        "upside-down": guard('"accept"', '"?"')
        .replace('"reject"', '"accept"')
        .replace('"?"', '"reject"'),
        "unknown-verdict": guard('"accept"', '"PASS"'),
        "wrong-verdict": guard("high <= at_most", "low <= at_most <= high").replace(
            '"reject" if', '"inconclusive" if'
        ),
        "not-four-values": guard('return d.mean(), low, high, "accept"', 'return "accept"'),
    },
    crashing="""
def judge_loss(right_before, right_after, at_most):
    d = right_before - right_after
    return d.mean(), d.mean(), d.mean(), "accept"
""",
)

MENDED = """
def quantize_reader(reader, batches):
    layers = dense_layers(reader)
    found = input_ranges(reader, layers, batches)
    return int8_twin(reader, found)
"""
TEST = """
def keeps_reading(quantize_it):
    model = trained_reader()
    x, y = photos(100, "val", seed=6)
    small = quantize_it(model, calibration_stream())
    old, new = read_by(model, small, x)
    *_, verdict = judge_loss(old == y.numpy(), new == y.numpy(), 0.03)
    return verdict == "accept"
"""


def test(change: str, to: str) -> str:
    assert change in TEST
    return MENDED + TEST.replace(change, to)


DRILL = Task(
    right=[
        MENDED + TEST,
        """
def quantize_reader(reader, batches):
    batches = list(batches)
    ranges = []
    for layer in dense_layers(reader):
        ranges += input_ranges(reader, [layer], batches)
    return int8_twin(reader, ranges)

def keeps_reading(quantize_it):
    model = trained_reader()
    x, _ = photos(100, "val", seed=3)
    twin = quantize_it(model, (photos(32, "train", seed=seed)[0] for seed in (1, 2)))
    with torch.no_grad():
        logits = model(x).numpy()
    return bool(np.abs(twin(x) - logits).mean() < 0.1 * np.abs(logits).mean())
""",
        """
def quantize_reader(reader, batches):
    return common_quantize(reader, [torch.cat(list(batches))])

def keeps_reading(quantize_it):
    model = trained_reader()
    images, labels = photos(100, "val", seed=8)
    twin = quantize_it(model, iter([photos(48, "train", seed=2)[0]]))
    before, after = read_by(model, twin, images)
    return (before == after).mean() > 0.95
""",
    ],
    wrong={
        "still-collapsed": """
def quantize_reader(reader, batches):
    return common_quantize(reader, batches)
"""
        + TEST,
        "stream-ends": """
def quantize_reader(reader, batches):
    ranges = []
    for layer in dense_layers(reader):
        ranges += input_ranges(reader, [layer], batches)
    return int8_twin(reader, ranges)
"""
        + TEST,
        "not-quantized": """
def quantize_reader(reader, batches):
    return lambda images: reader(images).detach().half().float().numpy()
"""
        + TEST,
        "twin-shape": """
def quantize_reader(reader, batches):
    twin = int8_twin(reader, input_ranges(reader, dense_layers(reader), batches))
    return lambda images: twin(images).argmax(2)
"""
        + TEST,
        "test-hands-a-list": test("calibration_stream()", "list(calibration_stream())"),
        "test-blames": test("0.03)", "-0.001)"),
        "test-looks-elsewhere": MENDED
        + """
def keeps_reading(quantize_it):
    model, (x, _) = trained_reader(), photos(8, "val", seed=3)
    from_stream = quantize_it(model, calibration_stream())
    from_list = quantize_it(model, list(calibration_stream()))
    return bool(np.allclose(from_stream(x), from_list(x)))
""",
        "no-yes-or-no": test('return verdict == "accept"', "return verdict"),
    },
    crashing="""
def quantize_reader(reader, batches):
    layers = dense_layers(reader)
    return int8_twin(reader, [input_ranges(layer, batches) for layer in layers])
"""
    + TEST,
)

ANSWERS = {
    "affine": AFFINE,
    "weights": WEIGHTS,
    "calibrate": CALIBRATE,
    "product": PRODUCT,
    "guard": GUARD,
    "drill": DRILL,
}
