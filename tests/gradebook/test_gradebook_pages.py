"""What the pages say, and that they read on a phone and on a desk, in light and dark."""

from __future__ import annotations

import html.parser
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from gradebook_classes import graded, make_class, not_graded, write_results

from scalelab.cli import main
from scalelab.gradebook import write_gradebook

CONTRAST = """() => {
  const parse = c => c.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = c => parse(c).map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c) && c !== 'transparent') return c; }
    return 'rgb(255, 255, 255)'; };
  let worst = [21, ''];
  for (const e of document.querySelectorAll('p, li, span, h1, h2, code, blockquote, td, th, dd, dt, b')) {
    if (!e.textContent.trim() || e.closest('.plot') || e.closest('details')) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < worst[0]) worst = [ratio, e.outerHTML.slice(0, 80)];
  }
  return worst;
}"""


def words(path: Path) -> str:
    """Return the text of a page, without its style and scripts."""

    class Text(html.parser.HTMLParser):
        skipped = 0
        found: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag, attrs):
            self.skipped += tag in {"style", "script"}

        def handle_endtag(self, tag):
            self.skipped -= tag in {"style", "script"}

        def handle_data(self, data):
            if not self.skipped:
                self.found.append(data)

    reader = Text()
    reader.found = []
    reader.feed(path.read_text(encoding="utf-8"))
    return " ".join(" ".join(reader.found).split())


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("class") / "grades"
    write_results(folder, make_class(40))
    write_gradebook(folder, title="Gradient accumulation")
    return folder


def test_only_the_instructor_sees_where_code_digs(tmp_path):
    place = "cell 5, line 3: _getframe"
    write_results(tmp_path, [graded("mira", introspection=[place]), graded("ravi")])
    report = write_gradebook(tmp_path)
    assert place in (text := words(tmp_path / "dashboard.html"))
    assert "never a verdict" in text
    assert any("mira" in note and "no verdict" in note for note in report.notes)
    assert "_getframe" not in (tmp_path / "feedback" / "mira.html").read_text(encoding="utf-8")


def test_a_hidden_check_that_came_too_early_says_what_comes_first(tmp_path):
    outcomes = {"accumulate": "failed", "accumulate-corners": "failed"}
    row = graded("mira", outcomes)
    row.checks[-1].update(code="comes-after", message="it counts once `accumulate` passes", meaning="")
    write_results(tmp_path, [row])
    write_gradebook(tmp_path)
    assert "It counts once accumulate passes." in words(tmp_path / "feedback" / "mira.html")
    assert "comes-after" not in words(tmp_path / "dashboard.html")


def test_a_student_reads_what_came_back_what_it_looks_like_and_a_hint(tmp_path):
    write_results(
        tmp_path, [graded("mira", {"accumulate": "failed", "memory": "crashed", "weights": "not attempted"})]
    )
    write_gradebook(tmp_path)
    text = words(tmp_path / "feedback" / "mira.html")
    for told in (
        "4 of 13 points",
        "The gradient is 71 % off, wanted at most 0.1 %.",
        "It looks like this: a short last micro-batch counts as much as a full one.",
        "Hint: What does backward() add up?",
        "Your code stopped before there was a result to look at. ZeroDivisionError",
        "not begun 0/2 Weigh every micro-batch",
        "right 3/3 Estimate the gradient noise scale",
    ):
        assert told in text, text


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("refused", "Your file could not be graded"),
        ("timed out", "does not come to an end"),
        ("crashed", "can grade it once more"),
    ],
)
def test_whoever_has_no_grade_reads_why_and_what_to_do(tmp_path, status, told):
    write_results(tmp_path, [graded("mira"), not_graded("ravi", status, "the reason for it")])
    write_gradebook(tmp_path)
    text = words(tmp_path / "feedback" / "ravi.html")
    assert "The reason for it." in text
    assert told in text


def test_full_points_are_praised_and_older_hand_ins_said(tmp_path):
    write_results(tmp_path, [graded("mira", attempts=["a.ipynb", "b.ipynb"], late=True)])
    write_gradebook(tmp_path)
    text = words(tmp_path / "feedback" / "mira.html")
    assert "Everything is right. Well done." in text
    assert "You handed in 2 times more before this: the newest counts." in text
    assert "after the due date" in text


def test_every_plot_has_words_and_a_table(out):
    page = (out / "dashboard.html").read_text(encoding="utf-8")
    plots = re.findall(r'<div class="plot" role="img" aria-label="([^"]+)">', page)
    assert len(plots) == 4
    assert all(len(alt) > 30 for alt in plots)
    assert page.count("<details><summary>The numbers</summary>") == 4


def test_the_dashboard_names_misconceptions_by_how_many_have_them(out):
    text = words(out / "dashboard.html")
    rows = [text.index(code) for code in ("biased-norm", "graph-kept", "equal-shares")]
    assert rows == sorted(rows)
    assert "This is no verdict" in text
    assert "ravi03" in text[text.index("Places to look") :]


def test_equal_results_leave_pages_as_they_are(out):
    before = {path: path.stat().st_mtime_ns for path in (out / "feedback").iterdir()}
    assert len(before) == 40
    write_gradebook(out)
    assert before == {path: path.stat().st_mtime_ns for path in (out / "feedback").iterdir()}


def test_the_smallest_class_has_a_dashboard(tmp_path):
    write_results(tmp_path, [not_graded("mira", "refused", "no notebook")])
    write_gradebook(tmp_path)
    assert "no notebook" in words(tmp_path / "dashboard.html")


def test_the_commands_say_what_they_wrote_and_what_to_know(tmp_path):
    out = write_results(tmp_path / "grades", [graded("mira", written={"why": "Because."})])
    done = CliRunner().invoke(main, ["gradebook", "write", str(out), "--title", "Lab 6"])
    assert done.exit_code == 0, done.output
    assert "1 students" not in done.output
    assert "dashboard.html" in done.output
    assert "note: 1 written answer to mark" in done.output
    filled = tmp_path / "filled.csv"
    filled.write_text("student,task,mark,max\nmira,why,2,4\n")
    done = CliRunner().invoke(main, ["gradebook", "marks", str(out), str(filled)])
    assert done.exit_code == 0, done.output
    assert "1 new mark," in done.output
    assert "15" in (out / "gradebook.csv").read_text()
    filled.write_text("student,task,mark,max\nmira,why,9,4\n")
    done = CliRunner().invoke(main, ["gradebook", "marks", str(out), str(filled)])
    assert done.exit_code == 2
    assert "line 2: mark 9 is above the maximum of 4" in done.output


@pytest.mark.slow
def test_pages_read_on_phone_and_desk_in_light_and_dark(out, chromium):
    """No sideways scrolling, no error in the console, no request, text of 4.5 to 1 against its ground."""
    from playwright.sync_api import sync_playwright

    pages = [out / "dashboard.html", *sorted((out / "feedback").iterdir())[:6]]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width, scheme in ((360, "light"), (390, "dark"), (1280, "light"), (1280, "dark")):
            context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
            for path in pages:
                page, said, asked = context.new_page(), [], []
                page.on("console", lambda message, said=said: said.append(message.text))
                page.on("pageerror", lambda error, said=said: said.append(str(error)))
                page.on("request", lambda request, asked=asked: asked.append(request.url))
                page.goto(path.as_uri())
                where = f"{path.name} at {width} {scheme}"
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
                ratio, element = page.evaluate(CONTRAST)
                assert ratio >= 4.5, f"{where}: {ratio:.2f} in {element}"
                assert said == [], where
                assert asked == [path.as_uri()], where
                page.close()
            context.close()
        browser.close()
