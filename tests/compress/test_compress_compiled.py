"""torch.compile behind the same face, and what it says where it cannot compile."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from scalelab.compress.graphs import check_parity
from scalelab.compress.runtimes import compiled_session, open_session, torch_session
from scalelab.core.errors import ConfigError, MissingDependency, RunFailed

pytestmark = pytest.mark.slow


@pytest.mark.timeout(900)  # a minute of compiling, and many more beside other work
def test_two_graphs_serve_every_batch_size_and_agree_with_eager(made, cxx_compiler, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    from torch._dynamo.utils import counters

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    said = []
    session = compiled_session(made.weights_path, say=said.append)
    assert session.name == "torch.compile reader"
    assert len(said) == 1
    assert session.compile_s > 0
    assert any(tmp_path.rglob("*.so")), "what was compiled is kept for the next process"

    compiled = counters["stats"]["unique_graphs"]
    report = check_parity(torch_session(made.weights_path), session, made.images)
    assert report.holds, report
    read_only = np.frombuffer(made.images[:4].tobytes(), np.uint8).reshape(4, 28, 168)
    np.testing.assert_array_equal(session.predict(read_only), session.predict(made.images[:4]))
    assert counters["stats"]["unique_graphs"] == compiled, "no call compiles anew"
    torch._dynamo.reset()


class Refusing:
    """Stand for torch.compile: compiling, which happens at the first call, raises."""

    def __init__(self, error):
        self.error = error

    def __call__(self, model, **options):
        def run(images):
            raise RuntimeError("backend failed") from self.error

        return run


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (RuntimeError("No working C++ compiler found in ..."), MissingDependency, "no C\\+\\+ compiler"),
        (RuntimeError("fatal error: Python.h: No such file"), MissingDependency, r"no Python\.h"),
        (RuntimeError("something else"), RunFailed, "cannot compile .*reader.safetensors: backend failed"),
    ],
)
def test_why_it_cannot_compile_is_said(made, monkeypatch, error, kind, message):
    import torch

    monkeypatch.setattr(torch, "compile", Refusing(error))
    with pytest.raises(kind, match=message) as raised:
        open_session(made.weights_path, runtime="torch.compile")
    assert "ONNX" in raised.value.hint


def test_a_machine_without_a_compiler_is_told_what_to_install(made, tmp_path):
    """The real one, in a process whose path holds no compiler."""
    import os
    import subprocess

    code = (
        "import sys\n"
        "from scalelab.compress.runtimes import compiled_session\n"
        "from scalelab.core.errors import MissingDependency\n"
        "try:\n"
        "    compiled_session(sys.argv[1])\n"
        "except MissingDependency as error:\n"
        "    print(error)\n"
    )
    path = {"PATH": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    environment = {name: value for name, value in os.environ.items() if name != "CXX"} | path
    done = subprocess.run(
        [sys.executable, "-c", code, str(made.weights_path)],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
    )
    assert "torch.compile finds no C++ compiler" in done.stdout, done.stdout + done.stderr
    assert "hint: " in done.stdout


def test_only_weights_can_be_compiled(made):
    with pytest.raises(ConfigError, match=r"reads \.safetensors"):
        compiled_session(made.onnx_path)
