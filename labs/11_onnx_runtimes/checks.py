"""Checks of lab 11: what the learner wrote is tried on systems that are right and on broken ones.

Models and candidates live beside the learner's code (``inside.py``); weights, photos, files, logits travel.

Shapes in this file: photos ``(N, 28, 168) uint8``, logits ``(N, 6, 10) float32``.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
from torch import nn

from scalelab.data import compose_pins
from scalelab.grading import Answers, check, expect, expect_close, expect_length, expect_type
from scalelab.models import PinReader

BATCHES = (1, 7, 32)
TENSORRT, CUDA, CPU = (f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "CPU"))
torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other: 0.01 s become seconds


def small_reader(rng: np.random.Generator, dropout: float = 0.0) -> nn.Module:
    """Return a reader of few weights in evaluation, whose batch norm remembers other photos than ours."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        model = PinReader(width=16, channels=(2, 3, 4), dropout=dropout).eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.02, 0.2)
        with torch.no_grad():
            model.head[-1].weight *= 10
    return model


def recipe(model: nn.Module) -> dict[str, Any]:
    """Return what builds the same model beside the learner's code."""
    return {"config": model.config, "weights": dict(model.state_dict())}


def photos(rng: np.random.Generator, n: int) -> np.ndarray:
    return compose_pins(n, "train", seed=int(rng.integers(2**31))).images


def logits_of(model: nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(images)).numpy()


def apart(got: np.ndarray, wanted: np.ndarray) -> float:
    is_alike = got.shape == wanted.shape and np.isfinite(got).all()
    return float(np.abs(got - wanted).max()) if is_alike else float("inf")


def claim(holds: object, told: str, code: str, meaning: str) -> None:
    expect(holds, told, code=code, meaning=meaning)


@check(
    "export", points=4, limit_s=180,
    hints=(
        "Open the file, and look at the first size of its input: a number, or a name?",
        "Say in dynamic_shapes that axis 0 of the only input is free; evaluation before it, and then "
        "every submodule back into its own mode.",
        "modes = [m.training for m in model.modules()], model.eval(), torch.onnx.export with a uint8 "
        "sample of two photos, its names, dynamic_shapes and external_data; then the modes back.",
    ),
)  # fmt: skip
def one_file_for_any_batch(answers: Answers) -> None:
    """Write one file that gives the model's logits for any number of photos."""
    model, images = small_reader(answers.rng, dropout=0.3), photos(answers.rng, 32)
    seen = answers.inside("try_export", **recipe(model), asleep="head.3")  # a dropout
    told = f"there is no file at `path`, but {seen['beside'] or 'nothing'} in its folder"
    claim(seen["content"], told, "no-file", "the third thing that torch.onnx.export takes is where to write")
    told = f"beside the file lies {', '.join(seen['beside'])}"
    claim(not seen["beside"], told, "weights-outside",
          "whoever copies the .onnx alone has a graph without weights: see external_data")  # fmt: skip
    batches = [images[:n] for n in BATCHES] + [images[:7]]
    found = answers.apart("run_file", content=seen["content"], batches=batches)
    told = f"ONNX Runtime cannot open the file: {found['trouble']}"
    claim(not found["trouble"], told, "no-model", "is it an ONNX file, written to its end?")
    (name, kind, shape), (out, *_) = found["doors"][0], found["doors"][-1]
    claim(kind == "tensor(uint8)", f"the file takes {kind}, wanted tensor(uint8)", "wrong-dtype",
          "the sample's type becomes the file's, and a float is four times the bytes of a pixel")  # fmt: skip
    told = f"the file's doors are called {name!r} and {out!r}, wanted 'images' and 'logits'"
    claim((name, out) == ("images", "logits"), told, "other-names",
          "callers feed a file by name: input_names and output_names")  # fmt: skip
    refused = [n for n, logits in zip(BATCHES, found["logits"], strict=False) if isinstance(logits, str)]
    told = f"the file takes photos ({', '.join(shape)}) and refuses batches of {refused}"
    claim(not refused, told, "fixed-batch",
          "the sample's batch size is frozen into the graph: axis 0 must be free")  # fmt: skip
    one, seven, many, again = found["logits"]
    lonely = max(apart(one, many[:1]), apart(seven, many[:7]), apart(seven, again))
    told = "the same photo gives other logits beside other photos, or at the next call"
    claim(lonely < 1e-3, told, "training-kept",
          "batch norm and dropout are still in training: the mode is exported with the model")  # fmt: skip
    same = all(torch.equal(seen["state"][key], value) for key, value in model.state_dict().items())
    claim(same, "the export has changed the model's weights or statistics", "model-moved",
          "a pass in training moves batch norm's statistics: evaluation first, then the pass")  # fmt: skip
    error = apart(many, logits_of(model, images))
    told = f"the file's logits are off by {error:.2g}"
    claim(error < 1e-3, told, "wrong-logits", "wanted: the model's logits in evaluation")
    told = f"the model came in training, but for one frozen part; now {seen['asleep']} are in evaluation"
    claim(seen["asleep"], told, "wakes-the-frozen", "train() wakes all: each part back into its own mode")
    claim(seen["is_in_mode"], told, "mode-changed",
          "whoever goes on would train without dropout and batch statistics: put it back")  # fmt: skip


