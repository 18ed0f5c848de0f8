"""Write reader.safetensors and its entry in manifest.toml: the reader that labs about inference begin with.

    python datasets/train_reader.py

About a minute on two cores. The same machine and thread count give the same weights; another machine gives
a reader as good, with other bytes. The recipe is `scalelab train`'s own, but for the width.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import torch

from scalelab.data import compose_pins
from scalelab.models import accuracy, save_reader
from scalelab.train import TrainConfig, predict, train_reader

HERE = Path(__file__).resolve().parent
NAME = "reader.safetensors"
ENTRY = """
[files."{name}"]
bytes = {bytes}
sha256 = "{sha256}"
holds = "a trained PIN reader, width {width}, float32: {digit:.2%} of the digits of {pins:,} test images"
source = "datasets/train_reader.py, torch {torch}, seed {seed}, {steps} steps of {batch} images"
licence = "Apache-2.0 (the weights, as this project); trained on digits.npz, see there"
"""


def main() -> None:
    """Train, test, write the file, and describe it."""
    torch.set_num_threads(1)
    config = TrainConfig(width=256)
    model, _ = train_reader(config)
    path = save_reader(model, HERE / NAME)
    test = compose_pins(2000, "test", seed=1)
    score = accuracy(predict(model, test.images), test.labels)
    content = path.read_bytes()
    entry = ENTRY.format(
        name=NAME,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        width=config.width,
        digit=score.digit,
        pins=score.n_pins,
        torch=torch.__version__.split("+")[0],
        seed=config.seed,
        steps=config.steps,
        batch=config.batch_size,
    )
    manifest = HERE / "manifest.toml"
    others = re.sub(rf'\n\[files\."{re.escape(NAME)}"\]\n(?:[^\[\n].*\n)*', "", manifest.read_text("utf-8"))
    manifest.write_text(others + entry, "utf-8")
    print(
        f"{NAME}: {len(content):,} bytes, {score.digit:.2%} of the digits, {score.pin:.2%} of the PIN codes"
    )


if __name__ == "__main__":
    main()
