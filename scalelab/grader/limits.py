"""What one submission may take of the machine."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024**2


@dataclass(frozen=True)
class Limits:
    """Hard limits of one learner process; each ends it with a result that says which one was met."""

    cell_s: float = 60.0
    """one cell of the notebook [s]"""
    submission_s: float = 300.0
    """all cells and all calls together [s]"""
    memory_bytes: int = 2048 * MIB
    processes: int = 32
    """processes and threads at one time"""
    file_bytes: int = 64 * MIB
    """one file that is written"""
    disk_bytes: int = 128 * MIB
    """all files of the working folder together"""
    open_files: int = 128
    output_bytes: int = 1 * MIB
    """of what is printed, the end is kept"""
