"""A bundle of results that were really run: what is in it, and that the same results give the same bytes."""

import hashlib
import json
import shutil
import zipfile

import pytest
from click.testing import CliRunner

from scalelab.bench.bundle import make_bundle, read_bundle
from scalelab.bench.results import read_results
from scalelab.bench.sealed import seal, unseal
from scalelab.bench.tables import report_tables
from scalelab.cli import main
from scalelab.core.errors import ConfigError, DataError
from scalelab.core.locks import hold_lock
from scalelab.core.machine import machine_key
from scalelab.core.records import RecordStore, RunRecord, metric

pytestmark = pytest.mark.slow


@pytest.fixture
def results(small_results, tmp_path):
    """Give a copy of the results, elsewhere, that a test may spoil."""
    return shutil.copytree(small_results, tmp_path / "elsewhere" / "results")


def test_all_that_a_claim_rests_on_is_in_it(small_results, small_bundle):
    members = unseal(small_bundle).members
    records = read_results(small_results).records
    assert set(members) == {
        "records.jsonl", "suite.toml", "code.json", "machine.json", "tables.json", "report.html",
        "notebooks/make.ipynb", "notebooks/use_x=2_.ipynb", "notebooks/use_x=3_.ipynb",
        "sources/n.ipynb", "sources/arithmetic.py",
    }  # fmt: skip
    assert members["records.jsonl"] == (small_results / "records.jsonl").read_bytes()
    assert members["notebooks/make.ipynb"] == (small_results / "notebooks" / "make.ipynb").read_bytes()
    suite = small_results.parent / "suite"
    assert members["suite.toml"] == (suite / "small.toml").read_bytes()
    assert members["sources/arithmetic.py"] == (suite / "arithmetic.py").read_bytes()
    assert list(json.loads(members["machine.json"])) == [machine_key(records[0].machine)]
    names = [table["name"] for table in json.loads(members["tables.json"])["tables"]]
    assert names == [table.name for table in report_tables(records)]
    assert b"A small suite" in members["report.html"]
    assert {record.run["code"] for record in records} >= {json.loads(members["code.json"])["hash"]}


def test_the_same_results_give_the_same_bytes_wherever_they_lie(results, small_bundle, tmp_path):
    again = make_bundle(results, tmp_path / "again.bench.zip")
    assert again.read_bytes() == small_bundle.read_bytes()


def test_a_bundle_is_read_as_the_folder_it_was_made_of(small_results, small_bundle):
    assert read_results(small_bundle).records == read_results(small_results).records
    assert read_bundle(small_bundle).path == small_bundle


def test_the_command_says_the_hash_to_publish(results):
    done = CliRunner().invoke(main, ["bench", "bundle", str(results)])
    assert done.exit_code == 0, done.output
    path = results.parent / "results.bench.zip"
    assert str(path) in done.output
    assert f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}" in done.output


def test_a_damaged_line_is_packed_and_said(results):
    with (results / "records.jsonl").open("ab") as store:
        store.write(b'{"subject": 1}\n{"half')
    done = CliRunner().invoke(main, ["bench", "bundle", str(results)])
    assert done.exit_code == 0, done.output
    assert "note: records.jsonl, line 4: " in done.output
    assert "note: records.jsonl, line 5: half a line: left out" in done.output


def test_notebooks_that_lie_elsewhere_now_are_found_by_the_suite(
    small_results, results, small_bundle, tmp_path
):
    moved = shutil.copytree(small_results.parent / "suite", tmp_path / "moved")
    again = make_bundle(results, tmp_path / "again.bench.zip", suite=moved / "small.toml")
    assert again.read_bytes() == small_bundle.read_bytes()
    (moved / "n.ipynb").unlink()
    with pytest.raises(ConfigError, match=r"notebook n\.ipynb is not in .*moved"):
        make_bundle(results, suite=moved / "small.toml")


