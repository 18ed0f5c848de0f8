# ruff: noqa: E501  (a line is a student's line)
"""Class h: malformed files, archives and names. Each is a row with a reason, and nothing is written outside."""

import io
import zipfile

from hostile_case import Case, Link, Pipe, changed, code_cell


def archive(*members: tuple[str, bytes], notebook: bool = True, links: tuple[tuple[str, str], ...] = ()):
    """Return a change that packs the notebook and `members` into submission.zip."""

    def apply(raw: bytes):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            if notebook:
                file.writestr("lab1.ipynb", raw)
            for name, content in members:
                file.writestr(name, content)
            for name, target in links:
                info = zipfile.ZipInfo(name)
                info.create_system, info.external_attr = 3, 0o120777 << 16
                file.writestr(info, target)
        return {"submission.zip": packed.getvalue()}

    return apply


def nested_archive(raw: bytes):
    packed = b"PK"
    for _ in range(12):
        outer = io.BytesIO()
        with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("inner.zip", packed)
        packed = outer.getvalue()
    return {"submission.zip": packed}


def false_sizes(raw: bytes):
    """Claim in the directory that a bomb is small."""
    packed = bytearray(archive(("bomb.txt", b"0" * 60_000_000))(raw)["submission.zip"])
    size = (60_000_000).to_bytes(4, "little")
    return {"submission.zip": bytes(packed.replace(size, (10).to_bytes(4, "little")))}


def encrypted(raw: bytes):
    packed = bytearray(archive()(raw)["submission.zip"])
    packed[6] |= 1
    packed[packed.find(b"PK\x01\x02") + 8] |= 1
    return {"submission.zip": bytes(packed)}


def old_format(book):
    cells = [{**cell, "input": cell["source"], "outputs": []} for cell in book["cells"]]
    return {"metadata": {"name": "x"}, "nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": cells}]}


def damaged_cells(book):
    for number, cell in enumerate(book["cells"]):
        cell["source"], cell["metadata"] = (5, None, {"a": 1}, [[1]], ["x", 2])[number % 5], None


def not_cells(book):
    return {**book, "cells": [None, 5, "code", [], {}, {"cell_type": []}, {"cell_type": "code"}]}


def deep(raw: bytes) -> bytes:
    return raw.replace(
        b'"metadata": {', b'"metadata": {"deep": ' + b'{"a":' * 10**5 + b"1" + b"}" * 10**5 + b", ", 1
    )


def scripts(book):
    told = "<script>window.PWNED=1</script><img src=x onerror=PWNED=1>"
    book["cells"].insert(1, {"cell_type": "markdown", "id": "m", "metadata": {}, "source": told})
    raising = (
        f"def softmax(x):\n    raise ValueError({told!r})\ndef bubble_fraction(p, m):\n    return {told!r}"
    )
    book["cells"].append(code_cell(raising + f"\nlab.explain('why', {told!r})\nraise RuntimeError({told!r})"))


def formulas(book):
    book["cells"].append(code_cell("def softmax(x):\n    raise ValueError('=HYPERLINK(\"http://x\",\"y\")')\n"
                                   "def bubble_fraction(p, m):\n    return '@SUM(1+1)|cmd'\nlab.explain('why', '=1+1')"))  # fmt: skip


def whole(**files):
    return lambda raw: {name.replace("__", "."): content for name, content in files.items()}


REFUSED = ("refused",)
NAN = float("nan")

