"""A sealed archive: a zip file that its members fit into in one way only, with a hash as its last bytes.

Any zip program opens it. Members are stored as they are (no compression: no bomb), sorted, with one date and
one mode; the comment at the very end is the sha256 of all bytes before it, and ``manifest.json`` has that of
each member. So the same members always give the same bytes, and a byte that changed shows. Whoever packs
changed members anew gets another file: that one is told apart by the file's own sha256, if it was published.

Archives come from strangers. They are read from front to back within limits, into memory; nothing is
unpacked by name, and a name that would be trouble on any system is refused.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scalelab.core.errors import ConfigError, DataError
from scalelab.core.units import MIB, format_bytes

MANIFEST = "manifest.json"
MAX_BYTES = 512 * MIB
"""of an archive: it is read into memory"""
MAX_MEMBERS = 20_000
_MAX_NAME = 240
_SEAL = 64
"""bytes of the comment: the sha256 in hex digits"""
_DAY_ONE = (1980, 1, 1, 0, 0, 0)
_PLAIN_FILE = 0o100644 << 16
_HEADER = struct.Struct("<4s5H3L2H")
_BEGIN, _DIRECTORY = b"PK\x03\x04", b"PK\x01\x02"
_PART = re.compile(r"[^\x00-\x1f\x7f<>:\"|?*\\/]+")
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Sealed:
    """What an archive holds, and what of it is not as it was packed."""

    members: Mapping[str, bytes]
    """without the manifest"""
    sha256: str
    """of the whole file: the one thing to publish"""
    changed: tuple[tuple[str, str], ...]
    """(member, why); empty: each byte is as it was packed"""


def seal(members: Mapping[str, bytes], path: Path) -> Path:
    """Write `members` to `path` as a sealed archive, whole or not at all; return `path`.

    Raises:
        ConfigError: a name that some system cannot write, more members or bytes than `unseal` would read.
    """
    names: dict[str, str] = {}
    for name in members:
        if (why := _trouble(name)) or (why := _twice(name, names)):
            raise ConfigError(f"{name!r} cannot be packed: {why}", hint="rename that file")
    if len(members) >= MAX_MEMBERS:
        raise ConfigError(f"{len(members)} files are more than {MAX_MEMBERS}", hint="pack fewer results")
    whole = _packed(members)
    if len(whole) > MAX_BYTES:
        raise ConfigError(
            f"{format_bytes(len(whole))} are more than {format_bytes(MAX_BYTES)}",
            hint="clear the outputs that are not needed, or pack fewer results",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(whole)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def unseal(path: Path) -> Sealed:
    """Read the archive at `path` and say what of it has changed since it was packed.

    Raises:
        DataError: it is not there, no archive at all, or holds what no sealed archive does (a compressed
            member, a name that leads outside, a name twice, more than the limits allow).
    """
    whole = _read(path)
    sha256 = hashlib.sha256(whole).hexdigest()
    is_sealed = hashlib.sha256(memoryview(whole)[:-_SEAL]).hexdigest().encode() == whole[-_SEAL:]
    members: dict[str, bytes] = {}
    names: dict[str, str] = {}
    try:
        for name, content in _walk(whole):
            if why := _trouble(name) or _twice(name, names):
                raise DataError(f"{name[:80]!r}: {why}")
            members[name] = content
        manifest = members.pop(MANIFEST, b"")
        changed = _against(manifest, members)
    except DataError as error:
        if is_sealed:  # by somebody who packed this on purpose
            raise DataError(f"{path} is no sealed archive: {error.message}", hint=_GET_ANOTHER) from None
        return Sealed({}, sha256, (("the archive", f"damaged: {error.message}"),))
    if not changed and not (is_sealed and _packed(members) == whole):
        changed = [("the archive", "other bytes around its members than packing them gives")]
    return Sealed(members, sha256, tuple(changed))


_GET_ANOTHER = "ask for the file again, as `scalelab bench bundle` wrote it"


def _packed(members: Mapping[str, bytes]) -> bytes:
    listed = {
        name: {"sha256": hashlib.sha256(members[name]).hexdigest(), "bytes": len(members[name])}
        for name in sorted(members)
    }
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        for name, content in sorted({**members, MANIFEST: json_bytes(listed)}.items()):
            entry = zipfile.ZipInfo(name, _DAY_ONE)
            entry.create_system = 3  # else it were that of whoever packs
            entry.external_attr = _PLAIN_FILE
            archive.writestr(entry, content, zipfile.ZIP_STORED)
        archive.comment = b"0" * _SEAL
    unsealed = into.getvalue()[:-_SEAL]
    return unsealed + hashlib.sha256(unsealed).hexdigest().encode()


def json_bytes(value: object) -> bytes:
    """Return the one JSON text of a value: sorted, indented, ending in a new line."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def _read(path: Path) -> bytes:
    if not path.is_file():  # a pipe or a device would be read for ever
        raise DataError(f"there is no file {path}", hint="give the path of a .bench.zip")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise DataError(
                    f"{path} has {format_bytes(size)}, an archive has {format_bytes(MAX_BYTES)} at most",
                    hint=_GET_ANOTHER,
                )
            whole = file.read(MAX_BYTES)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", hint=_GET_ANOTHER) from None
    if not whole.startswith(_BEGIN) and not re.fullmatch(rb"[0-9a-f]{64}", whole[-_SEAL:]):
        raise DataError(f"{path} is no sealed archive", hint="give a file that `scalelab bench bundle` wrote")
    return whole


