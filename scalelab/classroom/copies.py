"""The learner's own copy of a lab's notebook. Nothing that a learner wrote is ever overwritten."""

from __future__ import annotations

import os
import shutil
from datetime import datetime
from pathlib import Path

from scalelab.classroom.catalog import LabInfo
from scalelab.core.errors import ConfigError, LabFileError, ResourceError

NAME = "lab.ipynb"


def start_copy(info: LabInfo, folder: Path | None = None) -> tuple[Path, bool]:
    """Copy the notebook to `folder` (``./NN_slug``) unless one is there; return its path and if it is new.

    Raises:
        ResourceError: the folder cannot be written.
    """
    target = (folder or Path(info.slug)) / NAME
    content = _original(info)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(content)
    except FileExistsError:
        if not target.is_file():
            raise ConfigError(f"{target} cannot be made", hint="give another --folder") from None
        return target, False
    except OSError as error:
        raise ResourceError(
            f"{target} cannot be written: {error.strerror}", hint="give another --folder, or free some space"
        ) from None
    return target, True


def reset_copy(info: LabInfo, folder: Path | None = None) -> tuple[Path, Path | None]:
    """Start the notebook over; return its path and that of the backup of the old one, if there was one."""
    target = (folder or default_folder(info)) / NAME
    content = _original(info)
    if not target.exists():
        return start_copy(info, target.parent)[0], None
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    backup = target.with_name(f"lab.backup-{stamp}.ipynb")
    number = 1
    while backup.exists():
        number += 1
        backup = target.with_name(f"lab.backup-{stamp}-{number}.ipynb")
    fresh = target.with_name(f".{NAME}.{os.getpid()}")
    try:
        fresh.write_bytes(content)
        shutil.copy2(target, backup)
        os.replace(fresh, target)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise ResourceError(
            f"{target} cannot be written: {error.strerror}",
            hint="free some space; your notebook is untouched",
        ) from None
    return target, backup


def find_copy(info: LabInfo, given: Path | None) -> Path:
    """Return the learner's notebook: the one that is given, or the one in ``./NN_slug`` or here.

    Raises:
        ConfigError: there is none.
    """
    if given is not None:
        return given / NAME if given.is_dir() else given
    path = default_folder(info) / NAME
    if not path.exists():
        raise ConfigError(
            f"there is no {path} here", hint=f"`scalelab lab start {info.number:02d}` first, or give its path"
        )
    return path


def default_folder(info: LabInfo) -> Path:
    """Return ``./NN_slug``, or the current folder if we are in it."""
    here = Path.cwd()
    is_inside = here.name == info.slug and not Path(info.slug).exists()
    return Path(".") if is_inside else Path(info.slug)


def _original(info: LabInfo) -> bytes:
    try:
        return info.notebook.read_bytes()
    except OSError as error:
        raise LabFileError(
            f"{info.notebook} cannot be read: {error.strerror}", hint="install scalelab again"
        ) from None
