"""Images of handwritten PIN codes, put together from real digits and PIN codes that exist.

numpy and the standard library only; each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalelab.data.augment import Augmentation
    from scalelab.data.compose import PinImages, compose_pins
    from scalelab.data.digits import SPLITS, Digits, load_digits, split_indices
    from scalelab.data.files import DataFile, read_manifest, read_verified, verify_all
    from scalelab.data.picture import contact_sheet, to_png
    from scalelab.data.pins import Office, PinDirectory, load_pins

__all__ = [
    "SPLITS",
    "Augmentation",
    "DataFile",
    "Digits",
    "Office",
    "PinDirectory",
    "PinImages",
    "compose_pins",
    "contact_sheet",
    "load_digits",
    "load_pins",
    "read_manifest",
    "read_verified",
    "split_indices",
    "to_png",
    "verify_all",
]

_HOMES = {
    "augment": ("Augmentation",),
    "compose": ("PinImages", "compose_pins"),
    "digits": ("SPLITS", "Digits", "load_digits", "split_indices"),
    "files": ("DataFile", "read_manifest", "read_verified", "verify_all"),
    "picture": ("contact_sheet", "to_png"),
    "pins": ("Office", "PinDirectory", "load_pins"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
