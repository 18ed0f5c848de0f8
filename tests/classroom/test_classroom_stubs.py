"""A cell that meets a stub fails in one sentence; any other error keeps its traceback."""

from __future__ import annotations

import pytest

from scalelab.classroom.stubs import sentence_for

STUB = "def weights(counts):\n    raise NotImplementedError\n"
CASES = {
    STUB + "weights([1])": "`weights` is still the stub",
    STUB + "sorted([1], key=weights)": "`weights` is still the stub",
    "raise NotImplementedError": "",
    "import io\nio.IOBase().seek(0)": "",
    "class A(dict):\n    def __missing__(self, key): return int(key)\nA()['x']": "",
    "share = ...\nshare * 2": "`share` is still `...`",
    "share = ...\nlen(share)": "`share` is still `...`",
    "share = ...\nshare.mean()": "`share` is still `...`",
    "(...).mean()": "",
    "1 / 0": "",
}


@pytest.mark.parametrize("source", CASES)
def test_only_a_stub_of_the_notebook_is_answered_with_a_sentence(source, monkeypatch):
    namespace = {}
    monkeypatch.setattr("linecache.getline", lambda file, number: source.splitlines()[number - 1])
    with pytest.raises(Exception) as caught:  # noqa: PT011
        exec(compile(source, "<cell>", "exec"), namespace)
    told = sentence_for(caught.value, namespace)
    assert bool(told) is bool(CASES[source])
    assert CASES[source] in told


CELLS = (STUB, "weights([1, 2])", "1 / 0", "share = ...", "share + 1", "len(3)")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of jupyter_client
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_in_a_kernel_the_cell_still_fails_and_shows_one_line(write_notebook, labs):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    path = write_notebook(*CELLS)
    document = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(document, timeout=60, kernel_name="python3", allow_errors=True).execute()
    traces = [output["traceback"] for cell in document["cells"] for output in cell["outputs"]]
    assert traces[0] == ["`weights` is still the stub: write its body in its cell above, then run this one."]
    assert "ZeroDivisionError" in "".join(traces[1])
    assert traces[2] == ["`share` is still `...`: put your answer in its place above, then run this one."]
    assert "object of type 'int' has no len()" in "".join(traces[3])
    assert len(traces) == 4
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="still the stub"):
        nbclient.NotebookClient(
            nbformat.read(path, as_version=4), timeout=60, kernel_name="python3"
        ).execute()
