"""A running suite in the terminal: what runs, since when, how much is left; then how each point ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from scalelab.bench.remaining import Remaining
    from scalelab.bench.suite import Point

_SAY_AGAIN_S = 0.5
"""drawing more often would cost what is measured"""


class Progress:
    """A `Watcher`: one changing line for what runs, and a line for each round that ended."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console

        self._console = console or Console(highlight=False)
        self._status: Any = None
        self._running: dict[str, float] = {}
        self._numbers: dict[str, str] = {}
        self._to_say: dict[str, str] = {}
        self._remaining: Remaining | None = None
        self._as_of_s = self._said_s = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def started(self, point: Point, number: int, total: int, remaining: Remaining | None = None) -> None:
        """Show that a round of a point begins."""
        self._as_of_s = self._running[point.title] = time.monotonic()
        self._numbers[point.title] = f"{number}/{total}  {point.title}"
        self._remaining = remaining
        if self._console.is_terminal:
            self._status = self._status or self._console.status("", refresh_per_second=1 / _SAY_AGAIN_S)
            self._status.start()
            self._say()
        else:
            left = left_text(remaining, 0.0)
            self._to_say[point.title] = f"{self._numbers[point.title]} ...{f'  {left}' if left else ''}"

    def tick(self) -> None:
        """Refresh the elapsed time."""
        for line in self._to_say.values():
            self._console.print(line, markup=False, soft_wrap=True)
        self._to_say.clear()
        if self._status is not None and time.monotonic() - self._said_s > _SAY_AGAIN_S:
            self._say()

    def ended(self, point: Point, status: str, seconds: float, detail: str) -> None:
        """Leave one line that says how a round ended."""
        from rich.markup import escape

        self._to_say.pop(point.title, None)  # it was kept, or skipped
        self._running.pop(point.title, None)
        if not self._running:
            self._stop()
        words = {
            "done": f"[green]done[/] in {seconds:.0f} s",
            "kept": "[green]kept[/] from an earlier run",
        }
        shown = words.get(status, f"[red]{status}[/]")
        label = escape(self._numbers.pop(point.title, point.title))
        self._console.print(f"{label}  {shown}  {escape(detail)}".rstrip(), soft_wrap=True)

    def _say(self) -> None:
        from rich.markup import escape

        self._said_s = now = time.monotonic()
        running = [f"{self._numbers[title]}  {now - since:.0f} s" for title, since in self._running.items()]
        left = left_text(self._remaining, now - self._as_of_s)
        self._status.update(escape("   ".join([*running, *([left] if left else [])])))

    def _stop(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


def left_text(remaining: Remaining | None, elapsed_s: float) -> str:
    """Return what is left as text: ``2 to 4 min left``, or no more than is known; empty: nothing is known."""
    if remaining is None or remaining.high_s == 0:
        return ""
    low_s, high_s = (max(0.0, end - elapsed_s) for end in (remaining.low_s, remaining.high_s))
    if high_s == 0:
        return "longer than it ever took"
    low, high = _rounded(low_s), _rounded(high_s)
    if not remaining.unknown:
        return f"{high} left" if low == high else f"{low} to {high} left"
    span = f"{low} to {high}" if low_s else f"up to {high}"
    of = "a round" if remaining.unknown == 1 else f"{remaining.unknown} rounds"
    return f"{span} left (of {of} only the limit is known)"


def _rounded(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
