"""What a parameter cell declares, and which values it takes."""

import nbformat
import pytest

from scalelab.bench.parameters import check_parameters, read_parameters
from scalelab.core.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("default")  # papermill and nbformat warn about their own future

CELL = """
x: int = 1  # a number
rate: float = 0.5
sizes: list[int] = [1]
prices: dict[str, float] = {"a": 1.0}
any_of: list = []
bare = 3
nothing = None
"""


@pytest.fixture
def notebook(tmp_path):
    cell = nbformat.v4.new_code_cell(CELL)
    cell.metadata["tags"] = ["parameters"]
    spec = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=spec), tmp_path / "n.ipynb")
    return tmp_path / "n.ipynb"


@pytest.mark.parametrize(
    "values",
    [{"rate": 1}, {"sizes": [1, 2]}, {"sizes": []}, {"prices": {"b": 2}}, {"any_of": ["a", 1]}, {"bare": 4},
     {"nothing": [True]}],
    ids=str,
)  # fmt: skip
def test_a_value_of_the_declared_type_is_taken(notebook, values):
    assert check_parameters(notebook, values).keys() == read_parameters(notebook).keys()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"rate": True}, "float"),
        ({"sizes": 3}, r"list\[int\]"),
        ({"sizes": [1, "2"]}, r"list\[int\]"),
        ({"sizes": [True]}, r"list\[int\]"),
        ({"prices": {"a": "dear"}}, r"dict\[str, float\]"),
        ({"any_of": {}}, "list"),
        ({"bare": "3"}, "int"),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_refused_with_the_default(notebook, values, kind):
    [name] = values
    with pytest.raises(ConfigError, match=rf"n\.ipynb: {name} = .* is no {kind}\n.*its default is"):
        check_parameters(notebook, values)
