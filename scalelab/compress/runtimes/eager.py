"""torch in eager mode: one kernel after the other, as the Python code says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scalelab.compress.runtimes.face import Session, check_images, checked_threads, existing, no_logits
from scalelab.core.lazy import require


class EagerSession:
    """Weights of a reader in torch; `runtime` is what the name begins with."""

    runtime = "torch"

    def __init__(self, path: Path, threads: int):
        torch = require("torch", extra="torch")
        from scalelab.models import load_reader

        torch.set_num_threads(threads)
        self.name = f"{self.runtime} {path.stem}"
        self.path = path
        self.bytes = path.stat().st_size
        self._torch = torch
        self._run: Any = load_reader(path).eval()

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Map images ``(N, 28, 168) uint8`` to logits ``(N, 6, 10) float32``."""
        check_images(images)
        if not len(images):
            return no_logits()
        # torch warns about memory that it may not write to, which is what an image from a socket is
        tensor = self._torch.from_numpy(np.require(images, requirements=["C", "W"]))
        with self._torch.inference_mode():
            logits: np.ndarray = self._run(tensor).numpy()
        return logits


def torch_session(path: Path | str, threads: int = 1) -> Session:
    """Open weights that `scalelab.models.save_reader` wrote, in torch's eager mode.

    `threads` is torch's own setting and holds for the whole process, not for this session alone.

    Raises:
        DataError: the file is missing or no reader.
    """
    return EagerSession(existing(path), checked_threads(threads))
