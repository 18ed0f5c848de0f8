"""The prediction form: a slider for the guess, one for the interval, and a button that commits to them.

Where widgets do not render (nbmake, papermill, GitHub's viewer) the card above it says what to type instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

STEPS = 200
"""positions of a slider"""
WIDE = 30.0
"""a range over this factor is divided by ratios instead of differences"""


def positions(low: float, high: float) -> list[float]:
    """Return the values that a slider from `low` to `high` stops at: equal ratios if it is wide, else steps.

    Every value is rounded to what a person would say (three digits); the ends are exact.
    """
    if low > 0 and high / low >= WIDE:
        values = np.geomspace(low, high, STEPS + 1)
    else:
        values = np.linspace(low, high, STEPS + 1)
    digits = 2 - math.floor(math.log10(max(abs(low), abs(high))))
    rounded = [
        float(f"{value:.3g}") if low > 0 and high / low >= WIDE else round(float(value), digits)
        for value in values
    ]
    return sorted({low, *(value for value in rounded if low < value < high), high})


def prediction_form(
    range: tuple[float, float], unit: str, commit: Callable[[float, float, float], None]
) -> Any:
    """Return the form; `commit(guess, low, high)` is called once, when the button is pressed."""
    import ipywidgets

    values = positions(*range)
    # a range reads "low-high": with a true minus sign, -5 to 45 is not "-5-45"
    options = [(f"{value:,.4g}".replace("-", "−"), value) for value in values]
    middle, quarter = len(values) // 2, len(values) // 4
    wide = ipywidgets.Layout(width="100%", max_width="40em")
    style = {"description_width": f"{max(9, 0.6 * len(unit) + 6):g}em"}
    guess = ipywidgets.SelectionSlider(
        options=options,
        index=middle,
        description=f"my guess [{unit}]" if unit else "my guess",
        layout=wide,
        style=style,
        continuous_update=True,
    )
    interval = ipywidgets.SelectionRangeSlider(
        options=options, index=(quarter, len(values) - 1 - quarter), description="9 in 10 sure",
        layout=wide, style=style,
    )  # fmt: skip
    button = ipywidgets.Button(description="Commit", button_style="primary", icon="check", tooltip="Commit")
    note = ipywidgets.HTML()
    form = ipywidgets.VBox([guess, interval, ipywidgets.HBox([button, note])], layout=wide)

    def keep_inside(change: Any) -> None:
        low, high = interval.index
        if not low <= guess.index <= high:
            interval.index = (min(low, guess.index), max(high, guess.index))

    def press(_: Any) -> None:
        low, high = interval.value
        for widget in (guess, interval, button):
            widget.disabled = True
        commit(guess.value, low, high)
        note.value = "kept: go on to the next cell"

    guess.observe(keep_inside, "index")
    interval.observe(keep_inside, "index")
    button.on_click(press)
    return form


def show(form: Any) -> None:
    """Display a form; where widgets do not render, its place is taken by a short line."""
    from IPython.display import display

    bundle = form._repr_mimebundle_()
    display({**bundle, "text/plain": "(sliders show only in a running notebook)"}, raw=True)
