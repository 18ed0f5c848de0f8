"""A measurement as a lab shows it: the value, what it rests on, and the figure with the data behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.core.errors import ConfigError
from scalelab.core.stats import Verdict


class MissingMeasurement(ConfigError):
    """Something needs a measurement that was refused."""


class NotMeasured:
    """Stands for a measurement that was refused: false, and a sentence for whoever asks for its value."""

    def __init__(self, name: str):
        self._name = name

    def __bool__(self) -> bool:
        return False

    def __getattr__(self, field: str) -> Any:
        if field.startswith("_"):  # what a notebook asks of every object
            raise AttributeError(field)
        raise MissingMeasurement(
            f"{self._name!r} was not measured, so it has no {field}",
            hint=f"run the cells with lab.predict({self._name!r}, ...) and lab.measure above first",
        )

    def __repr__(self) -> str:
        return "not measured"


@dataclass(frozen=True, repr=False)
class Measurement:
    """What a lab's ``run`` returns.

    Raises:
        ConfigError: the value is not a finite number, or a figure comes without words or data.
    """

    value: float
    unit: str = ""
    values: Sequence[float] = ()
    """all single values, where there are many"""
    verdict: Verdict | str | None = None
    """PASS, FAIL or INCONCLUSIVE, where a claim was judged"""
    detail: str = ""
    """what the verdict or the value rests on, a sentence"""
    figure: Any = None
    """a Plotly figure, or whatever the notebook can show"""
    table: Sequence[Mapping[str, Any]] | None = None
    """the figure's data, row by row"""
    alt: str = ""
    """the figure in words, for whoever cannot see it"""

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "value", float(self.value))
        except (TypeError, ValueError):
            raise ConfigError(
                f"a measurement of {self.value!r} is no number", hint="return the number that was measured"
            ) from None
        if not math.isfinite(self.value):
            raise ConfigError(f"a measurement of {self.value} is none", hint="did the run take any time?")
        if self.verdict is not None:
            if str(getattr(self.verdict, "value", self.verdict)) not in set(Verdict.__members__):
                raise ConfigError(
                    f"a verdict of {self.verdict!r} does not exist", hint="PASS, FAIL or INCONCLUSIVE"
                )
            object.__setattr__(self, "verdict", Verdict(self.verdict))
        if self.figure is not None and not (self.alt and self.table):
            raise ConfigError(
                "the figure has no alt text or no table", hint="give alt= (a sentence) and table= (rows)"
            )

    def __repr__(self) -> str:
        return f"{self.value:.4g} {self.unit}".strip()
