"""The model of the drills: it writes down every item that it runs, and some items do it harm.

An item is an image whose first byte says what it does and whose next four are its number. The model's file
is JSON: where the runs are written, and how long an item takes. Each line of that log says ``began`` or
``done``, the process and the number; a line is written by one append, so that several workers can share it.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.serve.pins import IMAGE_BYTES

GOOD, SLOW, POISON, STARVED, HUNGRY = 1, 2, 3, 4, 5
"""runs; takes half a second; raises ValueError; raises MemoryError; takes memory until its process ends"""
_SLOW_S = 0.5
_STEP_BYTES = 32 << 20
_STEP_S = 0.02
_MOST_BYTES = 1 << 30


def make_item(number: int, kind: int = GOOD) -> bytes:
    """Return the payload of one item."""
    head = bytes([kind]) + number.to_bytes(4, "big")
    return head + bytes(IMAGE_BYTES - len(head))


def write_model(path: Path, *, log: Path, item_s: float) -> None:
    """Write the model's file."""
    path.write_text(json.dumps({"log": str(log), "item_s": item_s}))


@dataclass(frozen=True)
class Runs:
    """What the log tells."""

    began: dict[int, int]
    """number -> process that ran it last"""
    done: Counter[int]
    """number -> how often it ran to its end"""

    @classmethod
    def read(cls, log: Path) -> Runs:
        """Read the log; a missing one tells of no runs."""
        began: dict[int, int] = {}
        done: Counter[int] = Counter()
        for line in log.read_text().splitlines() if log.exists() else ():
            what, pid, number = line.split()
            if what == "done":
                done[int(number)] += 1
            else:
                began[int(number)] = int(pid)
        return cls(began, done)


class CountingModel:
    """Answers each item with its number."""

    def __init__(self, log: Path, item_s: float):
        self._log, self._item_s = log, item_s

    def predict_batch(self, images: Any) -> list[dict[str, Any]]:
        """Run one batch: begun, harmed if an item is harmful, and done."""
        rows = images.reshape(len(images), -1)[:, :5]
        kinds, numbers = rows[:, 0], rows[:, 1:].copy().view(">u4").ravel()
        self._note("began", kinds, numbers)
        time.sleep(self._item_s * len(images) + _SLOW_S * int((kinds == SLOW).sum()))
        if (kinds == POISON).any():
            raise ValueError("this item is poison")
        if (kinds == STARVED).any():
            raise MemoryError("no memory for this item")
        if (kinds == HUNGRY).any():
            _eat()
        self._note("done", kinds, numbers)
        return [{"number": int(number)} for number in numbers]

    def _note(self, what: str, kinds: Any, numbers: Any) -> None:
        lines = [
            f"{what} {os.getpid()} {n}\n" for kind, n in zip(kinds, numbers, strict=True) if kind
        ]  # kind 0 is the warm-up
        if lines:
            file = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, "".join(lines).encode())
            finally:
                os.close(file)


def _eat() -> None:
    held = []
    while len(held) * _STEP_BYTES < _MOST_BYTES:
        held.append(b"\1" * _STEP_BYTES)  # written, so that it counts
        time.sleep(_STEP_S)
    raise RuntimeError(f"nobody stopped me at {_MOST_BYTES} bytes")


def make(path: str, threads: int = 1) -> CountingModel:
    """Load the model: the factory of the drills."""
    settings = json.loads(Path(path).read_text())
    return CountingModel(Path(settings["log"]), float(settings["item_s"]))
