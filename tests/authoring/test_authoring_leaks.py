from __future__ import annotations

import importlib.util
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from scalelab.authoring.leaks import leaks_in, leaks_in_archive, leaks_in_lab, telling_texts

ROOT = Path(__file__).resolve().parents[2]
SOLUTION = "return answered / elapsed_s"
EXPLAINED = "The short window is a quarter of the time, but half of that mean."


def test_a_new_lab_gives_nothing_away(lab):
    assert telling_texts(lab)["rate"]
    assert leaks_in_lab(lab) == []


@pytest.mark.parametrize(
    "text",
    [
        f"    {SOLUTION}\n",
        f"Write `{SOLUTION}` and be done.",
        "return answered\n    /   elapsed_s",
        "return answered /  # by the time\n    elapsed_s",
        "return sum(counts) / sum(seconds)",
        EXPLAINED,
    ],
    ids=["line", "quoted", "wrapped", "commented", "right answer", "explanation"],
)
def test_solution_text_is_found_however_it_is_laid_out(lab, text):
    (lab.lab / "README.md").write_text(text)
    (leak,) = leaks_in_lab(lab)
    assert leak.startswith("labs/42_tiny_rate/README.md: solution text of ")


@pytest.mark.parametrize("place", ["source", "outputs", "metadata"])
def test_solution_text_is_found_anywhere_in_a_notebook(lab, place):
    path = lab.lab / "lab.ipynb"
    notebook = json.loads(path.read_text())
    cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    if place == "source":
        cell["source"] = ["return answered\n", "    / elapsed_s"]
    elif place == "outputs":
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": [SOLUTION]}]
    else:
        notebook["metadata"]["note"] = {"deep": [SOLUTION]}
    path.write_text(json.dumps(notebook))
    assert len(leaks_in_lab(lab)) == 1


@pytest.mark.parametrize("name", ["answers.py", "hidden_checks.py", "source.py", "solution.ipynb"])
def test_a_file_of_the_solutions_is_found_by_its_name(lab, name):
    (lab.lab / name).write_text("")
    assert leaks_in_lab(lab) == [f"labs/42_tiny_rate/{name}: this file belongs to solutions/"]


def test_what_a_wrong_answer_holds_too_gives_nothing_away(lab, change):
    change(
        "answers.py",
        "    rate = sum(counts)",
        "    answered = sum(counts)\n    elapsed_s = sum(seconds)\n    x",
    )
    change("answers.py", "    x / sum(seconds)\n", "    return answered / elapsed_s\n")
    assert SOLUTION.replace(" ", "") not in telling_texts(lab)["rate"]


def test_a_solution_of_short_statements_counts_as_a_whole(lab, change):
    change("source.py", "    return answered / elapsed_s", "    return answered/elapsed_s")
    (lab.solution / "answers.py").write_text("ANSWERS = {}")
    change("source.py", "answered", "n")
    assert telling_texts(lab)["rate"] == {"n=sum(counts)elapsed_s=sum(seconds)returnn/elapsed_s"}


def test_an_answer_that_is_no_python_is_left_to_the_trials(lab, change):
    change("answers.py", "    return sum(seconds) / sum(counts)", "    return sum(seconds) / / sum(counts)")
    assert leaks_in_lab(lab) == []


def test_the_package_may_share_statements_but_not_a_whole_solution():
    telling = {"t": {"a=first_statement(x)", "b=second_statement(a)", "c=third_statement(b)"}}
    two = "a = first_statement(x)\nb = second_statement(a)\n"
    assert leaks_in(two, telling, is_whole=True) == []
    assert leaks_in(two, telling) != []
    assert leaks_in(two + "c = third_statement(b)\n", telling, is_whole=True) != []


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_archives_are_searched_for_files_and_text(tmp_path, kind):
    files = {
        "p/labs/42_tiny/README.md": SOLUTION,
        "p/labs/43_later/README.md": SOLUTION,
        "p/labs/42_tiny/checks.py": "nothing",
        "p/solutions/42_tiny/source.py": "",
        "p/labs/42_tiny/source.py": "",
        "p/scalelab/authoring/source.py": "",
        "p/scalelab/grading/answers.py": "",
    }
    archive = tmp_path / ("p.whl" if kind == "wheel" else "p.tar.gz")
    if kind == "wheel":
        with zipfile.ZipFile(archive, "w") as wheel:
            for name, text in files.items():
                wheel.writestr(name, text)
    else:
        with tarfile.open(archive, "w:gz") as sdist:
            for name, text in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(text)
                sdist.addfile(member, io.BytesIO(text.encode()))
    found = leaks_in_archive(archive, {"42_tiny": {"rate": {SOLUTION.replace(" ", "")}}})
    assert [leak.split(": ")[1] for leak in found] == [
        "p/labs/42_tiny/README.md",
        "p/solutions/42_tiny/source.py",
        "p/labs/42_tiny/source.py",
    ]


def lab_files(root):
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.lab_files(root)


def test_a_wheel_ships_a_lab_without_caches_and_hidden_files(lab, course):
    for name in ("__pycache__/checks.pyc", ".ipynb_checkpoints/lab.ipynb", ".solutions"):
        (lab.lab / name).parent.mkdir(exist_ok=True)
        (lab.lab / name).write_text("")
    names = ["README.md", "checks.py", "lab.ipynb", "lab.toml"]
    assert lab_files(course) == [f"labs/42_tiny_rate/{name}" for name in names]


@pytest.mark.parametrize("name", ["answers.py", "hidden_checks.py", "solution.ipynb", "source.py"])
def test_a_wheel_with_a_file_of_the_solutions_is_not_built(lab, course, name):
    (lab.lab / name).write_text("")
    with pytest.raises(ValueError, match="must not reach students"):
        lab_files(course)