CASES = [
    Case("h-empty", change=lambda raw: b"", statuses=REFUSED),
    Case("h-zeros", change=lambda raw: bytes(10000), statuses=REFUSED),
    Case("h-cut-off", change=lambda raw: raw[: len(raw) // 2], statuses=REFUSED),
    Case("h-trailing-text", change=lambda raw: raw + b"}}}", statuses=REFUSED),
    Case("h-list-on-top", change=lambda raw: b"[1, 2, 3]", statuses=REFUSED),
    Case("h-number", change=lambda raw: b"12", statuses=REFUSED),
    Case("h-html", change=lambda raw: b"<!doctype html><html>", statuses=REFUSED),
    Case("h-random-bytes", change=lambda raw: bytes((17 * n * n + 5) % 256 for n in range(5000)), statuses=REFUSED),
    Case("h-not-utf8", change=lambda raw: raw.replace(b"Six small", b"Six \xff\xfe small", 1), statuses=REFUSED),
    Case("h-utf16", change=lambda raw: raw.decode().encode("utf-16")),
    Case("h-half-characters", change=lambda raw: raw.replace(b"Six small", rb"\ud800 \udfff", 1)),
    Case("h-null-characters", before="x = 1\0\0", after="# \x00\x07\x1b[2J"),
    Case("h-old-format", change=changed(old_format), statuses=REFUSED),
    Case("h-nan", change=changed(lambda book: {**book, "metadata": {"x": NAN, "y": float("inf")}})),
    Case("h-large-numbers", change=lambda raw: raw.replace(b'"nbformat": 4', b'"nbformat": ' + b"9" * 10**6)),
    Case("h-deep-metadata", change=deep, statuses=REFUSED),
    Case("h-deep-list", change=lambda raw: b"[" * 10**6, statuses=REFUSED),
    Case("h-damaged-cells", change=changed(damaged_cells)),
    Case("h-no-cells-at-all", change=changed(not_cells), statuses=REFUSED),
    Case("h-cells-are-an-object", change=changed(lambda book: {**book, "cells": {"0": 1}}), statuses=REFUSED),
    Case("h-no-code", change=changed(lambda book: {**book, "cells": []}), statuses=REFUSED),
    Case("h-20000-cells", statuses=REFUSED, change=changed(
        lambda book: {**book, "cells": book["cells"] + [code_cell("1")] * 20000})),
    Case("h-huge-cell", change=changed(lambda book: {**book, "cells": [*book["cells"], code_cell("x" * 10**7)]}),
         statuses=REFUSED),
    Case("h-huge-file", change=lambda raw: raw[:-1] + b" " * (40 * 2**20) + raw[-1:], statuses=REFUSED),
    Case("h-deep-code", before="x = " + "(" * 5000 + ")" * 5000, after="-" * 200000 + "1"),
    Case("h-is-a-folder", change=lambda raw: {"lab1.ipynb/x.txt": b"hello"}),
    Case("h-is-a-pipe", change=lambda raw: {"lab1.ipynb": Pipe()}),
    Case("h-pipe-beside", change=lambda raw: {"lab1.ipynb": raw, "data.csv": Pipe()}),
    Case("h-link-to-nowhere", change=lambda raw: {"lab1.ipynb": Link("nowhere")}),
    Case("h-link-to-itself", change=lambda raw: {"lab1.ipynb": Link("lab1.ipynb")}),
    Case("h-link-to-a-device", change=lambda raw: {"lab1.ipynb": Link("/dev/zero")}),
    Case("h-nothing-handed-in", change=lambda raw: {"notes.txt": b"my laptop broke"}),
    Case("h-two-notebooks", change=lambda raw: {"lab1.ipynb": raw, "lab1-Copy1.ipynb": raw}),
    Case("h-zip", change=archive(("data.csv", b"1,2\n"))),
    Case("h-zip-slip", change=archive(
        ("../../../../../../tmp/slipped.txt", b"x"), ("/tmp/slipped.txt", b"x"), ("..\\..\\slipped.txt", b"x"),
        ("../a_honest/lab1.ipynb", b"{}"))),
    Case("h-zip-with-links", change=archive(links=(("data.txt", "/mnt/secret.txt"), ("folder", "/mnt")))),
    Case("h-zip-bomb", change=archive(("bomb.txt", b"0" * 300_000_000)), is_rough=True),
    Case("h-zip-false-sizes", change=false_sizes),
    Case("h-zip-of-zips", change=nested_archive),
    Case("h-zip-of-many", change=archive(*((f"{n}.txt", b"x") for n in range(20000)))),
    Case("h-zip-encrypted", change=encrypted, statuses=REFUSED),
    Case("h-zip-cut-off", change=lambda raw: {"submission.zip": archive()(raw)["submission.zip"][:500]}),
    Case("h-zip-is-none", change=lambda raw: {"submission.zip": b"PK\x03\x04 but no more"}),
    Case("h-zip-without-notebook", change=archive(("a.txt", b"x"), notebook=False)),
    Case("h-zip-twice-the-name", change=archive(("data.csv", b"1"), ("DATA.CSV", b"2"), ("lab1.IPYNB", b"{}"))),
    Case("h-scripts-in-feedback", change=changed(scripts)),
    Case("h-formulas-in-tables", change=changed(formulas)),
    Case("=h-formula-name+cmd", change=None),
    Case("h-<img src=x onerror=PWNED=1>", change=None),
    Case("h-name-\u202egnp.exe", change=None),
    Case("h-name-with\nnewline,comma;'\"quotes", change=None),
    Case("h-name-" + "n" * 200, change=None),
    Case("h-spaces and ünïcode 名前", change=None),
]  # fmt: skip
