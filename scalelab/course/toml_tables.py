"""Read a TOML file that a person wrote: unknown keys, wrong types and times are said, with the way out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import date, datetime, time, tzinfo
from pathlib import Path
from typing import Any

from scalelab.core.errors import ConfigError, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_WORDS = {str: "a text in quotes", float: "a number", int: "a whole number", dict: "a table of its own"}


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        ConfigError: it is missing, no UTF-8 or no TOML; the message has the line.
    """
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint="scalelab course new") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text", hint="save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        hint = 'a text has quotes: name = "..."; a time has none: due = 2026-11-30T23:59:00'
        raise ConfigError(f"{path} is no TOML: {error}", hint=hint) from None


def take(raw: Mapping[str, Any], known: Mapping[str, type | None], where: str) -> dict[str, Any]:
    """Return the entries of a table, each of the type that is known for it (None: any).

    Raises:
        ConfigError: a key is unknown, or a value of another type.
    """
    for key, value in raw.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}", hint=did_you_mean(key, known))
        kind = known[key]
        fits = kind is None or (isinstance(value, kind) and not isinstance(value, bool))
        fits = fits or (kind is float and isinstance(value, int) and not isinstance(value, bool))
        if not fits and kind is not None:
            raise ConfigError(f"{where}: {key} is {value!r}", hint=f"{key} is {_WORDS[kind]}")
    return dict(raw)


def read_due(value: Any, zone: tzinfo, where: str) -> datetime:
    """Return a due time: a TOML time or date, or a text of one; a date alone means the end of that day.

    Raises:
        ConfigError: it is no time.
    """
    told = value
    if isinstance(value, str):
        try:
            told = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
            if len(value.strip()) == len("2026-11-30"):
                told = told.date()
        except ValueError:
            told = None
    if isinstance(told, date) and not isinstance(told, datetime):
        told = datetime.combine(told, time(23, 59, 59))
    if not isinstance(told, datetime):
        raise ConfigError(
            f"{where} is {value!r}, which is no time", hint="write due = 2026-11-30T23:59:00, without quotes"
        )
    return told if told.tzinfo else told.replace(tzinfo=zone)