CHANGES = {
    "notebook": ("n.ipynb", "speed >= 1", "speed >= 0", r"notebooks/\S+\.ipynb has changed since it was run"),
    "module": (
        "arithmetic.py",
        "2 * x",
        "3 * x",
        r"n\.ipynb has changed since it was run: small",
    ),
    "suite": ("small.toml", "timeout_s = 200", "timeout_s = 201", "is not the suite that was run"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_has_changed_since_it_was_run_is_no_evidence(small_results, results, tmp_path, kind):
    name, old, new, said = CHANGES[kind]
    moved = shutil.copytree(small_results.parent / "suite", tmp_path / "moved")
    text = (moved / name).read_text()
    assert old in text
    (moved / name).write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=said):
        make_bundle(results, suite=moved / "small.toml")
    assert not list(results.parent.glob("*.zip"))


def test_results_that_a_run_is_adding_to_are_left_alone(results):
    with hold_lock(results / ".lock", doing="a run"), pytest.raises(ConfigError, match="a run is at work"):
        make_bundle(results)


def test_a_link_among_the_notebooks_is_not_followed(results, tmp_path):
    (tmp_path / "secret").write_text("{}")
    (results / "notebooks" / "extra.ipynb").symlink_to(tmp_path / "secret")
    with pytest.raises(ConfigError, match="is a link"):
        make_bundle(results)


def test_a_folder_of_several_suites_names_them(results):
    with pytest.raises(DataError, match=r"has no records\.jsonl") as caught:
        make_bundle(results.parent)
    assert "bundle one of results" in caught.value.hint


def test_results_of_an_older_schema_without_a_suite_are_packed(tmp_path):
    old = RunRecord("s/p", {}, (metric("latency", "s", 1.0),), git="", when="2026-01-01T00:00:00+00:00")
    raw = json.loads(old.to_json()) | {"schema": 1}
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "records.jsonl").write_text(
        json.dumps({key: raw[key] for key in raw if key not in ("reference_s", "run")}) + "\n"
    )
    path = make_bundle(folder)
    assert path == tmp_path / "old.bench.zip"
    assert read_bundle(path).records[0].metric("latency").values == (1.0,)
    done = CliRunner().invoke(main, ["bench", "verify", str(path)])
    assert done.exit_code == 0, done.output
    assert "no suite.toml: these points cannot be replayed" in done.output


def test_a_changed_bundle_is_not_read(bundle):
    whole = bytearray(bundle.read_bytes())
    whole[-1] ^= 1
    bundle.write_bytes(whole)
    with pytest.raises(DataError, match="has changed since it was packed"):
        read_results(bundle)


def test_a_bundle_of_a_later_format_asks_for_an_update(bundle):
    members = dict(unseal(bundle).members)
    members["code.json"] = b'{"format": 2}'
    with pytest.raises(DataError, match="has format 2, this version reads up to 1"):
        read_bundle(seal(members, bundle))


def test_an_archive_of_other_things_is_no_bundle(tmp_path):
    with pytest.raises(DataError, match="is no bundle of results"):
        read_bundle(seal({"a": b"1"}, tmp_path / "a.zip"))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as other:
        other.writestr("a", "1")
    with pytest.raises(DataError, match="has changed since it was packed"):
        read_bundle(tmp_path / "b.zip")


SUBJECT = b'"subject":"small/make"'
SPOILT = {
    "too deep": lambda line: b"[" * 100_000,
    "infinite": lambda line: line.replace(b"100.0", b"1e999", 1),
    "a number for a name": lambda line: line.replace(SUBJECT, b'"subject":5'),
    "a colour for the terminal": lambda line: line.replace(SUBJECT, b'"subject":"\\u001b[31m"'),
    "no machine": lambda line: line.replace(b'"flags":[', b'"flags":7,"x":['),
    "a half round": lambda line: line.replace(b'"round":0', b'"round":0.5'),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_strangers_records_of_another_kind_are_refused(bundle, name):
    members = dict(unseal(bundle).members)
    line = members["records.jsonl"].splitlines()[0]
    spoilt = SPOILT[name](line)
    assert spoilt != line
    members["records.jsonl"] = spoilt + b"\n"
    with pytest.raises(DataError, match=r"records\.jsonl (holds|has no)"):
        read_bundle(seal(members, bundle))


def test_a_store_is_not_changed_by_packing(results):
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    make_bundle(results)
    assert {path: path.read_bytes() for path in results.rglob("*") if path.is_file()} == before
    assert len(RecordStore(results / "records.jsonl").read()) == 3
