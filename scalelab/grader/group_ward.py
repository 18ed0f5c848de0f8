"""The weak ward, for any Unix: an own session, limits, a clean environment and, for root, an own user.

It keeps honest submissions apart and stops runaways. It does not hide files from the learner process, nor the
network.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from scalelab.grader import confine, kernel, namespaces, syscalls
from scalelab.grader.limits import Limits
from scalelab.grader.wards import Ward


class GroupWard(Ward):
    """What any Unix offers: an own session, limits, a clean environment and, for root, an own user."""

    def __init__(self, limits: Limits, visible: list[str], folder: str):
        import psutil  # noqa: F401  (before the forks, which would each load it)

        super().__init__(limits, visible, folder, namespaces.block_of_users())
        self.setup_folder = os.path.join(folder, "setup")
        os.mkdir(self.setup_folder)
        os.chdir(self.setup_folder)
        os.chmod(folder, 0o711)

    def fork(self, number: int) -> int:
        """Fork a supervisor that inherits what its descendants leave behind."""
        pid = os.fork()
        if pid == 0:
            if sys.platform == "linux":
                kernel.adopt_orphans()
            if self.first_user is not None:
                self.user = self.first_user + number % namespaces.USERS
            else:
                self.process_count = confine.count_processes_of_user() + self.limits.tasks
        return pid

    def enter_room(self) -> None:
        """Make a working folder of its own."""
        self.folder = tempfile.mkdtemp(dir=self.folder)
        if self.user is not None:
            os.chown(self.folder, self.user, self.user)

    def leave_room(self) -> None:
        """Remove the working folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def leave(self) -> None:
        """Remove all working folders, once the supervisors have seen that the judge is gone."""
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        shutil.rmtree(self.folder, ignore_errors=True)

    def members(self) -> list[int]:
        """Return the descendants of the supervisor."""
        import psutil

        return [child.pid for child in psutil.Process().children(recursive=True)]

    def end(self) -> None:
        """Kill descendants until none is left that could fork; on Linux orphans are among them."""
        import psutil

        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            living = [child for child in psutil.Process().children(recursive=True) if _lives(child)]
            if not living:
                return
            for child in living:
                with contextlib.suppress(psutil.Error):
                    child.kill()

    def become_learner(self, files: Mapping[str, bytes]) -> None:
        """Give up user and privileges as far as the system knows how."""
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # root's to give up
                kernel.drop_bounding_set()
        self._change_user()
        self._settle(files, {"HOME": self.folder, "TMPDIR": self.folder})
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # a machine whose calls we have no table of
                kernel.drop_capabilities()
                syscalls.refuse_calls()
            kernel.forbid_new_privileges()


def _lives(process: Any) -> bool:
    import psutil

    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
