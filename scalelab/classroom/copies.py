"""The learner's own copy of a lab's notebook. Nothing that a learner wrote is ever overwritten.

A copy is named after its lab (``06_gradient_accumulation.ipynb``), so that open tabs can be told apart; a
``lab.ipynb`` that an earlier version put into the learner's folder is found and used as well.
"""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime
from pathlib import Path

from scalelab.classroom.catalog import LabInfo
from scalelab.classroom.ledger import Ledger
from scalelab.core.errors import ConfigError, LabFileError, ResourceError

OLD_NAME = "lab.ipynb"


def start_copy(info: LabInfo, folder: Path) -> tuple[Path, bool]:
    """Copy the notebook to `folder` unless a copy is there; return its path and if it is new.

    Raises:
        ConfigError: the folder is the course's own.
        ResourceError: the folder cannot be written.
    """
    target, content, is_mine = _own_path(info, folder), _original(info), False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file():
            return target, False
        with target.open("xb") as file:
            is_mine = True
            file.write(content)
    except FileExistsError:
        if not target.is_file():
            raise ConfigError(f"{target} cannot be made", hint="give another --folder") from None
        return target, False
    except OSError as error:
        if is_mine:  # half a notebook must not look like a copy
            target.unlink(missing_ok=True)
        raise ResourceError(
            f"{target} cannot be written: {error.strerror}", hint="give another --folder, or free some space"
        ) from None
    return target, True


def reset_copy(info: LabInfo, folder: Path) -> tuple[Path, Path | None, bool]:
    """Start the notebook over; return its path, the old one's backup if edited, and if there was an old one.

    Raises:
        ConfigError: the folder is the course's own.
        ResourceError: the folder cannot be written; the old notebook is as it was.
    """
    target, content = _own_path(info, folder), _original(info)
    if not target.exists():
        return start_copy(info, folder)[0], None, False
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    backup = None if is_untouched(target, content) else _backup_name(target)
    try:
        fresh.write_bytes(content)
        if backup is not None:
            shutil.copy2(target, backup)
        os.replace(fresh, target)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise ResourceError(
            f"{target} cannot be written: {error.strerror}",
            hint="free some space; your notebook is untouched",
        ) from None
    return target, backup, True


def find_copy(info: LabInfo, given: Path | None, ledger: Ledger) -> Path:
    """Return the learner's notebook: the one that is given (it, or its folder), or see `choose_folder`.

    Raises:
        ConfigError: there is none.
    """
    if given is not None:
        return _in_folder(info, given) if given.is_dir() else given
    folder = choose_folder(info, None, ledger)
    path = _in_folder(info, folder)
    if not path.is_file():
        raise ConfigError(
            f"there is no {path} here", hint=f"`scalelab lab start {info.number:02d}` first, or give its path"
        )
    return path


def choose_folder(info: LabInfo, given: Path | None, ledger: Ledger) -> Path:
    """Return the folder of the learner's copy: as given, here if one is here, else where it was started."""
    if given is not None:
        return given
    is_inside = Path.cwd().name == info.slug and not Path(info.slug).exists()
    here = Path(".") if is_inside else Path(info.slug)
    if _is_the_courses(info, here) or not _in_folder(info, here).is_file():
        started = started_copy(info, ledger)
        return started.parent if started is not None else here
    return here


def started_copy(info: LabInfo, ledger: Ledger) -> Path | None:
    """Return the copy that was started last, if it is still there."""
    for event in reversed(ledger.read(lab=info.slug)):
        path = Path(str(event.facts.get("path", "")))
        if event.kind in {"started", "reset"} and path.is_file():
            return path
    return None


def is_untouched(path: Path, original: bytes) -> bool:
    """Tell whether a copy still has the text of the original; outputs do not count, a rerun brings them."""
    try:
        mine, given = json.loads(path.read_bytes()), json.loads(original)
        return _texts(mine) == _texts(given)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def _texts(notebook: dict) -> list[tuple[str, str]]:
    return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def _own_path(info: LabInfo, folder: Path) -> Path:
    if _is_the_courses(info, folder):
        raise ConfigError(
            f"{folder} holds the course's own notebook", hint="go to a folder of yours, or give --folder"
        )
    return _in_folder(info, folder)


def _in_folder(info: LabInfo, folder: Path) -> Path:
    """Return the path that a copy has, or will have, in a folder."""
    new, old = folder / f"{info.slug}.ipynb", folder / OLD_NAME
    return old if old.is_file() and not new.exists() else new


def _is_the_courses(info: LabInfo, folder: Path) -> bool:
    return folder.resolve() == info.folder.resolve()


def _backup_name(target: Path) -> Path:
    stamp, number = datetime.now().strftime("%Y%m%d-%H%M%S"), 1
    backup = target.with_name(f"{target.stem}.backup-{stamp}.ipynb")
    while backup.exists():
        number += 1
        backup = target.with_name(f"{target.stem}.backup-{stamp}-{number}.ipynb")
    return backup


def _original(info: LabInfo) -> bytes:
    try:
        return info.notebook.read_bytes()
    except OSError as error:
        raise LabFileError(
            f"{info.notebook} cannot be read: {error.strerror}", hint="install scalelab again"
        ) from None
