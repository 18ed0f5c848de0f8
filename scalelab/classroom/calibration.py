"""How well the learner's intervals hold what is measured: one plot of all predictions so far, in all labs."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape

from scalelab.classroom import cards
from scalelab.classroom.predictions import CONFIDENCE, Prediction

REACH = 3.0
"""the plot ends at this many half-widths; what lies beyond stands at its edge"""
_WIDTH, _LEFT, _RIGHT, _STEP = 400, 16, 16, 13


def calibration_line(predictions: Iterable[Prediction]) -> str:
    """Say how many measurements were inside their interval, and what that means."""
    done = [each for each in predictions if each.measured is not None]
    if not done:
        return "No prediction was measured yet."
    inside, n = sum(bool(each.is_inside) for each in done), len(done)
    told = f"{inside} of {n} measurement{'s' * (n != 1)} fell inside your interval"
    if n < 5:
        return f"{told}; after five we can say how well your intervals are calibrated."
    usual = math.sqrt(n * CONFIDENCE * (1 - CONFIDENCE))  # one standard deviation of a calibrated person
    if inside < n * CONFIDENCE - 2 * usual:
        return (
            f"{told}, nine in ten were promised: your intervals are too narrow, you are surer than you know."
        )
    if inside == n and n >= 20:
        return f"{told}: your intervals may be wider than they need to be."
    return f"{told}, nine in ten were promised: well calibrated, as far as {n} can tell."


def calibration_html(predictions: Sequence[Prediction]) -> str:
    """Return the plot with its words and its data; empty before the first measurement.

    Each dot is a prediction: 0 is the middle of its interval, -1 and 1 are its ends.
    """
    done = [each for each in predictions if each.measured is not None]
    if not done:
        return ""
    words = calibration_line(done)
    return (
        "<div style='margin-top:.6em;font-weight:600'>Where the measurements fell</div>"
        + _picture(done, words)
        + cards.details("All predictions", cards.table(_rows(predictions)))
    )


def _picture(done: Sequence[Prediction], words: str) -> str:
    """Draw the plot as an image on its own ground: a notebook that is not trusted shows no inline SVG."""
    placed: dict[int, int] = {}
    marks, highest = [], 0
    for each in done:
        position = each.position
        assert position is not None
        column = round(max(-REACH, min(REACH, position)) * 10)
        level = placed[column] = placed.get(column, -1) + 1
        highest = max(highest, level)
        marks.append((column / 10, level, each))
    floor = 26 + _STEP * (highest + 1)
    left, right = _x(-1), _x(1)
    parts = [
        f"<rect x='{left:.0f}' y='6' width='{right - left:.0f}' height='{floor - 6}' fill='rgb(26,127,55)' "
        "fill-opacity='.14'/>",
        _text(_x(0), 19, "middle", "your interval"),
        f"<line x1='{_LEFT}' y1='{floor}' x2='{_WIDTH - _RIGHT}' y2='{floor}' stroke='currentColor' "
        "stroke-opacity='.5'/>",
    ]
    ends = (
        (-REACH, "start", "far below"),
        (-1, "middle", "low"),
        (1, "middle", "high"),
        (REACH, "end", "far above"),
    )
    parts += [_text(_x(tick), floor + 15, anchor, name) for tick, anchor, name in ends]
    parts += [_mark(_x(at), floor - 8 - _STEP * level, each) for at, level, each in marks]
    svg = (
        f"<svg viewBox='0 0 {_WIDTH} {floor + 22}' width='{_WIDTH}' height='{floor + 22}' "
        f"font-family='sans-serif' color='#1f2328' xmlns='http://www.w3.org/2000/svg'>"
        f"<rect width='100%' height='100%' rx='4' fill='#fff'/>{''.join(parts)}</svg>"
    )
    data = b64encode(svg.encode()).decode()
    return (
        f"<img alt='{escape(words)}' src='data:image/svg+xml;base64,{data}' "
        f"style='width:100%;max-width:{_WIDTH}px;display:block'>"
    )


def _text(x: float, y: float, anchor: str, words: str) -> str:
    return (
        f"<text x='{x:.0f}' y='{y}' text-anchor='{anchor}' font-size='13' fill='currentColor'>{words}</text>"
    )


def _mark(x: float, y: float, each: Prediction) -> str:
    """Draw a disc for a hit and a diamond for a miss: the shapes tell them apart without colour."""
    told = escape(
        f"{each.lab} {each.name}: measured {each.measured:.4g} {each.unit}, "
        f"your interval {each.low:g} to {each.high:g}"
    )
    if each.is_inside:
        return f"<circle cx='{x:.1f}' cy='{y}' r='5' fill='#2f9e52'><title>{told}</title></circle>"
    path = f"M{x:.1f} {y - 6}l6 6l-6 6l-6 -6z"
    return f"<path d='{path}' fill='#d9622b'><title>{told}</title></path>"


def _x(position: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (position + REACH) / (2 * REACH)


def _rows(predictions: Iterable[Prediction]) -> list[dict[str, object]]:
    return [
        {
            "lab": each.lab.partition("_")[0],  # its number: the table must fit a narrow window
            "prediction": each.name,
            "low": each.low,
            "guess": each.guess,
            "high": each.high,
            "measured": each.measured,
            "unit": each.unit,
            "inside": {None: "", True: "yes", False: "no"}[each.is_inside],
        }
        for each in predictions
    ]
