"""A real table: all flights that left New York in 2013, for comparing data engines."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import NamedTuple

from scalelab.core.errors import ConfigError
from scalelab.data.files import read_verified


class FlightFiles(NamedTuple):
    """Two CSV files with a header each."""

    flights: Path
    """month, day, carrier, origin, dest, dep_delay, arr_delay [min], distance [miles]; a flight that never
    left has no dep_delay, one that never arrived no arr_delay"""
    airlines: Path
    """carrier, name"""


def write_flights(folder: Path, *, copies: int = 1) -> FlightFiles:
    """Write the 336,776 flights to `folder`, `copies` times one after the other, and the airlines' names.

    More copies are more rows of the same: every count and sum of the answer grows by that factor, the number
    of different values does not. One copy has 8.9 MB.

    Raises:
        ConfigError: less than one copy.
        DataError: the shipped file is missing or damaged.
    """
    if copies < 1:
        raise ConfigError(f"{copies} copies of the flights are no table", hint="ask for 1 or more")
    header, _, rows = lzma.decompress(read_verified("flights.csv.xz")).partition(b"\n")
    files = FlightFiles(folder / "flights.csv", folder / "airlines.csv")
    with files.flights.open("wb") as out:
        out.write(header + b"\n")
        for _ in range(copies):
            out.write(rows)
    files.airlines.write_bytes(lzma.decompress(read_verified("airlines.csv.xz")))
    return files
