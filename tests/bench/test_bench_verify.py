"""Every kind of byte of a real bundle is changed, parts of it made anew: what is found, what cannot be."""

import hashlib
import json
import random
import zipfile

import pytest
from click.testing import CliRunner

from scalelab.bench.evidence import derived, parse_records
from scalelab.bench.sealed import seal, unseal
from scalelab.bench.verify import verify_bundle
from scalelab.cli import main
from scalelab.core.errors import DataError

pytestmark = pytest.mark.slow


def verify(path, *words):
    return CliRunner().invoke(main, ["bench", "verify", str(path), *words])


def test_a_bundle_as_it_was_packed_is_whole(small_bundle):
    found = verify_bundle(small_bundle)
    assert (found.changed, found.tables_differ, found.notes) == ((), (), ())
    assert found.sha256 == hashlib.sha256(small_bundle.read_bytes()).hexdigest()
    done = verify(small_bundle, "--sha256", found.sha256.upper())
    assert done.exit_code == 0, done.output
    assert "whole: " in done.output


def places(path):
    """Draw 100 places over the whole file, and take some of each kind: of members, of the format."""
    whole = path.read_bytes()
    draw = random.Random(0)
    found = {f"drawn {at}": at for at in draw.choices(range(len(whole)), k=100)}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            begins = entry.header_offset + 30 + len(entry.filename)
            found |= {
                f"header of {entry.filename}": entry.header_offset + draw.randrange(30),
                f"name of {entry.filename}": entry.header_offset + 30,
                f"first byte of {entry.filename}": begins,
                f"a byte of {entry.filename}": begins + draw.randrange(entry.file_size),
                f"last byte of {entry.filename}": begins + entry.file_size - 1,
            }
        directory = archive.start_dir
    found |= {f"directory {at}": at for at in range(directory, len(whole) - 64, 37)}
    return found | {"first of all": 0, "end of the directory": len(whole) - 65} | {
        f"seal {at}": len(whole) - at for at in (64, 63, 32, 2, 1)
    }  # fmt: skip


def test_a_changed_byte_is_found_wherever_it_is(bundle):
    whole = bytearray(bundle.read_bytes())
    draw = random.Random(1)
    tried = places(bundle)
    assert len(tried) > 150
    missed = []
    for kind, at in tried.items():
        kept = whole[at]
        whole[at] ^= draw.randrange(1, 256)
        bundle.write_bytes(whole)
        whole[at] = kept
        if verify_bundle(bundle).is_whole:
            missed.append(kind)
    assert not missed


def test_the_member_that_changed_is_named_and_the_command_exits_with_one(bundle):
    bundle.write_bytes(bundle.read_bytes().replace(b"def double", b"def dOuble", 1))
    done = verify(bundle)
    assert done.exit_code == 1
    assert "changed: sources/arithmetic.py: other bytes than the manifest says" in done.output


def replaced(name, old, new):
    def change(members):
        assert old in members[name]
        members[name] = members[name].replace(old, new)

    return change


def fewer_tables(members):
    told = json.loads(members["tables.json"])
    members["tables.json"] = json.dumps({**told, "tables": told["tables"][:-1]}).encode()


REPACKED = {
    "a number in the records": (replaced("records.jsonl", b"100.0", b"900.0"), "report.html"),
    "a verdict in the records": (replaced("records.jsonl", b'"FAIL"', b'"PASS"'), "report.html"),
    "a number in the tables": (replaced("tables.json", b"102", b"902"), "small"),
    "a table left out": (fewer_tables, "small"),
    "another machine": (replaced("machine.json", b'"cores": ', b'"cores": 9'), "machine.json"),
    "another page": (replaced("report.html", b"A small suite", b"A great suite"), "report.html"),
    "another program in the executed notebook": (
        replaced("notebooks/make.ipynb", b"speed >= 1", b"speed >= 0"), "notebooks/make.ipynb"),
    "another source": (replaced("sources/n.ipynb", b"speed >= 1", b"speed >= 0"), "notebooks/make.ipynb"),
    "another module": (replaced("sources/arithmetic.py", b"2 * x", b"3 * x"), "sources/n.ipynb"),
    "another suite": (replaced("suite.toml", b"n.ipynb", b"m.ipynb"), "suite.toml"),
    "other parameters of the notebook": (
        replaced("notebooks/use_x=2_.ipynb", b'"x": 2', b'"x": 3'), "notebooks/use_x=2_.ipynb"),
    "other files of the code": (replaced("code.json", b'"core/', b'"score/'), "code.json"),
    "a member more": (lambda members: members.update({"notes.txt": b""}), "notes.txt"),
    "a member less": (lambda members: members.pop("machine.json"), "machine.json"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REPACKED)
def test_a_part_that_was_changed_and_packed_anew_does_not_follow_from_the_others(bundle, kind):
    change, named = REPACKED[kind]
    members = dict(unseal(bundle).members)
    change(members)
    found = verify_bundle(seal(members, bundle))
    assert not found.is_whole
    names = [name for name, _ in found.changed]
    assert any(name.startswith(named) for name in (*names, *found.tables_differ)), found


def test_a_whole_new_bundle_of_changed_records_is_told_by_the_published_hash_alone(bundle):
    """What nothing in the file can show: this is why the hash is published."""
    published = unseal(bundle).sha256
    members = dict(unseal(bundle).members)
    members["records.jsonl"] = stored = members["records.jsonl"].replace(b"100.0", b"900.0")
    members |= derived(stored, parse_records(stored)[0], members["suite.toml"])
    seal(members, bundle)
    assert verify_bundle(bundle).is_whole, "if this is found now, say so in the documentation"
    assert [name for name, _ in verify_bundle(bundle, sha256=published).changed] == ["the file"]
    done = verify(bundle, "--sha256", published)
    assert done.exit_code == 1
    assert published in done.output


def test_tables_of_other_code_are_a_note(bundle):
    members = dict(unseal(bundle).members)
    told = json.loads(members["tables.json"])
    told["code"] = "of another version"
    told["tables"][0]["title"] = "Otherwise"
    members["tables.json"] = json.dumps(told).encode()
    found = verify_bundle(seal(members, bundle))
    assert (found.is_whole, found.tables_differ, found.unjudged) == (True, (), (told["tables"][0]["name"],))
    assert "other code made tables and page" in found.notes[0]
    done = verify(bundle)
    assert done.exit_code == 0
    assert "not recomputed, since other code made them" in done.output
    assert "follow from the records" not in done.output


def test_records_that_break_the_page_are_a_finding_not_a_crash(bundle):
    members = dict(unseal(bundle).members)
    members["records.jsonl"] = members["records.jsonl"].replace(b'"claims":[{', b'"claims":[7,{')
    found = verify_bundle(seal(members, bundle))
    assert [name for name, _ in found.changed] == ["records.jsonl"]


@pytest.mark.parametrize(("words", "said"), [
    (["nowhere.zip"], "there is no file"), ([__file__], "is no sealed archive"),
    ([__file__, "--sha256", "abc"], "is no sha256"),
])  # fmt: skip
def test_what_is_no_bundle_is_wrong_input(words, said):
    done = verify(*words)
    assert done.exit_code == 2
    assert said in done.output


def test_nothing_of_a_bundle_is_left_on_the_disk(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    verify_bundle(bundle)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_bomb_that_was_sealed_is_refused(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("records.jsonl", bytes(10_000_000))
        bomb.comment = b"0" * 64
    whole = path.read_bytes()[:-64]
    path.write_bytes(whole + hashlib.sha256(whole).hexdigest().encode())
    with pytest.raises(DataError, match="compressed"):
        verify_bundle(path)
