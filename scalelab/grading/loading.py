"""Read the checks of a lab's folder."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from scalelab.core.errors import LabFileError
from scalelab.grading.checks import Check


def load_checks(folder: Path, *, file: str = "checks.py") -> dict[str, Check]:
    """Return the checks that ``folder/checks.py`` defines, by name, in the order of the file.

    Raises:
        LabFileError: the file is missing, does not run, has no check or two of one name.
    """
    path = Path(folder) / file
    if not path.is_file():
        raise LabFileError(f"{path} is missing", hint="install scalelab again, or tell the lab's authors")
    spec = importlib.util.spec_from_file_location(f"scalelab_lab_{path.parent.name}_{path.stem}", path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__checks__"] = []
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except LabFileError as error:
        raise LabFileError(f"{path}: {error.message}", hint=error.hint) from error
    except Exception as error:
        raise LabFileError(
            f"{path} does not run: {type(error).__name__}: {error}",
            hint="does something need to be installed?",
        ) from error
    finally:
        sys.dont_write_bytecode = writes_bytecode
    checks: dict[str, Check] = {}
    for check in module.__dict__["__checks__"]:
        if check.name in checks:
            raise LabFileError(f"{path} has two checks named {check.name!r}", hint="rename one of them")
        checks[check.name] = check
    if not checks:
        raise LabFileError(f"{path} defines no check", hint="decorate a function with scalelab.grading.check")
    return checks
