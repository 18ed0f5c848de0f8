"""The reader that ships with ScaleLab, so that a lab about inference can begin without a training."""

from __future__ import annotations

from scalelab.core.paths import shipped
from scalelab.data import read_verified
from scalelab.models import PinReader, load_reader

FILE = "reader.safetensors"


def trained_reader() -> PinReader:
    """Return a trained reader of width 256 (1.5 million weights, float32), in evaluation mode.

    `datasets/manifest.toml` has the command that trained it, `datasets/README.md` its accuracy.

    Raises:
        DataError: the file is missing or damaged.
    """
    read_verified(FILE)
    return load_reader(shipped("datasets") / FILE)
