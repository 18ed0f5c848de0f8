"""What a lab may not do: each breach is refused with file and cell."""

from __future__ import annotations

import pytest

from scalelab.authoring import build_lab
from scalelab.core.errors import LabFileError

CHECK_CELL = '# %% check="rate"\nlab.check("rate")\n'
MEASURE = "# ## Measure\n"
PLAIN_CELL = "# %%\nx = 1\n\n"


def refusal(lab, change, old, new, *, file="source.py"):
    change(file, old, new)
    with pytest.raises(LabFileError) as caught:
        build_lab(lab, only_check=True)
    assert caught.value.hint
    return caught.value.message


def cell_before_check(code):
    return f"# %%\n{code}\n\n{CHECK_CELL}"


def test_a_task_without_a_check(lab, change):
    message = refusal(lab, change, CHECK_CELL, "")
    assert "source.py: cell 8, line" in message
    assert "a task without a check" in message


def test_a_check_without_a_task(lab, change):
    message = refusal(lab, change, CHECK_CELL, CHECK_CELL + '\n# %% check="speed"\nlab.check("speed")\n')
    assert "source.py: cell 10" in message
    assert "a check without a task" in message


def test_a_check_that_checks_py_does_not_have(lab, change):
    message = refusal(lab, change, '"rate",\n    points', '"speed",\n    points', file="checks.py")
    assert "(check 'rate'): checks.py has no such check" in message


def test_a_check_before_its_task(lab, change):
    change("source.py", CHECK_CELL, "")
    message = refusal(lab, change, '# %% task="rate"', CHECK_CELL + '\n# %% task="rate"')
    assert "cell 8" in message
    assert "before its task" in message


def test_a_check_cell_that_holds_more(lab, change):
    assert "cell 9" in refusal(lab, change, CHECK_CELL, CHECK_CELL + "print(1)\n")


def test_points_that_do_not_add_up(lab, change):
    message = refusal(lab, change, "points = 2 ", "points = 3 ", file="lab.toml")
    assert "labs/42_tiny_rate/lab.toml: points = 3" in message
    assert "2 (rate) = 2" in message


def test_a_lab_toml_of_another_lab(lab, change):
    message = refusal(lab, change, "number = 42", "number = 41", file="lab.toml")
    assert message == "labs/42_tiny_rate/lab.toml: number = 41, but the folder is 42_tiny_rate"


def test_more_than_five_cells_before_a_check(lab, change):
    change("source.py", CHECK_CELL, PLAIN_CELL * 4 + CHECK_CELL)
    build_lab(lab, only_check=True)
    message = refusal(lab, change, CHECK_CELL, PLAIN_CELL + CHECK_CELL)
    assert "cell 14" in message
    assert "6 cells since the last check or heading" in message


def test_cells_after_the_last_check_are_free(lab, change):
    change("source.py", "# %% [markdown]\n# ## Explain", PLAIN_CELL * 9 + "# %% [markdown]\n# ## Explain")
    build_lab(lab, only_check=True)


@pytest.mark.parametrize("heading", ["Question", "Predict", "Cost"])
def test_a_missing_heading(lab, change, heading):
    assert heading in refusal(lab, change, f"## {heading}\n", f"**{heading}**\n")


def test_a_heading_that_is_none_of_the_seven(lab, change):
    assert "cell 10" in refusal(lab, change, "## Measure\n", "## Measuring\n")


def test_headings_out_of_order(lab, change):
    change("source.py", "## Predict\n", "## Swap\n")
    change("source.py", "## Build\n", "## Predict\n")
    assert "cell 4, line 18: heading '## Build'" in refusal(lab, change, "## Swap\n", "## Build\n")


def test_a_heading_that_is_there_twice(lab, change):
    twice = "# %% [markdown]\n# ## Explain\n\n" * 2
    assert "cell 13" in refusal(lab, change, "# %% [markdown]\n# ## Explain\n", twice)


def test_a_first_cell_that_opens_another_lab(lab, change):
    assert "cell 2" in refusal(lab, change, 'Lab("42_tiny_rate")', 'Lab("41_other")')


