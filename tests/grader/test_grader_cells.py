"""What counts of a submission: the source of its code cells, whatever the rest of the file says."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import grader_tiny as tiny
import pytest

from scalelab.core.errors import LabFileError
from scalelab.grader.cells import MAX_BYTES, MAX_CELLS, MAX_CODE, CodeCell, Refused, read_submission
from scalelab.grader.lab import GradedLab


def texts(book: Any) -> list[str]:
    return [cell.text for cell in read_submission(json.dumps(book).encode()).cells]


def refusal(raw: bytes) -> str:
    with pytest.raises(Refused) as refused:
        read_submission(raw)
    return refused.value.reason


def nested(depth: int) -> bytes:
    deep = b'{"deep": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    return tiny.raw().replace(b'"metadata": {}', b'"metadata": ' + deep, 1)


def test_the_code_cells_come_in_order_with_their_places():
    cells = read_submission(tiny.raw()).cells
    released = [place for place, cell in enumerate(tiny.release()["cells"], 1) if cell["cell_type"] == "code"]
    assert [cell.number for cell in cells] == released
    assert tiny.RIGHT["softmax"] in [cell.text for cell in cells]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b" \n\n ", "empty"),
        (b"hello", "the file is no notebook: open it"),
        (b"{", "breaks off in line 1, as after a download"),
        (b'{"cells": [\n{"source": "x = ', "breaks off in line 2"),
        (b'{"cells": [\n{"source" "x"}]}', "is damaged in line 2: open it"),
        (b"null", "NoneType at its top"),
        (b"[1, 2, 3]", "list at its top"),
        (b"{}", "no list of cells"),
        (b'{"cells": {}}', "no list of cells"),
        (b'{"cells": []}', "no code cell"),
        (b'{"cells": [null, 5, [], "x"]}', "no code cell"),
        (b'{"nbformat": 3, "worksheets": [{"cells": []}]}', "old format 3"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"%PDF-1.7", "PDF"),
        (b"<!DOCTYPE html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b'{"cells": "\xff"}', "byte 11 is not utf-8"),
        (b"[" * 100_000, "nested too deep"),
        (b"[" + b"1," * 6_000_000 + b"1]", "values"),
        (
            b'{"cells": [' + b'{"cell_type":"code","source":"1"},' * MAX_CELLS + b"{}]}",
            f"{MAX_CELLS} is the limit",
        ),
        (b" " * (MAX_BYTES + 1) + b"{}", "empty"),
        (b"{" + b" " * MAX_BYTES + b"}", "is the limit: clear its outputs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_notebook_is_refused_with_its_reason(raw, reason):
    assert reason in refusal(raw)


def test_code_longer_than_any_honest_one_is_refused():
    book = tiny.notebook(after=("x = 1\n" * (MAX_CODE // 6 + 1),))
    assert "load data from files" in refusal(json.dumps(book).encode())


def test_deep_metadata_is_read_where_it_can_be_and_refused_otherwise():
    assert read_submission(nested(100)).cells
    assert "nested too deep" in refusal(nested(100_000))


def test_outputs_and_metadata_with_nan_do_not_matter():
    book = tiny.notebook()
    for cell in book["cells"]:
        cell["metadata"]["x"] = float("nan")
        cell["outputs"] = [{"data": {"application/json": float("inf")}}]
    assert texts(book) == texts(tiny.notebook())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_encoding_that_json_allows_is_read(encoding):
    book = json.dumps(tiny.notebook(after=("é = '語'",)), ensure_ascii=False)
    assert read_submission(book.encode(encoding)).cells[-1].text == "é = '語'"


def test_lines_as_a_list_or_as_a_text_are_the_same():
    book = tiny.notebook()
    whole = copy.deepcopy(book)
    for cell in whole["cells"]:
        cell["source"] = "".join(cell["source"]).replace("\n", "\r\n")
    assert texts(whole) == texts(book)


def test_a_damaged_cell_is_passed_over_and_said():
    book = tiny.notebook()
    book["cells"][4:4] = [{"cell_type": "code", "source": 5}, None, {"cell_type": "code", "source": ["x", 1]}]
    read = read_submission(json.dumps(book).encode())
    assert [cell.text for cell in read.cells] == texts(tiny.notebook())
    assert [note.split(" is ")[0] for note in read.notes] == ["cell 5", "cell 6", "cell 7"]


def test_many_damaged_cells_are_said_in_few_words():
    book = tiny.notebook()
    book["cells"] += [{"cell_type": "code", "source": 5}] * 500
    assert len(read_submission(json.dumps(book).encode()).notes) < 20


def test_a_task_turned_into_text_is_said():
    book = tiny.notebook()
    cell = next(cell for cell in book["cells"] if cell["metadata"].get("nbgrader", {}).get("solution"))
    cell["cell_type"] = "raw"
    assert "(task softmax) is no code cell" in read_submission(json.dumps(book).encode()).notes[0]


def test_half_a_character_in_code_becomes_a_question_mark():
    book = tiny.notebook(after=("x = '\ud800'",))
    assert texts(book)[-1] == "x = '?'"


@pytest.mark.parametrize(
    ("text", "is_check"),
    [
        ('lab.check("softmax")', True),
        ('# mine\n\n  lab.check("softmax")\nlab.check("b")  ', True),
        ("grader.check('q1')", True),
        ('x = lab.check("softmax")', False),
        ('lab.check("softmax"); x = 1', False),
        ("# only words", False),
        ("#" * 5000 + "\nx", False),
        ("# # # #" * 500 + "lab.check(\nx", False),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_check_cell_holds_nothing_but_checks(text, is_check):
    assert CodeCell(1, text).is_check is is_check


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("def f(x):\n    y = 1\n    return y", {"f"}),
        ("async def f(): pass\nclass C:\n    z = 1", {"f", "C"}),
        ("weights = [1]\nbias: float = 2\nif weights == bias: pass", {"weights", "bias"}),
        ("def broken(x:\n  return", {"broken"}),
        ("%%time\ntotal = 0\n!ls", {"total"}),
    ],
    ids=lambda value: str(value)[:12],
)
def test_the_names_of_a_cell_are_read_from_its_lines(text, names):
    assert CodeCell(1, text).names == names


@pytest.fixture(scope="module")
def lab() -> GradedLab:
    return GradedLab.load(tiny.LAB)


def plan(lab: GradedLab, book: Any):
    return lab.plan(read_submission(json.dumps(book).encode()))


def graded(book: Any, key: str) -> list[dict[str, Any]]:
    return [cell for cell in book["cells"] if cell["metadata"].get("nbgrader", {}).get(key)]


def swap_ids(book):
    cells = graded(book, "solution")
    ids = [cell["metadata"]["nbgrader"]["grade_id"] for cell in cells]
    for cell, name in zip(cells, ids[1:] + ids[:1], strict=True):
        cell["metadata"]["nbgrader"]["grade_id"] = name


def duplicate_checks(book):
    book["cells"] += [{**cell, "source": "pass"} for cell in graded(book, "grade")]


def delete_checks(book):
    for cell in graded(book, "grade"):
        book["cells"].remove(cell)


def raw_checks(book):
    for cell in graded(book, "grade"):
        cell["cell_type"] = "raw"


def more_points(book):
    for cell in graded(book, "grade"):
        cell["metadata"]["nbgrader"]["points"] = 1000


def no_metadata(book):
    for cell in book["cells"]:
        cell["metadata"] = None


@pytest.mark.parametrize(
    "change",
    [swap_ids, duplicate_checks, delete_checks, raw_checks, more_points, no_metadata],
    ids=lambda f: f.__name__,
)
def test_what_is_done_to_metadata_and_checks_changes_nothing_of_what_runs(lab, change):
    book = tiny.notebook()
    change(book)
    wanted = plan(lab, tiny.notebook())
    found = plan(lab, book)
    assert [cell.text for cell in found.cells if cell.text != "pass"] == [cell.text for cell in wanted.cells]
    assert {name: cell.text for name, cell in found.tasks.items()} == {
        name: cell.text for name, cell in wanted.tasks.items()
    }


def test_the_cells_before_the_first_task_are_not_run_again(lab):
    assert len(lab.prefix) == 3
    assert plan(lab, tiny.notebook()).cells[0].text == tiny.RIGHT["softmax"]


def test_a_changed_cell_before_the_first_task_makes_all_of_them_run(lab):
    book = tiny.notebook()
    place = next(
        place for place, cell in enumerate(book["cells"]) if "manual_seed" in "".join(cell["source"])
    )
    book["cells"][place]["source"] = "import torch"
    assert [cell.text for cell in plan(lab, book).cells[:2]] == [lab.prefix[0].text, "import torch"]


def test_released_cells_after_the_last_task_wait_until_they_are_needed(tmp_path):
    folder = tmp_path / "lab"
    folder.mkdir()
    book = tiny.release()
    tail = ("figure = slow_pairwise(big)", "fast_pairwise = 3", 'lab.explain("ring", "")')
    book["cells"] += [tiny.code_cell(text) for text in tail]
    (folder / "lab.ipynb").write_text(json.dumps(book))
    (folder / "checks.py").write_bytes((tiny.LAB / "checks.py").read_bytes())
    lab = GradedLab.load(folder)
    found = plan(lab, book)
    assert [cell.text for cell in found.cells[-3:]] == list(tail)
    assert [cell.text for cell in found.cells if cell.number in found.idle] == [tail[0]]
    assert found.idle_names == {"figure"}


CHECK = """
from scalelab.grading import check

