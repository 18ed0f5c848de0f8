"""What lab 09 does beside the learner's code: it builds models and streams, and reports what it saw.

Nothing here knows what is right; the checks work that out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from scalelab.compress.numbers.affine import affine_from_range, affine_of
from scalelab.models import PinReader
from scalelab.train import trained_reader

torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other: 0.01 s become seconds


class _Watched(nn.Module):
    """Two dense layers that count their passes, and see whether gradients are on."""

    def __init__(self, weights: list[np.ndarray]):
        super().__init__()
        self.first, self.second = (_linear(weight) for weight in weights)
        self.passes, self.has_grad, self.was_training = 0, False, False

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        self.has_grad |= torch.is_grad_enabled()
        self.was_training |= self.training
        return self.second(torch.relu(self.first(x)))


def try_ranges(answers, *, weights, batches, keep):
    """Report the ranges of the second and first layer, or the error, and what was done on the way."""
    model = _Watched(weights).eval()
    stream = (torch.from_numpy(batch) for batch in batches)
    seen = {"ranges": None, "raised": ""}
    try:
        seen["ranges"] = answers["input_ranges"](model, [model.second, model.first], stream, keep)
    except ValueError as error:
        if batches:
            raise
        seen["raised"] = type(error).__name__
    except (TypeError, IndexError, RuntimeError, ZeroDivisionError) as error:
        if batches:
            raise
        seen["raised"] = f"{type(error).__name__}: {error}"
    hooks = sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in model.modules())
    watched = {"passes": model.passes, "grad": model.has_grad, "training": model.was_training}
    return {**seen, **watched, "hooks": hooks}


def try_quantize(answers, *, images, batches, config=None, weights=None):
    """Report the logits of the learner's twin, calibrated by a stream, or the ValueError that came.

    The reader is the trained one, or one of these weights.
    """
    if config is None:
        reader = trained_reader()
    else:
        reader = PinReader(**config).eval()
        reader.load_state_dict(weights)
    try:
        twin = answers["quantize_reader"](reader, iter(batches))
    except ValueError as error:
        return {"raised": str(error) or "ValueError", "logits": None}
    return {"raised": "", "logits": twin(images)}


def try_tests(answers, *, names):
    """Report what the learner's test says of functions that quantize, right ones and broken ones."""
    return [answers["keeps_reading"](_quantizer(name)) for name in names]


def _quantizer(name: str):
    """Return a function that quantizes a reader.

    "right" goes over the batches once, "list" keeps them. "stream" does not, and takes the weights' range
    where no batch is left; "wraps" takes steps so small that large weights wrap around in int8.
    """

    def quantize_it(reader, batches):
        layers = [layer for layer in reader.head if isinstance(layer, nn.Linear)]
        if name == "list":
            batches = list(batches)
        if name in ("list", "stream"):
            ranges = [_ranges(reader, [layer], batches)[0] for layer in layers]
        else:
            ranges = _ranges(reader, layers, batches)
        return _Twin(reader, layers, ranges, wraps=name == "wraps")

    return quantize_it


def _ranges(reader, layers: list[nn.Module], batches) -> list[tuple[float, float]]:
    """Return the range of each layer's inputs; where no batch came, of its weights."""
    ranges = dict.fromkeys(layers, (np.inf, -np.inf))

    def widen(layer, given):
        low, high = ranges[layer]
        ranges[layer] = min(low, float(given[0].min())), max(high, float(given[0].max()))

    handles = [layer.register_forward_pre_hook(widen) for layer in layers]
    with torch.no_grad():
        for batch in batches:
            reader(batch)
        for handle in handles:
            handle.remove()
        return [
            (low, high) if low <= high else (float(layer.weight.min()), float(layer.weight.max()))
            for layer, (low, high) in ranges.items()
        ]


class _Twin:
    """Photos to logits, the dense layers' weights and inputs rounded to eight bits."""

    def __init__(self, reader, layers, ranges, wraps):
        self.stem, self.parts = reader.stem, []
        for layer, ends in zip(layers, ranges, strict=True):
            weights = layer.weight.detach().numpy()
            ruler = affine_of(weights, axis=0)
            if wraps:
                steps = np.rint(2 * weights / ruler.scale[:, None]).astype(np.int64)
                kept = steps.astype(np.int8) * ruler.scale[:, None] / 2
            else:
                kept = ruler.round_trip(weights)
            self.parts.append((affine_from_range(*ends), kept, layer.bias.detach().numpy()))

    def __call__(self, images):
        with torch.no_grad():
            x = self.stem(images.unsqueeze(1) / 255).flatten(1).numpy()
        for place, (ruler, weights, bias) in enumerate(self.parts):
            x = ruler.round_trip(np.maximum(x, 0) if place else x) @ weights.T + bias
        return x.reshape(-1, 6, 10)


def _linear(weight: np.ndarray) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.load_state_dict({"weight": torch.from_numpy(weight)})
    return layer
