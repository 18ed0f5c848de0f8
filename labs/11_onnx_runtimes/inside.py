"""What lab 11 does beside the learner's code: it builds models and candidates, and reports what it saw.

Nothing here knows what is right; the checks work that out, from the same weights and photos.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from scalelab.models import PinReader

torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other: 0.01 s become seconds


def try_export(answers, *, config, weights, asleep):
    """Report the file that was written, the files beside it, and what the export did to the model.

    The model comes out of training, but for the part that `asleep` names.
    """
    model = _reader(config, weights).train()
    if asleep:
        model.get_submodule(asleep).eval()
    before = [module.training for module in model.modules()]
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "reader.onnx"
        answers["export_reader"](model, path)
        files = {file.name: file for file in Path(folder).rglob("*") if file.is_file()}
        content = files[path.name].read_bytes() if path.name in files else b""
    modes = [module.training for module in model.modules()]
    return {
        "content": content,
        "beside": sorted(set(files) - {path.name}),
        "asleep": modes.count(False),
        "is_in_mode": modes == before,
        "state": dict(model.state_dict()),
    }


def run_file(answers, *, content, batches):
    """Report a file's doors, and its logits for each batch (or, in a sentence, why there are none)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own classes differ between its versions
        return {"trouble": _first_line(error)}
    takes, gives = session.get_inputs(), session.get_outputs()
    logits = []
    for images in batches:
        given = images if takes[0].type == "tensor(uint8)" else images.astype(np.float32)
        try:
            logits.append(session.run(None, {takes[0].name: given})[0])
        except Exception as error:
            logits.append(_first_line(error))
    doors = [[door.name, door.type, [str(size) for size in door.shape]] for door in (*takes, *gives)]
    return {"trouble": "", "doors": doors, "logits": logits}


def try_parity(answers, *, config, weights, images, kind, batches, tolerance, training):
    """Report what the learner's parity said of a candidate of this kind, and what was asked of the candidate.

    The model comes in training mode if `training` says so.
    """
    model, twin, sizes = _reader(config, weights).train(training), _reader(config, weights), []
    before = dict(model.state_dict())
    before = {name: value.clone() for name, value in before.items()}

    def predict(photos):
        sizes.append(len(photos))
        return CANDIDATES[kind](twin, np.array(photos))

    try:
        said = answers["parity"](model, predict, images, batches, tolerance)
    except RefusedError as error:
        return {"escaped": str(error), "sizes": sizes}
    except ValueError:  # what numpy says of two shapes
        if kind != "turned":
            raise
        return {"escaped": "ValueError over logits of shape (N, 10, 6)", "sizes": sizes}
    after = model.state_dict()
    return {
        "said": said,
        "sizes": sizes,
        "is_in_mode": all(module.training == training for module in model.modules()),
        "has_moved": any(not torch.equal(after[name], before[name]) for name in before),
    }


class RefusedError(Exception):
    """What a runtime raises for a batch that its graph does not take."""


def _logits(model, images):
    with torch.no_grad():
        return model(torch.from_numpy(images)).numpy()


def _refuses(model, images):
    if len(images) != 1:
        raise RefusedError(f"Got invalid dimensions for input: images, Got: {len(images)} Expected: 1")
    return _logits(model, images)


def _rolled(model, images, *, after):
    logits = _logits(model, images)
    return logits if len(images) <= after else np.roll(logits, 1, axis=0)


def _changed(model, images, where, value):
    logits = _logits(model, images)
    logits[where] = value if np.isnan(value) else logits[where] + value
    return logits


def _mixed(model, images):
    """The rows of a batch shuffled as by a reshape that should have been a transpose."""
    logits = _logits(model, images)
    return np.ascontiguousarray(logits.reshape(6, -1, 10).swapaxes(0, 1))


def _in_training(model, images):
    model.train()
    try:
        return _logits(model, images)
    finally:
        model.eval()


def _one_number(model, images):
    logits = _logits(model, images)
    logits[-1, 3, logits[-1, 3].argmin()] += 0.05  # the least likely class: no digit changes
    return logits


def _below(model, images):
    return _logits(model, images) - np.float32(0.05)


