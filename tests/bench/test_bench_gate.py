"""The gate of CI: a suite whose claim fails ends with another exit code than one whose claims hold."""

import nbformat
import pytest
from click.testing import CliRunner

from scalelab.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

BODY = """
from scalelab.bench import claim, write_record
claims = [claim("x is small", x < 5, f"x = {x}")]
write_record(record_path, "t", parameters={}, metrics=[], notes={"claims": claims})
"""


@pytest.mark.parametrize(("x", "gate", "code"), [(9, True, 1), (9, False, 0), (3, True, 0)])
def test_only_a_gated_run_with_a_failed_claim_exits_with_one(tmp_path, x, gate, code):
    cells = [nbformat.v4.new_code_cell('x: int = 1\nrecord_path: str = ""'), nbformat.v4.new_code_cell(BODY)]
    cells[0].metadata["tags"] = ["parameters"]
    spec = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=spec), tmp_path / "n.ipynb")
    suite = tmp_path / "suite.toml"
    suite.write_text(f'[[point]]\nname = "p"\nnotebook = "n.ipynb"\nparameters = {{ x = {x} }}\n')
    words = ["bench", "run", str(suite), "--out", str(tmp_path / "out"), *(["--gate"] if gate else [])]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == code, done.output
    if code:
        assert "1 claims failed: x is small" in done.output