@check("{name}", points=1, hints=("a", "b", "c"), after="{after}")
def judge(answers):
    "Do it."
"""


@pytest.mark.parametrize(
    ("visible", "hidden", "told"),
    [
        (("one", ""), ("more", "two"), "'more' has after='two'"),
        (("one", "more"), ("more", "one"), "'one' has"),
    ],
)
def test_a_check_comes_after_a_visible_one_or_after_none(tmp_path, visible, hidden, told):
    for file, (name, after) in (("checks.py", visible), ("hidden_checks.py", hidden)):
        (tmp_path / file).write_text(CHECK.format(name=name, after=after))
    (tmp_path / "lab.ipynb").write_bytes(tiny.raw())
    with pytest.raises(LabFileError, match=told):
        GradedLab.load(tmp_path).checks  # noqa: B018


def test_the_course_keeps_hidden_checks_apart(tmp_path):
    for place, names in (
        ("labs", ("checks.py", "lab.ipynb", "inside.py")),
        ("solutions", ("hidden_checks.py",)),
    ):
        (tmp_path / place / "09_tiny").mkdir(parents=True)
        for name in names:
            (tmp_path / place / "09_tiny" / name).write_bytes((tiny.LAB / name).read_bytes())
    lab = GradedLab.load(tmp_path / "labs" / "09_tiny")
    assert lab.files["hidden_checks.py"] == tmp_path / "solutions" / "09_tiny" / "hidden_checks.py"


def test_a_changed_check_changes_the_hash_of_the_lab(tmp_path):
    for name in ("checks.py", "lab.ipynb"):
        (tmp_path / name).write_bytes((tiny.LAB / name).read_bytes())
    before = GradedLab.load(tmp_path).sha256
    assert GradedLab.load(tmp_path).sha256 == before
    with (tmp_path / "checks.py").open("a") as file:
        file.write("# stricter\n")
    assert GradedLab.load(tmp_path).sha256 != before


def test_a_lab_can_be_given_as_its_source(tmp_path):
    pytest.importorskip("jupytext")
    for name in ("checks.py", "source.py"):
        (tmp_path / name).write_bytes((tiny.LAB / name).read_bytes())
    lab = GradedLab.load(tmp_path)
    assert lab.tasks == GradedLab.load(tiny.LAB).tasks
    assert [cell.key for cell in lab.prefix] == [cell.key for cell in GradedLab.load(tiny.LAB).prefix]


MUTANTS = 500


def mutate(raw: bytes, rng: random.Random) -> bytes:
    """Change a notebook somewhere: its bytes, its JSON, its metadata."""
    if rng.random() < 0.3:
        data = bytearray(raw)
        for _ in range(rng.choice([1, 3, 30])):
            place = rng.randrange(len(data))
            data[place : place + rng.choice([0, 1, 1, 40])] = rng.randbytes(rng.choice([0, 1, 3]))
        return bytes(data)[: rng.choice([len(data), len(data), rng.randrange(len(data) + 1)])]
    book = json.loads(raw)
    for _ in range(rng.choice([1, 2, 5, 20])):
        holder, key = pick(book, rng)
        holder[key] = rng.choice(ODD)(rng, holder[key])
    return json.dumps(book, ensure_ascii=rng.random() < 0.9).encode("utf-8", "surrogatepass")


def pick(book: Any, rng: random.Random) -> tuple[Any, Any]:
    """Return a random place in nested JSON, as its holder and its key."""
    holder, key = {"": book}, ""
    while (
        isinstance(holder[key], dict | list) and holder[key] and (holder[key] is book or rng.random() < 0.8)
    ):
        holder = holder[key]
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    return holder, key


ODD = [
    lambda rng, old: None,
    lambda rng, old: rng.choice([5, -1, 1e308, float("nan"), float("inf"), 10**30, True]),
    lambda rng, old: rng.choice(
        ["", "\ud800", "\0", "code", "def softmax(x):\n  return x", "%%bash\n:", "\x1b[2J"]
    ),
    lambda rng, old: [old, old],
    lambda rng, old: {"cells": old, "source": old, "cell_type": "code"},
    lambda rng, old: [[[[[[old]]]]]],
    lambda rng, old: str(old)[::-1],
    lambda rng, old: [],
    lambda rng, old: {},
]


def test_no_mutated_notebook_breaks_the_reader(lab):
    read, refused = 0, set()
    for seed in range(MUTANTS):
        raw = mutate(tiny.raw(), random.Random(seed))
        try:
            found = read_submission(raw)
        except Refused as error:
            refused.add(error.reason)
        else:
            read += 1
            json.dumps([cell.text for cell in lab.plan(found).cells]).encode()
            assert found.cells
    assert read > MUTANTS / 4
    assert len(refused) > 5