CANDIDATES = {
    "right": lambda model, images: _changed(model, images, ..., 1e-6 * (-1) ** len(images)),
    "shifted": lambda model, images: _changed(model, images, ..., 0.05),
    "below": _below,
    "one number": _one_number,
    "first off": lambda model, images: _changed(model, images, 0, 0.05 * (len(images) > 1)),
    "not a number": lambda model, images: _changed(
        model, images, (-1, 5, 9), float("nan") if len(images) == 7 else 0.0
    ),
    "refuses": _refuses,
    "one row": lambda model, images: _logits(model, images[:1]),
    "turned": lambda model, images: _logits(model, images).swapaxes(1, 2),
    "rolled": lambda model, images: _rolled(model, images, after=1),
    "rolled at 32": lambda model, images: _rolled(model, images, after=7),
    "mixed": _mixed,
    "training": _in_training,
    "brightest": lambda model, images: _logits(
        model, (images * (255.0 / max(1, images.max()))).astype(np.uint8)
    ),
    "first right": lambda model, images: (
        np.concatenate([_logits(model, images[:1]), np.roll(_logits(model, images[1:]), 1, axis=0)])
        if len(images) > 2
        else _logits(model, images)
    ),
    "rounded": lambda model, images: _logits(model, images) + np.float32(2e-6 * len(images)),
}


def try_diff(answers, *, before, after):
    """Report the difference of two drawn models, the bytes of the second's weights, and its size."""
    first, second = _model(before), _model(after)
    diff, weights = answers["graph_diff"](first, second), answers["weight_bytes"](second)
    return {"diff": diff, "bytes": weights, "size": second.ByteSize()}


def _model(drawn):
    """Return a model for reading only; the last weight lies in a branch of the first branch."""
    import onnx
    from onnx import helper, numpy_helper

    tensors = []
    for number, (array, is_raw) in enumerate(drawn["weights"]):
        stored = numpy_helper.from_array(array, f"w{number}")
        if not is_raw:
            stored = helper.make_tensor(f"w{number}", stored.data_type, array.shape, array.tolist())
        tensors.append(stored)

    def nodes(counts):
        named = [(op, number) for op, count in counts.items() for number in range(count)]
        return [helper.make_node(op, ["x"], [f"{op}{number}"], name=f"n{number}") for op, number in named]

    deep, arm = (
        helper.make_graph(nodes(drawn["branch"]), "arm", [], [], kept) for kept in (tensors[-1:], [])
    )
    inner = helper.make_node("If", ["x"], ["z"], then_branch=deep)
    arms = [helper.make_graph([inner], "outer", [], []), arm]
    fork = helper.make_node("If", ["x"], ["y"], then_branch=arms[0], else_branch=arms[1])
    graph = helper.make_graph([*nodes(drawn["main"]), fork], "drawn", [], [], tensors[:-1])
    return onnx.load_model_from_string(helper.make_model(graph).SerializeToString())


def try_pick(answers, *, wanted, listed, ran, least):
    """Report which provider was picked, and which were tried.

    `ran` has, for each provider, what a profile of a trial run shows: pairs of a provider and its nodes;
    None: the trial run fails.
    """
    tried = []

    def profile(name):
        tried.append(name)
        if ran.get(name) is None:
            raise ProviderError(f"{name}: libcudnn.so.9: cannot open shared object file")
        events = [{"cat": "Session", "name": "model_loading_uri", "dur": 900}]
        for provider, nodes in ran[name]:
            took = 90 if provider.startswith("CPU") else 1
            kernel = {"cat": "Node", "dur": took, "args": {"provider": provider, "op_name": "Conv"}}
            events += [{**kernel, "name": f"conv_{number}_kernel_time"} for number in range(nodes)]
            events += [{"cat": "Node", "name": f"conv_{number}_fence_before", "dur": 1, "args": {}}
                       for number in range(nodes)]  # fmt: skip
        return [*events, {"cat": "Session", "name": "model_run", "dur": 4000, "args": {}}]

    try:
        said = answers["pick_provider"](wanted, listed, profile, least)
    except ProviderError as error:
        return {"escaped": str(error), "tried": tried}
    except ValueError as error:
        return {"refused": str(error), "tried": tried}
    return {"said": said, "tried": tried}


class ProviderError(Exception):
    """What a provider raises whose libraries are not there."""


def try_read(answers, *, config, weights, images):
    """Report the logits of the learner's reading, and how many passes through the network it took."""
    model, passes = _reader(config, weights), []
    model.stem.register_forward_hook(lambda *_: passes.append(1))
    with torch.no_grad():
        logits = answers["read_photos"](model, torch.from_numpy(images))
    return {"logits": logits, "passes": len(passes)}


def try_guard(answers, *, config, weights, images, batches, kind, **tolerance):
    """Report what the learner's test says of a candidate of this kind."""
    model = _reader(config, weights)

    def predict(photos):
        return CANDIDATES[kind](model, np.array(photos))

    try:
        return {"said": answers["is_batch_free"](predict, images, batches, **tolerance)}
    except RefusedError as error:
        return {"escaped": str(error)}


def _reader(config, weights) -> nn.Module:
    model = PinReader(**config)
    model.load_state_dict(weights)
    return model.eval()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@contextlib.contextmanager
def _quiet():
    """Hold back what the exporter says about its own internals: a check cell shall show its card alone."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
