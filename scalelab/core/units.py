"""Numbers for people. Inside ScaleLab everything is seconds, bytes and USD; these functions are the edge."""

from __future__ import annotations

MIB = 1024 * 1024
GIB = 1024 * MIB


def format_seconds(seconds: float) -> str:
    """Render a duration with three significant digits and a fitting unit: ``12.3 ms``, ``4.56 s``."""
    for limit, scale, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (120.0, 1.0, "s")):
        if abs(seconds) < limit:
            return f"{_three_digits(seconds * scale)} {unit}"
    minutes, rest_s = divmod(round(seconds), 60)
    return f"{minutes} min {rest_s:02d} s"


def format_milliseconds(seconds: float) -> str:
    """Render a duration as a bare number of milliseconds, for tables that name the unit once: ``12.3``."""
    return _three_digits(seconds * 1e3)


def format_bytes(count: float) -> str:
    """Render a size in binary units: ``53.2 MiB``."""
    if abs(count) < 1024:
        return f"{count:.0f} B"
    for limit, scale, unit in ((MIB, 1024, "KiB"), (GIB, MIB, "MiB")):
        if abs(count) < limit:
            return f"{_three_digits(count / scale)} {unit}"
    return f"{_three_digits(count / GIB)} GiB"


def format_rate(per_second: float) -> str:
    """Render a rate: ``1,250/s``."""
    return f"{per_second:,.0f}/s" if abs(per_second) >= 100 else f"{_three_digits(per_second)}/s"


def format_money(amount: float, currency: str) -> str:
    """Render an amount of ``USD`` or ``INR``: ``$1.20``, ``₹99.50``."""
    sign = {"USD": "$", "INR": "₹"}[currency]
    return f"{sign}{amount:,.2f}" if abs(amount) >= 1 or amount == 0 else f"{sign}{amount:.3g}"


def format_percent(share: float, digits: int = 2) -> str:
    """Render a share of one as per cent: ``97.53 %``."""
    return f"{100 * share:.{digits}f} %"


def _three_digits(value: float) -> str:
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"
