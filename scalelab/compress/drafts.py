"""A file is made beside its place and moved there when it is good: it is the old one or the new one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scalelab.compress.runtimes import writable_path


@contextmanager
def drafted(path: Path | str) -> Iterator[Path]:
    """Give the path of a draft that becomes `path` if the block ends well; an error leaves `path` as it was.

    Raises:
        ConfigError: `path` is no place for an ``.onnx`` file.
    """
    path = writable_path(path)
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as aside:
        draft = Path(aside) / path.name
        yield draft
        os.replace(draft, path)