def _walk(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the members from front to back; the directory at the end may say anything and is not asked."""
    at = count = 0
    while whole[at : at + 4] != _DIRECTORY:
        count += 1
        if count > MAX_MEMBERS:
            raise DataError(f"more than {MAX_MEMBERS} members")
        if len(whole) < at + _HEADER.size:
            raise DataError("it ends within a member")
        mark, _, flags, method, _, _, _, stored, size, name_size, extra_size = _HEADER.unpack_from(whole, at)
        if mark != _BEGIN or size != stored or flags & ~0x800 or extra_size or method:
            raise DataError(f"member {count} is not stored as it is: compressed, encrypted or cut off")
        at += _HEADER.size
        end = at + name_size + size
        if end > len(whole):
            raise DataError(f"member {count} claims {format_bytes(size)}, the file has less")
        try:
            name = whole[at : at + name_size].decode("utf-8" if flags else "ascii")
        except UnicodeDecodeError:
            raise DataError(f"the name of member {count} is no text") from None
        yield name, whole[at + name_size : end]
        at = end


def _trouble(name: str) -> str:
    """Return why no file may be called so, or nothing."""
    parts = name.split("/")
    if len(name) > _MAX_NAME:
        return f"longer than {_MAX_NAME} letters"
    if name.startswith("/") or ".." in parts or ":" in name or "\\" in name:
        return "it would lie outside of its folder"
    for part in parts:
        if not _PART.fullmatch(part) or not part.isprintable() or part[-1] in ". " or _DEVICE.fullmatch(part):
            return "no name for a file on every system"
    return ""


def _twice(name: str, names: dict[str, str]) -> str:
    """Take the name down, and its folders as ""; return what it clashes with.

    Windows and macOS do not tell a.txt from A.txt.
    """
    folded = name.casefold()
    parts = folded.split("/")
    folders = ["/".join(parts[:count]) for count in range(1, len(parts))]
    other = names.get(folded)
    names[folded] = name
    if other:
        return "it is there twice" if other == name else f"it and {other!r} would be one file"
    if other == "" or any(names.setdefault(folder, "") for folder in folders):
        return "it would be a file and a folder"
    return ""


def _against(manifest: bytes, members: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Return which members differ from the manifest."""
    try:
        listed = {str(name): str(entry["sha256"]) for name, entry in json.loads(manifest).items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [(MANIFEST, "missing, or damaged")]
    changed = [(name, "it is gone") for name in sorted(listed.keys() - members.keys())]
    changed += [(name, "it was added") for name in sorted(members.keys() - listed.keys())]
    changed += [
        (name, "other bytes than the manifest says")
        for name in sorted(members.keys() & listed.keys())
        if hashlib.sha256(members[name]).hexdigest() != listed[name]
    ]
    return changed
