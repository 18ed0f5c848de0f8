"""What a late hand-in costs: in words for the students, and in numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

DAY_S = 86_400


@dataclass(frozen=True)
class LatePolicy:
    """Each begun day after the due time costs a share of the points; after some days nothing counts."""

    words: str = ""
    """for the students; what the numbers say, if empty"""
    grace_minutes: float = 0.0
    percent_per_day: float = 0.0
    days: int | None = None
    """how many days later something still counts; None: always"""

    def days_late(self, submitted_at: datetime, due: datetime) -> int:
        """Return the number of begun days between the due time and a hand-in; 0 if it is in time."""
        late_s = (submitted_at - due).total_seconds()
        if late_s <= 60 * self.grace_minutes:
            return 0
        return math.ceil(late_s / DAY_S)

    def percent_off(self, days_late: int) -> float:
        """Return which share of the points so many days cost [%]."""
        if days_late <= 0:
            return 0.0
        if self.days is not None and days_late > self.days:
            return 100.0
        return min(100.0, self.percent_per_day * days_late)

    def __str__(self) -> str:
        if self.words:
            return self.words
        if not self.percent_per_day and self.days is None:
            return "Late hand-ins count like any other."
        cost = f"costs {self.percent_per_day:g} % of the points" if self.percent_per_day else "costs nothing"
        last = "" if self.days is None else f"; after {self.days} days nothing counts"
        return f"Each begun day after the due time {cost}{last}."
