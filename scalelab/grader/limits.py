"""What one submission may take of the machine."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from scalelab.core.errors import LabFileError, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MIB = 1024**2


@dataclass(frozen=True)
class Limits:
    """Hard limits of one learner process; each ends it with a result that says which one was met."""

    cell_s: float = 20.0
    """one cell of the notebook [s]; what measures and what comes before the first task is not among them"""
    submission_s: float = 120.0
    """all cells and all calls together [s]"""
    memory_bytes: int = 2048 * MIB
    processes: int = 32
    """processes and threads at one time, besides those that libraries start"""
    file_bytes: int = 64 * MIB
    """one file that is written"""
    disk_bytes: int = 128 * MIB
    """all files of the working folder together"""
    open_files: int = 128
    output_bytes: int = 1 * MIB
    """of what is printed, the end is kept"""

    @property
    def tasks(self) -> int:
        """Processes and threads with those that libraries start for each core, several times over.

        ONNX Runtime 1.32 waits for ever where it cannot start a thread for each core.
        """
        return self.processes + 4 * (os.cpu_count() or 1)


def read_limits(path: Path) -> Limits:
    """Return the limits of a lab's ``lab.toml``: ``[grading]`` with ``cell_s = 60``, the others as above.

    Raises:
        LabFileError: it has a name that is no limit, or a value that is no number above 0.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8")).get("grading", {})
    except ValueError as error:
        raise LabFileError(f"{path}: {error}", hint="mend the file") from None
    known = asdict(Limits())
    for name, value in told.items() if isinstance(told, dict) else [("grading", told)]:
        if name not in known:
            raise LabFileError(f"{path}: [grading] has {name!r}", hint=did_you_mean(name, list(known)))
        if type(value) not in (int, float) or not value > 0:
            raise LabFileError(f"{path}: [grading] {name} is {value!r}", hint="give a number above 0")
    return Limits(**told)
