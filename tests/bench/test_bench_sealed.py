"""The sealed archive: the same members give the same bytes, and no byte of it can change unseen."""

import hashlib
import io
import os
import random
import stat
import sys
import zipfile

import pytest

from scalelab.bench import sealed
from scalelab.bench.sealed import seal, unseal
from scalelab.core.errors import ConfigError, DataError

MEMBERS = {"b/ü.txt": b"zwei" * 20, "a.txt": b"one", "empty": b""}


@pytest.fixture
def archive(tmp_path):
    return seal(MEMBERS, tmp_path / "a.zip")


def resealed(whole):
    """Give the bytes a new hash: what somebody does who changes them on purpose."""
    return whole[:-64] + hashlib.sha256(whole[:-64]).hexdigest().encode()


def test_what_goes_in_comes_out_and_any_zip_program_reads_it(archive):
    found = unseal(archive)
    assert (found.members, found.changed) == (MEMBERS, ())
    assert found.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == ["a.txt", "b/ü.txt", "empty", "manifest.json"]
        assert opened.read("b/ü.txt") == MEMBERS["b/ü.txt"]


def test_the_same_members_give_the_same_bytes_in_whatever_order(archive, tmp_path):
    again = seal(dict(reversed(MEMBERS.items())), tmp_path / "b.zip")
    assert again.read_bytes() == archive.read_bytes()
    # a golden value: another Python, system or release packs the same bytes too
    assert unseal(archive).sha256 == "c0a48af9261eda6639db871d82c0e057c226364a0c84bddea94f1d1b97a16890"


def test_each_single_byte_that_changes_is_found(archive):
    whole = archive.read_bytes()
    draw = random.Random(0)
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= draw.randrange(1, 256)
        archive.write_bytes(changed)
        assert unseal(archive).changed, f"byte {at}"


CUTS = {
    "no end": lambda whole: whole[:-1],
    "no beginning": lambda whole: whole[1:],
    "more after": lambda whole: whole + b"\0",
    "more before": lambda whole: b"x" + whole,
    "half": lambda whole: whole[:40],
    "one less": lambda whole: whole[:200] + whole[201:],
    "one more": lambda whole: whole[:200] + b"x" + whole[200:],
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_a_byte_that_is_gone_or_was_added_is_found(archive, cut):
    archive.write_bytes(cut(archive.read_bytes()))
    assert unseal(archive).changed


@pytest.mark.parametrize(
    ("old", "new", "member"), [(b"one", b"two", "a.txt"), (b"zweizwei", b"dreizwei", "b/ü.txt")]
)
def test_a_changed_member_is_named(archive, old, new, member):
    archive.write_bytes(archive.read_bytes().replace(old, new, 1))
    assert unseal(archive).changed == ((member, "other bytes than the manifest says"),)


def test_bytes_around_the_members_that_were_sealed_again_are_found(archive):
    """Every byte outside of the members' contents, each sealed anew: dates, modes, counts, sums."""
    whole = archive.read_bytes()
    missed = []
    for at in range(len(whole) - 64):
        changed = bytearray(whole)
        changed[at] ^= 0xFF
        archive.write_bytes(resealed(bytes(changed)))
        try:
            found = unseal(archive).changed
        except DataError:
            continue
        if not found:
            missed.append(at)
    assert not missed


def packed_by_others(path, members, **settings):
    with zipfile.ZipFile(path, "w", **settings) as other:
        for name, content in members:
            other.writestr(name, content)
        other.comment = b"0" * 64
    path.write_bytes(resealed(path.read_bytes()))
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("name", "why"), [
    ("../evil", "outside of its folder"), ("/etc/passwd", "outside of its folder"), ("a/../../b", "outside"),
    ("C:/x", "outside of its folder"), ("..\\x", "outside of its folder"), ("a.txt", "it is there twice"),
    ("A.TXT", "'a.txt' would be one file"), ("nul", "no name for a file"), ("x/com1.txt", "no name"),
    ("trailing.", "no name"), ("a//b", "no name"), ("a/", "no name"), ("e\x1b[31m", "no name"),
    ("a.txt/b", "a file and a folder"), ("x" * 241, "longer than 240"), ("r\u202eltr", "no name"),
])  # fmt: skip
def test_a_name_that_is_trouble_is_refused_by_name(tmp_path, name, why):
    path = packed_by_others(tmp_path / "x.zip", [("a.txt", "1"), (name, "2")])
    with pytest.raises(DataError, match=why):
        unseal(path)
    if name != "a.txt":
        with pytest.raises(ConfigError, match=why):
            seal({"a.txt": b"", name: b""}, tmp_path / "y.zip")


def test_a_folder_cannot_become_a_file_either(tmp_path):
    with pytest.raises(DataError, match="'A': it would be a file and a folder"):
        unseal(packed_by_others(tmp_path / "x.zip", [("a/b", "1"), ("A", "2")]))


def test_a_link_in_the_archive_is_found(tmp_path, archive):
    link = zipfile.ZipInfo("a.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    members = [(link, "/etc/passwd"), ("manifest.json", unseal(archive).members["a.txt"])]
    found = unseal(packed_by_others(tmp_path / "x.zip", members))
    assert found.changed


def test_a_bomb_is_refused_unread(tmp_path):
    path = packed_by_others(tmp_path / "x.zip", [("a", bytes(50_000_000))], compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match="member 1 is not stored as it is"):
        unseal(path)


def test_a_size_that_only_the_header_has_is_refused(tmp_path):
    header = sealed._HEADER.pack(b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 2**32 - 1, 2**32 - 1, 1, 0)
    path = tmp_path / "x.zip"
    path.write_bytes(resealed(header + b"a" + bytes(64)))
    with pytest.raises(DataError, match=r"claims 4\.00 GiB, the file"):
        unseal(path)


def test_more_members_than_the_limit_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sealed, "MAX_MEMBERS", 3)
    path = packed_by_others(tmp_path / "x.zip", [(f"{number}", "") for number in range(4)])
    with pytest.raises(DataError, match="more than 3 members"):
        unseal(path)
    with pytest.raises(ConfigError, match="3 files are more than"):
        seal(dict.fromkeys("abc", b""), tmp_path / "y.zip")


def test_a_file_over_the_limit_is_not_read(archive, monkeypatch):
    monkeypatch.setattr(sealed, "MAX_BYTES", 100)
    with pytest.raises(DataError, match="has 100 B at most"):
        unseal(archive)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x05\x06" + bytes(18)])
def test_a_file_of_another_kind_is_not_called_changed(tmp_path, content):
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is no sealed archive"):
        unseal(path)


@pytest.mark.skipif(sys.platform == "win32", reason="only on systems with named pipes")
def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="there is no file"):
            unseal(path)


def test_a_full_disk_leaves_the_file_that_was_there(archive, monkeypatch):
    before = archive.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space"):
        seal({"a": b"1"}, archive)
    assert archive.read_bytes() == before
    assert [path.name for path in archive.parent.iterdir()] == ["a.zip"]


def test_a_manifest_of_another_shape_is_a_change(archive):
    with zipfile.ZipFile(io.BytesIO(archive.read_bytes())) as opened:
        members = [(name, opened.read(name)) for name in opened.namelist() if name != "manifest.json"]
    for text in ("[]", "{", '{"a.txt": 1}', "[" * 100_000):
        packed_by_others(archive, [*members, ("manifest.json", text)])
        assert unseal(archive).changed == (("manifest.json", "missing, or damaged"),)
