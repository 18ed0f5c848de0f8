"""The slips that checks know: a feedback code and what it means, in ``meanings.toml`` beside checks.py."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.grading.expectations import expect, expect_close, expect_length, expect_type

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Meanings(dict[str, str]):
    """Expectations that fail by a code alone; the meaning is looked up.

    Args:
        checks: the path of the lab's checks.py, ``__file__`` there.
    """

    def __init__(self, checks: str):
        super().__init__(tomllib.loads((Path(checks).parent / "meanings.toml").read_text("utf-8")))

    def fail_if(self, is_so: object, told: str, code: str) -> None:
        """Fail with a sentence and a code if something is so."""
        expect(not is_so, told, code=code, meaning=self[code])

    def tell(
        self, found: Any, wanted: Any, slips: Mapping[str, Any], told: str, *, rtol: float = 1e-4
    ) -> None:
        """Fail with the code of the first slip that gives what was found, unless that is what was wanted.

        Args:
            found: a number or an array, from the answer.
            wanted: the same, from the oracle.
            slips: code -> what an answer with this slip gives.
        """
        expect_type(found, (float, int, np.number, np.ndarray), what=f"where {told}: your value")
        found = np.asarray(found, dtype=float)
        if found.shape != np.shape(wanted) or np.allclose(found, wanted, rtol=rtol, atol=0):
            return
        for code, value in slips.items():
            same = np.shape(value) == found.shape and np.allclose(found, value, rtol=rtol, atol=0)
            self.fail_if(same, told, code)

    def close(
        self, found: Any, wanted: Any, what: str, code: str, *, rtol: float = 1e-4, atol: float = 0.0
    ) -> None:
        """Fail with the code unless both are equal within the tolerances."""
        expect_close(found, wanted, what=what, code=code, meaning=self[code], rtol=rtol, atol=atol)

    def parts(self, value: Any, number: int, what: str, code: str) -> Any:
        """Return a value that must be so many values."""
        torch = sys.modules.get("torch")
        kinds = (tuple, list, np.ndarray, *([torch.Tensor] if torch else []))
        expect_type(value, kinds, what=what, code=code, meaning=self[code])
        expect_length(value, number, what=what, code=code, meaning=self[code])
        return value

    def whole_numbers(self, value: Any, shape: tuple[int, ...], dtype: str, what: str) -> np.ndarray:
        """Return an array as int64; fail with ``other-shape`` or, for instance, ``not-uint8``."""
        expect_type(value, np.ndarray, what=what)
        array = np.asarray(value)
        self.fail_if(array.shape != shape, f"{what} has shape {array.shape}, wanted {shape}", "other-shape")
        self.fail_if(array.dtype != dtype, f"{what} is {array.dtype}, wanted {dtype}", f"not-{dtype}")
        return array.astype(np.int64)
