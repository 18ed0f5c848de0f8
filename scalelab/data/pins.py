"""The directory of Indian PIN codes: which exist, and where they are."""

from __future__ import annotations

import csv
import functools
import io
import lzma
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from scalelab.core.paths import shipped
from scalelab.data.files import read_verified


@dataclass(frozen=True)
class Office:
    """A PIN code and the place of most of its post offices."""

    pin: str
    district: str | None
    state: str | None
    offices: int
    """number of post offices with this code"""


class PinDirectory:
    """All PIN codes that exist, by code."""

    def __init__(self, offices: Iterable[Office]):
        self._by_pin = {office.pin: office for office in offices}
        self.codes = np.array(sorted(int(pin) for pin in self._by_pin), dtype=np.int64)
        """``(P,) int64``, sorted, distinct; read-only"""
        self.codes.setflags(write=False)

    def __len__(self) -> int:
        return len(self._by_pin)

    def __contains__(self, pin: object) -> bool:
        return pin in self._by_pin

    def find(self, pin: str) -> Office | None:
        """Return the place of a PIN code of six digits, or None if it does not exist."""
        return self._by_pin.get(pin)


def load_pins() -> PinDirectory:
    """Return the directory: 19,586 codes with district and state.

    Raises:
        DataError: the file is missing or damaged.
    """
    return _load(str(shipped("datasets")))


@functools.lru_cache(maxsize=4)
def _load(folder: str) -> PinDirectory:
    del folder  # the key: another folder is another file
    text = lzma.decompress(read_verified("pins.csv.xz")).decode()
    return PinDirectory(
        Office(row["pin"], row["district"] or None, row["state"] or None, int(row["offices"]))
        for row in csv.DictReader(io.StringIO(text))
    )