@check(
    "parity", points=5, limit_s=60,
    hints=(
        "For which of the broken candidates in the task's text would your test say 'passes'?",
        "For each batch: reference in evaluation, candidate in a try; no logits, another shape or a number "
        "that is not finite is an infinite difference. Else the largest absolute difference.",
        "worst = max over batches of float(np.abs(got - wanted).max()), math.inf where that is no honest "
        "number; return worst, worst <= tolerance. Modes of the model as in your export.",
    ),
)  # fmt: skip
def parity_sees_every_break(answers: Answers) -> None:
    """Tell a candidate that gives the model's logits from those that only look like it."""
    model, images = small_reader(answers.rng), photos(answers.rng, 32)
    wanted = {n: logits_of(model, images[:n]) for n in BATCHES}

    def ask(kind: str, *, training: bool = True, tolerance: float = 1e-4) -> tuple[float, bool]:
        seen = answers.inside("try_parity", **recipe(model), images=images, kind=kind, batches=BATCHES,
                              tolerance=tolerance, training=training)  # fmt: skip
        told = f"an error came out of `parity`: {seen.get('escaped')}"
        claim("escaped" not in seen, told, "refusal-escapes", "no such logits: an infinite difference")
        expect_type(seen["said"], (tuple, list), what="what parity returned", meaning="a pair: worst, passes")
        expect_length(seen["said"], 2, what="the answer", code="no-pair", meaning="wanted: worst, passes")
        worst, passes = seen["said"]
        expect_type(worst, (float, int, np.floating), what="the worst difference", code="no-number")
        expect_type(passes, (bool, np.bool_), what="the verdict", code="no-yes-or-no", meaning="a bool")
        asked.update(seen)
        return float(worst), bool(passes)

    asked: dict[str, Any] = {}
    told = "a candidate that is 1e-6 apart does not pass"
    claim(ask("right", training=False)[1], told, "refuses-the-right",
          "rounding differs between runtimes: what is within the tolerance passes")  # fmt: skip
    was_in_mode = asked["is_in_mode"]
    missing = [str(n) for n in BATCHES if n not in asked["sizes"]]
    claim(not missing, f"the candidate was never asked for {' or '.join(missing)} photos", "not-all-batches",
          "a graph may be right at one size and wrong at another: try them all")  # fmt: skip
    told = f"{told} where the model comes in training mode"
    claim(ask("right")[1], told, "reference-in-training", "the reference is the model in evaluation")
    claim(was_in_mode and asked["is_in_mode"], "the model is in another mode afterwards", "test-changes-mode",
          "put every module back into its mode, also if something is raised")  # fmt: skip
    claim(not asked["has_moved"], "the model's statistics have moved", "test-moves-model",
          "a forward pass in training mode moves batch norm's statistics")  # fmt: skip
    found = {}
    for kind, (code, what, meaning) in BROKEN.items():
        found[kind] = ask(kind)
        claim(asked["is_in_mode"], f"after a candidate that {what}, the model is in another mode",
              "test-changes-mode", "every module back into its mode, also where you stop early")  # fmt: skip
        if kind == "shifted" and found[kind][1] and not ask("below")[1]:
            code, _, meaning = BROKEN["below"]
        is_through = found[kind][1] or (kind == "one row" and found[kind][0] < 1e6)
        claim(not is_through, f"a candidate is accepted that {what}", code, meaning)
    worsts = dict.fromkeys(("not a number", "refuses", "one row", "turned"), float("inf"))
    worsts |= dict.fromkeys(("shifted", "below", "one number"), 0.05)
    worsts["rolled"] = max(apart(np.roll(wanted[n], 1, axis=0), wanted[n]) for n in BATCHES[1:])
    for kind, number in worsts.items():
        what = f"the worst difference of a candidate that {BROKEN[kind][1]}"
        expect_close(found[kind][0], number, what=what, code="wrong-worst", rtol=1e-2,
                     meaning="the largest over all batches; infinite where there is none")  # fmt: skip
    told = "a candidate 0.05 apart does not pass a tolerance of 0.2"
    claim(ask("shifted", tolerance=0.2)[1], told, "own-tolerance", "whoever calls says what is near enough")


