"""A narrow reader, trained for a second, and its files: made once for all tests of this folder."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest


class Made(NamedTuple):
    model: object
    images: np.ndarray
    weights_path: object
    onnx_path: object
    int8_path: object
    export_report: object
    quantize_report: object


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Made:
    import torch

    from scalelab.compress import export_onnx, quantize_static
    from scalelab.data import compose_pins
    from scalelab.models import PinReader, save_reader

    folder = tmp_path_factory.mktemp("reader")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = PinReader(width=512, channels=(2, 4, 4))
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    pins = compose_pins(64, split="train", seed=0)
    for _ in range(40):
        logits = model(torch.from_numpy(pins.images))
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), torch.from_numpy(pins.labels.astype(np.int64)).flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    weights_path = save_reader(model, folder / "reader.safetensors")
    exported = export_onnx(model, folder / "reader.onnx")
    quantized = quantize_static(exported.path, folder / "reader.int8.onnx", pins.images)
    return Made(model, pins.images, weights_path, exported.path, quantized.path, exported, quantized)
