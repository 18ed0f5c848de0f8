"""Class z: controls, which say that the ground itself is in order."""

from hostile_case import HALF, POINTS, RIGHT, Case

CASES = [
    Case("z-all-wrong"),
    Case("z-all-right", answers=RIGHT, points=POINTS),
    Case("z-half-right", answers=HALF, points=6),
]