BROKEN = {
    "shifted": ("argmax-only", "is 0.05 off in every logit, all digits alike",
                "digits alike are not logits alike: confidences are wrong, and the next photo's digit"),
    "below": ("signed", "is 0.05 too low in every logit", "below zero is a difference too: absolute values"),
    "one number": ("averages", "is 0.05 off in one logit", "an average hides it: take the largest"),
    "not a number": ("nan-passes", "gives NaN at batch 7",
                     "every comparison with NaN is False, so 'not larger than' lets it through"),
    "refuses": ("refusal-passes", "refuses every batch but 1", "no logits are not the same logits"),
    "one row": ("broadcasts", "gives one row for any batch", "numpy repeats one row: compare shapes first"),
    "turned": ("turned-passes", "gives (N, 10, 6)", "the same numbers in another order are other logits"),
    "rolled": ("mixing-passes", "gives each photo its neighbour's logits",
               "fill the batch with different photos, and compare row by row"),
    "rolled at 32": ("large-batch-passes", "is wrong from batch 8 on", "the last batch counts too"),
    "training": ("agrees-in-training", "was exported in training mode",
                 "both in training agree with each other, and with nothing that is served"),
}  # fmt: skip


@check(
    "diff", points=4,
    hints=(
        "Which of a node's attributes can hold another graph?",
        "A function that walks a graph calls itself for attribute.g of each node; onnx.numpy_helper.to_array "
        "gives an initializer as an array, however it is stored.",
        "def graphs(graph): yield graph; for each node and attribute that is a GRAPH: yield from "
        "graphs(attribute.g). Then Counters over op_type, and a sum of nbytes.",
    ),
)  # fmt: skip
def what_the_optimizer_did(answers: Answers) -> None:
    """Count what came, went and weighs, in every graph of the model."""
    before, after = draw_graph(answers.rng), draw_graph(answers.rng)
    before["main"]["Conv"] = after["main"]["Conv"] = 4
    before["branch"]["Conv"] = after["branch"]["Conv"] = 0
    before["main"]["Relu"], after["main"]["FusedConv"] = 5, 3
    seen = answers.inside("try_diff", before=before, after=after)
    wanted = side_by_side(before, after)
    changed = {op: pair for op, pair in wanted.items() if pair[0] != pair[1]}
    expect_type(seen["diff"], dict, what="what graph_diff returned")
    got = {op: tuple(pair) if isinstance(pair, list | tuple) else pair for op, pair in seen["diff"].items()}
    told = f"the difference is {dict(sorted(got.items()))}, wanted {dict(sorted(changed.items()))}"
    single = any(not isinstance(pair, tuple) for pair in got.values())
    expect(not single, told, code="single-number", meaning="a pair for each operator: before, after")
    shallow = side_by_side({**before, "branch": {}}, {**after, "branch": {}})
    mistaken = {
        "skips-subgraphs": ({op: pair for op, pair in shallow.items() if pair[0] != pair[1]},
                            "the branches of an If are graphs of their own, and their nodes run too"),
        "keeps-unchanged": (wanted, "only what changed is a difference"),
        "turned-around": ({op: pair[::-1] for op, pair in changed.items()}, "first before, then after"),
        "one-sided": ({op: pair for op, pair in changed.items() if pair[0]},
                      "what only the second graph has is missing: a fused operator is just that"),
    }  # fmt: skip
    for code, (numbers, meaning) in mistaken.items():
        claim(got != numbers, told, code, meaning)
    claim(got == changed, told, "wrong-diff", "nodes by op_type, of all graphs in the model")
    sizes = [array for array, _ in after["weights"]]
    outer = sum(array.nbytes for array in sizes[:-1])
    told = f"the weights take {seen['bytes']} bytes, wanted {sum(array.nbytes for array in sizes)}"
    raw = sum(array.nbytes for array, is_raw in after["weights"] if is_raw)
    mistaken = {
        "raw-only": (raw, "raw_data is one of several fields for numbers: to_array reads them all"),
        "skips-subgraph-weights": (outer, "the branches of an If have initializers of their own"),
        "counts-numbers": (sum(array.size for array in sizes), "numbers are counted: times the bytes of one"),
        "assumes-float32": (sum(4 * array.size for array in sizes), "int8 takes one byte, float16 two"),
        "file-size": (seen["size"], "a model holds names and nodes beside its weights"),
    }  # fmt: skip
    for code, (number, meaning) in mistaken.items():
        expect(seen["bytes"] != number, told, code=code, meaning=meaning)
    expect_close(seen["bytes"], sum(array.nbytes for array in sizes), what="the weights' bytes", rtol=0,
                 code="wrong-bytes", meaning="the bytes of all initializers, of every graph")  # fmt: skip