def test_a_task_without_a_region(lab, change):
    change("source.py", "    ### BEGIN SOLUTION\n", "")
    assert "no solution region" in refusal(lab, change, "    ### END SOLUTION\n", "")


def test_a_region_outside_of_a_task(lab, change):
    marked = "### BEGIN SOLUTION\nx = 1\n### END SOLUTION"
    assert "cell 9" in refusal(lab, change, CHECK_CELL, cell_before_check(marked))


def test_a_stub_without_docstring(lab, change):
    change("source.py", '    """Return the requests', '    _ = """Return the requests')
    message = refusal(lab, change, "# Write the function", "# Now write the function")
    assert "overall_rate() has no docstring" in message


def test_a_prediction_that_only_the_solution_makes(lab, change):
    asking = 'lab.predict("rate", "Requests'
    message = refusal(lab, change, asking, 'lab.predict("speed", "Requests')
    assert "cell 6" in message
    assert "prediction 'rate'" in message


@pytest.mark.parametrize(
    "code",
    [
        "!pip install torch",
        "%pip install torch",
        "!apt-get install -y redis",
        "!curl -O https://example.org/data.csv",
        "import subprocess\nsubprocess.run(['python', '-m', 'pip', 'install', 'torch'])",
        "import urllib.request\nurllib.request.urlretrieve('https://example.org/a', 'a')",
        "import pandas as pd\npd.read_csv('https://example.org/a.csv')",
        "import torch\ntorch.hub.load('pytorch/vision', 'resnet18')",
        "model = AutoModel.from_pretrained('bert')",
        "data = MNIST('.', download=True)",
    ],
)
def test_a_cell_that_installs_or_downloads(lab, change, code):
    commented = "\n".join("# " + line if line[0] in "!%" else line for line in code.splitlines())
    message = refusal(lab, change, CHECK_CELL, cell_before_check(commented))
    assert "cell 9, line" in message
    assert "installs or downloads" in message


@pytest.mark.parametrize(
    "code",
    ["httpx.get('http://127.0.0.1:8000/healthz')", "MNIST('.', download=False)", "prices.get('https')"],
)
def test_what_stays_on_the_machine_is_allowed(lab, change, code):
    change("source.py", CHECK_CELL, cell_before_check(code))
    build_lab(lab, only_check=True)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("px.line(x=[1], y=[2])", "a plot without alt text and data table"),
        ("plt.plot([1, 2])", "a plot without alt text and data table"),
        ("Measurement(1.0, '1/s', figure=draw())", "a plot without alt text and data table"),
        ("Measurement(1.0, '1/s', figure=draw(), alt='', table=rows)", "a plot without alt text"),
        ("Measurement(1.0, '1/s', figure=draw(), alt='A line.')", "a plot without data table"),
    ],
)
def test_a_plot_without_alt_text_or_data_table(lab, change, code, problem):
    message = refusal(lab, change, CHECK_CELL, cell_before_check(code))
    assert "cell 9" in message
    assert problem in message


@pytest.mark.parametrize(
    "code",
    [
        "def draw():\n    return px.line(x=[1], y=[2])",
        "figure = px.line(x=[1], y=[2])\nMeasurement(1.0, '', figure=figure, alt='A line.', table=rows)",
    ],
)
def test_a_described_plot_is_allowed(lab, change, code):
    change("source.py", CHECK_CELL, cell_before_check(code))
    build_lab(lab, only_check=True)


def test_a_colab_badge_that_leads_elsewhere(lab, change):
    message = refusal(lab, change, "scalelab/scalelab/blob", "someone/else/blob", file="README.md")
    assert "labs/42_tiny_rate/README.md: a Colab link to" in message
    assert "someone/else" in message


def test_inside_that_judges(lab):
    (lab.lab / "inside.py").write_text("from scalelab.grading import expect\n", encoding="utf-8")
    with pytest.raises(LabFileError, match=r"inside\.py: line 1: it imports scalelab\.grading"):
        build_lab(lab, only_check=True)


def test_inside_that_only_reports(lab):
    (lab.lab / "inside.py").write_text("import scalelab.models\n", encoding="utf-8")
    assert all(built.is_fresh for built in build_lab(lab, only_check=True))
