from __future__ import annotations

import pytest

from scalelab.authoring.source import cut_solution, parse_source
from scalelab.core.errors import LabFileError


def cut(body: str) -> str:
    source = parse_source(f'# %% task="t"\n{body}\n')
    return cut_solution(source, source.tasks["t"])


def test_a_region_in_a_function_becomes_a_stub_of_the_same_indentation():
    assert cut(
        "def f(x):\n    '''Doc.'''\n    y = 1\n    ### BEGIN SOLUTION\n    return x\n    ### END SOLUTION"
    ) == ("def f(x):\n    '''Doc.'''\n    y = 1\n    # your code here\n    raise NotImplementedError")


def test_a_region_in_a_method_keeps_the_class():
    text = cut(
        "class C:\n    def f(self):\n        ### BEGIN SOLUTION\n        return 1\n        ### END SOLUTION"
    )
    assert text.endswith("    def f(self):\n        # your code here\n        raise NotImplementedError")


def test_a_region_at_the_top_becomes_one_ellipsis_for_every_public_name():
    text = cut("### BEGIN SOLUTION\n_half = 2\nrate = _half * 2\nbatch: int = 8\n### END SOLUTION")
    assert text == "# your code here\nrate = ...\nbatch = ..."


def test_every_region_of_a_cell_is_cut():
    region = "    ### BEGIN SOLUTION\n    return 'secret'\n    ### END SOLUTION\n"
    text = cut(f"def f():\n{region}\n\ndef g():\n{region}")
    assert text.count("raise NotImplementedError") == 2
    assert "secret" not in text


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("def f():\n    ### BEGIN SOLUTION\n    return 1", "unbalanced markers"),
        ("def f():\n    return 1\n    ### END SOLUTION", "unbalanced markers"),
        ("### BEGIN SOLUTION\n### BEGIN SOLUTION\na = 1\n### END SOLUTION", "begins inside another"),
        ("def f():\n    # BEGIN SOLUTION\n    return 1\n    # END SOLUTION", "marker '# BEGIN SOLUTION'"),
        ("### BEGIN SOLUTION\ndef f():\n    return 1\n### END SOLUTION", "the whole of 'f'"),
        ("### BEGIN SOLUTION\nprint(1)\n### END SOLUTION", "assigns no public name"),
        ("a = 1\n### BEGIN HIDDEN TESTS\nassert a\n### END HIDDEN TESTS", "BEGIN HIDDEN TESTS"),
        ("def f()\n    ### BEGIN SOLUTION\n    pass\n    ### END SOLUTION", "is not Python"),
    ],
)
def test_a_cell_that_cannot_be_cut_is_refused_by_file_and_cell(body, problem):
    with pytest.raises(LabFileError, match=r"source\.py: cell 1, line 1 \(task 't'\)") as caught:
        cut(body)
    assert problem in caught.value.message


def test_two_tasks_of_one_name_are_refused():
    with pytest.raises(LabFileError, match=r"cell 2, line 4 .*there already, in cell 1"):
        parse_source('# %% task="t"\na = 1\n\n# %% task="t"\nb = 1\n')


@pytest.mark.parametrize("option", ['tsk="t"', 'tags=["solution-onyl"]'])
def test_an_unknown_option_is_refused_with_the_one_that_was_meant(option):
    with pytest.raises(LabFileError, match="unknown") as caught:
        parse_source(f"# %% {option}\na = 1\n")
    assert "did you mean" in caught.value.hint


def test_headings_are_found_inside_a_cell_but_not_in_its_code_blocks():
    source = parse_source(
        "# %% [markdown]\n# # Title\n#\n# ## Question\n# ```\n# ## no heading\n# ```\n# ### Part\n"
    )
    assert source.cells[0].headings == ["Question"]