def draw_graph(rng: np.random.Generator) -> dict[str, Any]:
    """Return how many nodes a graph and its two branches have, and its weights with how they are stored."""
    kinds = [(np.float32, True), (np.int8, True), (np.float32, False), (np.float16, False), (np.int64, True)]
    weights = [(rng.integers(0, 9, int(rng.integers(5, 50))).astype(kind), is_raw) for kind, is_raw in kinds]
    main = {op: int(n) for op, n in zip(("Gemm", "Mul", "Add"), rng.integers(1, 9, 3), strict=True)}
    branch = {op: int(n) for op, n in zip(("Gemm", "Sub"), rng.integers(1, 9, 2), strict=True)}
    return {"main": main, "branch": branch, "weights": weights}


def side_by_side(*graphs: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return operator -> nodes of each graph: its own, an If in an If, and those of two branches alike."""
    nodes = [Counter(drawn["main"]) for drawn in graphs]
    for count, drawn in zip(nodes, graphs, strict=True):
        count.update({"If": 2}, **{op: 2 * n for op, n in drawn["branch"].items()})
    return {op: tuple(count[op] for count in nodes) for op in sorted({*nodes[0], *nodes[1]})}


@check(
    "providers", points=4,
    hints=(
        "Which of the events of a profile name a provider at all?",
        "Go through wanted in order: not listed, next; profile it in a try; then its share of all nodes that "
        "name a provider.",
        "ran = [e['args']['provider'] for e in events if 'provider' in e.get('args', {})]; take "
        "the name if ran.count(name) >= least * len(ran) and it ran at all; at the end raise ValueError.",
    ),
)  # fmt: skip
def listed_is_not_usable(answers: Answers) -> None:
    """Pick the provider that really runs the graph, and say why better ones were passed over."""
    nodes = int(answers.rng.integers(20, 60))
    wanted, listed = [TENSORRT, CUDA, CPU], [CUDA, CPU, TENSORRT]

    def ask(listed: list[str], ran: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        given = {"wanted": wanted, "listed": listed, "ran": {CPU: [(CPU, nodes)], **ran}, "least": 0.5}
        seen = answers.inside("try_pick", **given)
        told = f"what a trial run raised came out: {seen.get('escaped')}"
        claim("escaped" not in seen, told, "error-escapes", "who cannot start is passed over: try the next")
        unlisted = ", ".join(name for name in seen["tried"] if name not in listed)
        claim(not unlisted, f"{unlisted} was tried without being listed", "tries-unlisted",
              "a runtime without it warns and takes the CPU, which would count as a trial")  # fmt: skip
        if "refused" in seen:
            return None, seen
        what = "what pick_provider returned"
        expect_type(seen["said"], (tuple, list), what=what, meaning="a pair: name, skipped")
        expect_length(seen["said"], 2, what=what, code="no-name-and-reasons", meaning="wanted: name, skipped")
        return tuple(seen["said"]), seen

    def judge(listed: Any, ran: Any, name: str, reasons: dict[str, str], what: str, slip: str) -> None:
        said, seen = ask(listed, ran)
        claim(said is not None, f"{what}: ValueError: {seen.get('refused')}", "counts-every-event",
              "only events that name a provider are nodes that ran")  # fmt: skip
        (got, skipped), (code, _, meaning) = said, slip.partition(": ")
        claim(got == name, f"{what}: picked {got}, wanted {name}", code, meaning)
        claim(skipped == reasons, f"{what}: passed over {skipped}, wanted {reasons}", "wrong-reasons",
              "each better provider with its reason: 'not listed', 'fails' or 'not used'")  # fmt: skip

    judge(listed, {TENSORRT: [(TENSORRT, nodes)], CUDA: None}, TENSORRT, {},
          "TensorRT runs every node", "wrong-pick: the first of wanted, not of listed")  # fmt: skip
    unused = {TENSORRT: "not used", CUDA: "not used"}
    judge(listed, {TENSORRT: [(CPU, nodes)], CUDA: [(CPU, nodes)]}, CPU, unused,
          "all are listed, and the CPU runs every node",
          "trusts-the-list: a build lists what it was compiled with; only a run shows who works")  # fmt: skip
    judge([CUDA, CPU], {CUDA: None}, CPU, {TENSORRT: "not listed", CUDA: "fails"},
          "CUDA is listed and raises", "picks-the-broken: what raises cannot be used")  # fmt: skip
    few, most = nodes // 6, nodes - nodes // 6
    judge(listed, {TENSORRT: [(TENSORRT, few), (CPU, nodes - few)], CUDA: None}, CPU,
          {TENSORRT: "not used", CUDA: "fails"}, f"TensorRT runs {few} of {nodes} nodes, wanted half of them",
          "one-node-is-enough: the rest runs on the CPU, with a copy to and fro at each border")  # fmt: skip
    judge(listed, {TENSORRT: None, CUDA: [(CUDA, most), (CPU, few)]}, CUDA, {TENSORRT: "fails"},
          f"CUDA runs {most} of {nodes} nodes",
          "too-strict: it ran more than half of them")  # fmt: skip
    said, _ = ask([CUDA, TENSORRT], {TENSORRT: None, CUDA: None})
    claim(said is None, f"nothing is usable, and it returned {said}", "nothing-usable",
          "raise a ValueError: no answer is better than a wrong one")  # fmt: skip


@check(
    "drill", points=5, limit_s=60,
    hints=(
        "Give the draft two photos, then the same two in the other order. What should change, what does?",
        "Two lines look across photos: one takes the largest ink of all of them; one moves axes by reshape.",
        "amax over a photo's own two axes with keepdim=True; reshape(-1, 6, 10). The test: all at once, "
        "then each alone, in a try; the largest difference, and NaN is no yes.",
    ),
)  # fmt: skip
def alone_as_among_others(answers: Answers) -> None:
    """Mend the reading, so that no photo sees its neighbours; and write the test that sees if one does."""
    rng = answers.rng
    model = small_reader(rng)
    images = lit(rng, photos(rng, 9))
    seen = answers.inside("try_read", **recipe(model), images=images)
    expect_type(seen["logits"], torch.Tensor, what="what read_photos returned")
    got, ink = seen["logits"].numpy(), images.astype(np.float32)
    told = f"the logits of 9 photos have shape {got.shape}, wanted (9, 6, 10)"
    claim(got.shape == (9, 6, 10), told, "wrong-axes", "photos first, then digits, then classes")
    peaks = ink.max(axis=(1, 2), keepdims=True)
    wanted = scores_of(model, ink / peaks).reshape(-1, 6, 10)
    mistaken = {
        "nothing-mended": (mixed(scores_of(model, ink / ink.max())), "this is what the draft gives"),
        "rows-mixed": (mixed(scores_of(model, ink / peaks)),
                       "reshape(6, -1, 10) cuts the same numbers elsewhere: photo 2 gets digits of photo 1"),
        "ink-of-the-batch": (scores_of(model, ink / ink.max()).reshape(-1, 6, 10),
                             "max() without axes takes the darkest photo of all: a faint one stays faint"),
        "ink-left-as-it-is": (scores_of(model, ink / 255).reshape(-1, 6, 10),
                              "a photo in bad light is stretched to its own darkest ink, not divided by 255"),
        "turned-digits": (scores_of(model, ink / peaks).reshape(-1, 10, 6).swapaxes(1, 2),
                          "a row of 60 is six digits of ten classes each"),
    }  # fmt: skip
    told = f"alone and among others a photo's logits differ by {apart(got, wanted):.2g}"
    for code, (logits, meaning) in mistaken.items():
        expect(apart(got, logits) > 1e-3, told, code=code, meaning=meaning)
    meaning = "wanted: for each photo what the draft gives for it alone"
    expect(apart(got, wanted) < 1e-3, told, code="wrong-reading", meaning=meaning)
    claim(seen["passes"] == 1, f"{seen['passes']} passes through the network for 9 photos", "one-by-one",
          "right, but a batch then costs as much as single photos, and an export unrolls it")  # fmt: skip
    pool, turns = lit(rng, photos(rng, 32)), rng.permutation([*GUARDED]).tolist()
    given = {**recipe(model), "images": pool, "batches": [2, 7, 32]}
    said = {kind: answers.inside("try_guard", **given, kind=kind) for kind in turns}
    for kind, (code, what, meaning) in GUARDED.items():
        seen = said[kind]
        told = f"a refusal came out of the test: {seen.get('escaped')}"
        claim("escaped" not in seen, told, "guard-lets-errors-out", "who refuses a batch is not free: False")
        expect_type(seen["said"], (bool, np.bool_), what="what is_batch_free returned",
                    code="no-true-or-false", meaning="a test ends in True or False")  # fmt: skip
        verb = "refuses" if kind == "rounded" else "accepts"
        claim(seen["said"] == (kind == "rounded"), f"is_batch_free {verb} what {what}", code, meaning)


GUARDED = {
    "rounded": ("guard-blames-the-right", "differs by less than 1e-4 between batch sizes",
                "kernels add up in another order for another size: rounding is no fault"),
    "first off": ("guard-argmax", "is 0.05 off in the first photo", "digits alike are not logits alike"),
    "mixed": ("guard-misses-mixing", "hands photos digits of others", "compare photo by photo"),
    "first right": ("guard-first-row-only", "has only its first row right", "look at every photo"),
    "brightest": ("guard-misses-ink", "looks at the batch's darkest ink", "compare with each photo alone"),
    "rolled at 32": ("guard-small-batch", "is wrong from batch 8 on", "try a large batch too"),
    "one number": ("guard-averages", "is 0.05 off in one logit", "an average hides it: take the largest"),
    "not a number": ("guard-nan", "gives NaN at batch 7", "NaN is not within any tolerance"),
    "refuses": ("guard-refusal", "refuses every batch but 1", "no logits are not the same logits"),
}  # fmt: skip


def lit(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """Return the photos in light from bad to good: the darkest ink between 60 and 220."""
    light = rng.permutation(np.linspace(60, 220, len(images)) / 255)
    return (images * light[:, None, None]).astype(np.uint8)


def scores_of(model: nn.Module, ink: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model.head(model.stem(torch.from_numpy(ink).unsqueeze(1))).numpy()


def mixed(scores: np.ndarray) -> np.ndarray:
    return scores.reshape(6, -1, 10).swapaxes(0, 1)
