"""The sandbox as the judge uses it: a warm process, and a learner process from it for each submission.

    with WarmProcess(preload=["torch"], setup_cells=[...]) as warm:
        with warm.learner({"data.csv": b"..."}) as learner:
            learner.channel ...          # ask, with a deadline
        learner.ended                    # "ok", "signal 9", "memory", "time", "killed", ...

What the learner process cannot do is a list of layers, found by trying from inside (`probe`): `isolation`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.grader import probe
from scalelab.grader.ending import Ending, Learner
from scalelab.grader.forking import ForkingHost, NotHere
from scalelab.grader.frames import receive_frame
from scalelab.grader.limits import Limits
from scalelab.grader.spawning import SpawningHost

__all__ = ["Ending", "Learner", "WarmProcess"]

MODES = ("namespaces", "fork", "spawn")
"""from strong to weak: namespaces of the Linux kernel; a forked process group; a fresh process"""
SERVE = "scalelab.grader.learner:serve"
PREPARE = "scalelab.grader.learner:prepare"
_PROBE_S = 30.0


class WarmProcess:
    """A process with all imports done and the set-up cells run, ready to be copied for each submission.

    Args:
        preload: modules that submissions import.
        setup_cells: source of the cells that all submissions share; they run once, here.
        visible_paths: files and folders that learner processes may read, besides Python and its packages.
        limits: of each learner process.
        require_sandbox: refuse to work with less than all layers.
        mode: one of `MODES`; the strongest that works if None.
        import_paths: folders, visible too, that modules are imported from besides the installed packages.
        shell: ``module:function`` that runs in the warm process and takes the set-up cells.
        serve: ``module:function`` that runs in a learner process and takes a socket and the shell.

    Raises:
        ConfigError: the set-up cells or an import fail, or layers are missing that `require_sandbox` wants.
    """

    def __init__(
        self,
        preload: Sequence[str] = (),
        setup_cells: Sequence[str] = (),
        visible_paths: Sequence[Path] = (),
        limits: Limits | None = None,
        *,
        require_sandbox: bool = False,
        mode: str | None = None,
        import_paths: Sequence[Path] = (),
        shell: str = PREPARE,
        serve: str = SERVE,
    ):
        self.limits = limits or Limits()
        self.why_weaker = ""
        """what kept a stronger mode from working"""
        self._serve = serve
        self._is_closed = False
        folders = [os.path.abspath(path) for path in import_paths]
        plan = {
            "preload": list(preload),
            "setup_cells": list(setup_cells),
            "limits": asdict(self.limits),
            "shell": shell,
            "visible": [*(os.path.abspath(path) for path in visible_paths), *folders],
            "import_paths": [_package_parent(), *folders],
        }
        self._modes, self._plan = [mode] if mode else _modes_here(), plan
        self._host = self._start()
        self.isolation = self._try_from_inside()
        missing = [layer for layer in probe.REQUIRED if layer not in self.isolation]
        if require_sandbox and missing:
            self.close()
            raise ConfigError(
                f"the sandbox lacks: {', '.join(missing)}"
                + (f" ({self.why_weaker})" if self.why_weaker else ""),
                hint="run on Linux with user namespaces switched on, or without --require-sandbox",
            )

    def __enter__(self) -> WarmProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def learner(self, files: Mapping[str, bytes] | None = None, **arguments: Any) -> Learner:
        """Start a learner process with `files` in its working folder; `arguments` go to its `serve`.

        Raises:
            ConfigError: a file's name leads out of the working folder.
            RunFailed: the warm process was closed.
        """
        from scalelab.grader.wire import Channel

        files = _checked(files or {})
        try:
            channel, end = self._host.start(self._serve, files, arguments)
        except RunFailed:  # the warm process was killed; it knew nothing that another one does not
            if self._is_closed:
                raise
            self._host.close()
            self._host = self._start()
            channel, end = self._host.start(self._serve, files, arguments)
        return Learner(Channel(channel), end)

    @property
    def pid(self) -> int | None:
        """The process that all learner processes are below; None without such a one."""
        return self._host.pid

    def close(self) -> None:
        """End the warm process and all learner processes."""
        self._is_closed = True
        self._host.close()

    def _start(self) -> ForkingHost | SpawningHost:
        for mode in self._modes:
            try:
                host: ForkingHost | SpawningHost
                if mode == "spawn":
                    host = SpawningHost(self._plan)
                else:
                    host = ForkingHost(self._plan, "namespaces" if mode == "namespaces" else "group")
            except NotHere as error:
                self.why_weaker = str(error)
                continue
            self._modes = [mode]
            return host
        tried = " and no ".join(self._modes)
        raise ConfigError(f"this machine offers no {tried}: {self.why_weaker}", hint="try another mode")

    def _try_from_inside(self) -> tuple[str, ...]:
        """Return the layers that a learner process could not get through."""
        with tempfile.NamedTemporaryFile() as secret:
            outside = {
                "secret": secret.name,
                "user": os.getuid() if hasattr(os, "getuid") else -1,
                "limits": asdict(self.limits),
            }
            try:
                channel, end = self._host.start("scalelab.grader.probe:report", {}, outside)
                with Learner(channel, end) as learner:
                    channel.settimeout(_PROBE_S)
                    try:
                        return tuple(receive_frame(channel)["layers"])
                    except (OSError, EOFError):
                        how = learner.ended
                        raise ConfigError(
                            f"a learner process cannot start: {how}",
                            hint="run with another mode, and report it",
                        ) from None
            except BaseException:
                self.close()
                raise


def _modes_here() -> Sequence[str]:
    if sys.platform == "linux":
        return MODES[:2]
    return MODES[1:2] if hasattr(os, "fork") else MODES[2:]


def _package_parent() -> str:
    import scalelab

    return str(Path(scalelab.__file__).resolve().parent.parent)


def _checked(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    for name in files:
        path = PurePosixPath(name)
        if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
            raise ConfigError(
                f"a file of a submission is named {name!r}", hint="a name inside the working folder"
            )
    return files
