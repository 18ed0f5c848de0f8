"""torch.compile: the module as C++ that a compiler of this machine translates for this processor."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.compress.runtimes.eager import EagerSession
from scalelab.compress.runtimes.face import IMAGE_SHAPE, Session, checked_threads, existing, first_line
from scalelab.core.errors import MissingDependency, RunFailed

_COMPILER = {
    "linux": "Debian, Ubuntu: sudo apt-get install g++",
    "darwin": "xcode-select --install",
    "win32": "install the Build Tools for Visual Studio (C++), and start from their x64 prompt",
}
_HEADERS = {
    "linux": "Debian, Ubuntu: sudo apt-get install python3-dev",
}


class _CompiledSession(EagerSession):
    """`compile_s` is how long opening took beyond loading the weights [s]."""

    runtime = "torch.compile"

    def __init__(self, path: Path, threads: int, say: Callable[[str], object]):
        super().__init__(path, threads)
        say("torch.compile translates the model by a C++ compiler: up to a minute, and less from its cache")
        started = time.perf_counter()
        try:
            self._run = self._compile(self._run)
        except Exception as error:  # dynamo wraps what its backends raise, by version
            raise _explained(error, path) from error
        self.compile_s = time.perf_counter() - started

    def _compile(self, model: Any) -> Any:
        """Return the model with two graphs compiled: one for a batch of 1, one for all other sizes."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, on importing its compiler
            compiled = self._torch.compile(model)
            for batch in (2, 1):
                # made as in `predict`, outside of inference mode: another kind of tensor is compiled anew
                images = self._torch.from_numpy(np.zeros((batch, *IMAGE_SHAPE), np.uint8))
                if batch > 1:
                    self._torch._dynamo.mark_dynamic(images, 0)  # rows and columns stay fixed: faster code
                with self._torch.inference_mode():
                    compiled(images)
        return compiled


def compiled_session(path: Path | str, threads: int = 1, *, say: Callable[[str], object] = print) -> Session:
    """Open weights that `scalelab.models.save_reader` wrote, compiled by torch for batches of any size.

    All compiling is done here, so that no request pays for it. torch keeps what was compiled, and the next
    process takes it from there: in ``$TORCHINDUCTOR_CACHE_DIR``, or in the folder for temporary files.
    `threads` is torch's own setting and holds for the whole process; it is compiled in.

    Args:
        say: told that this may take long, before it does.

    Raises:
        DataError: the file is missing or no reader.
        MissingDependency: there is no C++ compiler, or Python's headers are not there.
        RunFailed: torch cannot compile the model; the cause has its words.
    """
    return _CompiledSession(existing(path, ".safetensors"), checked_threads(threads), say)


def _explained(error: Exception, path: Path) -> Exception:
    """Turn what torch raises when it compiles into what a user can do."""
    said = "\n".join(f"{type(cause).__name__}: {cause}" for cause in _chain(error))
    otherwise = "or open the model in eager mode or as ONNX"
    if "InvalidCxxCompiler" in said or "No working C++ compiler" in said:
        how = _COMPILER.get(sys.platform, "install a C++ compiler")
        return MissingDependency("torch.compile finds no C++ compiler", hint=f"{how}; {otherwise}")
    if "Python.h" in said:
        how = _HEADERS.get(sys.platform, "install Python with its headers")
        return MissingDependency("torch.compile finds no Python.h", hint=f"{how}; {otherwise}")
    return RunFailed(
        f"torch.compile cannot compile {path}: {first_line(error)}", hint=f"its words are above; {otherwise}"
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
