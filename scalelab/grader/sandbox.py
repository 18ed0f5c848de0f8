"""The judge's side of the sandbox: a warm process, and a learner process from it for each submission.

    with WarmProcess(preload=["torch"], setup_cells=[...]) as warm:
        with warm.learner({"data.csv": b"..."}, cells=cells) as learner:
            learner.channel ...          # ask, with a deadline
        learner.ended                    # "ok", "signal 9", "memory", "time", "killed", ...

What the learner process cannot do is a list of layers, found by trying from inside (`probe`): `isolation`.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from scalelab.core.errors import ConfigError, RunFailed
from scalelab.core.processes import is_alive
from scalelab.grader import probe, wards
from scalelab.grader.frames import receive_frame, send_frame
from scalelab.grader.limits import Limits

SERVE = "scalelab.grader.learner:serve"
PREPARE = "scalelab.grader.learner:prepare"
_FOLDERS = "scalelab-grader-"
_START_S = 120.0
_END_S = 10.0
_BOOT = """
import json, os, sys
sys.path[0:1] = json.loads(sys.argv[2])
from scalelab.grader.zygote import main
main(int(sys.argv[1]))
os._exit(0)  # whatever the set-up cells have left running
"""


@dataclass(frozen=True)
class Ending:
    """How a learner process ended, and what it took."""

    how: str
    """ok, exit N, signal N, memory, time (a limit), killed (by the judge), lost, not started: why"""
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    """of the learner process and all that it started, what it shares with the warm process included"""
    wall_s: float = 0.0


class Learner:
    """One learner process, as the judge holds it."""

    def __init__(self, line: socket.socket, channel: Any):
        self.channel = channel
        self._line = line
        self._ending: Ending | None = None

    def __enter__(self) -> Learner:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> Ending:
        """End the process with all that it started, if it has not ended by itself; return how that was."""
        if self._ending is None:
            try:
                self._line.shutdown(socket.SHUT_WR)
                self._line.settimeout(_END_S)
                self._ending = Ending(**receive_frame(self._line))
                self._line.recv(1)  # until the supervisor is gone
            except (OSError, EOFError):
                self._ending = Ending("lost")
            self._line.close()
            self.channel.close()
        return self._ending

    @property
    def ended(self) -> str:
        """How it ended; ends it, if it still runs."""
        return self.kill().how


class WarmProcess:
    """A process with all imports done and the set-up cells run, ready to be copied for each submission.

    Args:
        preload: modules that submissions import.
        setup_cells: source of the cells that all submissions share; they run once, here.
        visible_paths: files and folders that learner processes may read, besides Python and its packages.
        limits: of each learner process.
        require_sandbox: refuse to work with less than all layers.
        mode: "namespaces" or "fork"; the strongest that works if None.
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
        self._serve = serve
        self._import_paths = [os.path.abspath(path) for path in import_paths]
        visible_paths = [*visible_paths, *import_paths]
        self.why_weaker = ""
        self._plan = {
            "preload": list(preload),
            "setup_cells": list(setup_cells),
            "limits": asdict(self.limits),
            "shell": shell,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = ""
        modes = [mode] if mode else ["namespaces", "fork"] if sys.platform == "linux" else ["fork"]
        for each in modes:
            if self._start(each, visible_paths):
                break
        else:
            raise ConfigError(
                f"this machine offers no {modes[-1]}: {self.why_weaker}", hint="try another mode"
            )
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
        """Fork a learner process with `files` in its working folder; `arguments` go to its `serve`."""
        from scalelab.grader.wire import Channel

        line, channel = self._fork(self._serve, files or {}, arguments)
        return Learner(line, Channel(channel))

    @property
    def pid(self) -> int:
        """The process that all others are below."""
        assert self._process is not None
        return self._process.pid

    def close(self) -> None:
        """End the warm process and all learner processes."""
        self._control.close()
        if self._process is not None:
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, mode: str, visible_paths: Sequence[Path]) -> bool:
        """Start the warm process in a mode; False where the machine does not allow that mode."""
        from scalelab.grader import namespaces

        plan = dict(self._plan, ward=mode, visible=[os.path.abspath(path) for path in visible_paths])
        if mode == "namespaces":
            plan.update(python=namespaces.python_paths(self._plan["preload"]), other_processes=0)
        else:
            _sweep()
            self._folder = tempfile.mkdtemp(prefix=f"{_FOLDERS}{os.getpid()}-")
            plan["folder"] = self._folder
        self._control, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile() as said:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-E",
                    "-c",
                    _BOOT,
                    str(theirs.fileno()),
                    json.dumps([_package_parent(), *self._import_paths]),
                ],
                pass_fds=[theirs.fileno()],
                cwd="/",
                env={**_ENVIRONMENT, **{name: os.environ[name] for name in _KEPT if name in os.environ}},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
            theirs.close()
            self._control.settimeout(_START_S)
            try:
                send_frame(self._control, plan)
                answer = receive_frame(self._control)
            except (OSError, EOFError):
                said.seek(0)
                answer = {
                    "broken": said.read()[-2000:].decode(errors="replace").strip()
                    or "it ended without a word"
                }
        self._control.settimeout(None)
        if "ready" in answer:
            return True
        self.close()
        if "broken" in answer:
            raise ConfigError(f"the warm process cannot start: {answer['broken']}", hint="mend what it names")
        self.why_weaker = answer["failed"]
        return False

    def _fork(
        self, entry: str, files: Mapping[str, bytes], arguments: Mapping[str, Any]
    ) -> tuple[socket.socket, socket.socket]:
        _check_names(files)
        line, their_line = socket.socketpair()
        channel, their_channel = socket.socketpair()
        with their_line, their_channel:
            try:
                socket.send_fds(self._control, [b"x"], [their_line.fileno(), their_channel.fileno()])
            except OSError:
                line.close()
                channel.close()
                raise RunFailed("the warm process is gone", hint="start a new one") from None
        sizes = {name: len(data) for name, data in files.items()}
        try:
            send_frame(line, {"entry": entry, "arguments": arguments, "files": sizes})
            for data in files.values():
                line.sendall(data)
        except OSError:
            pass  # `ended` will say why
        return line, channel

    def _try_from_inside(self) -> tuple[str, ...]:
        """Return the layers that a learner process could not get through."""
        with tempfile.NamedTemporaryFile() as secret:
            arguments = {
                "secret": secret.name,
                "judge": os.getpid(),
                "user": _user(),
                "limits": asdict(self.limits),
            }
            line, channel = self._fork("scalelab.grader.probe:report", {}, arguments)
            with Learner(line, channel) as learner:
                channel.settimeout(_END_S)
                try:
                    return tuple(receive_frame(channel)["layers"])
                except (OSError, EOFError) as error:
                    how = f"{learner.ended}, {error!r}"
                    self.close()
                    raise ConfigError(
                        f"a learner process cannot start: {how}",
                        hint="this is the sandbox's own trouble: report it",
                    ) from None


_KEPT = ("LD_LIBRARY_PATH", "SYSTEMROOT")
_ENVIRONMENT = wards.ENVIRONMENT


def _sweep() -> None:
    """Remove the working folders of judges that were killed together with their warm process."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDERS}*"):
        owner = folder.name.removeprefix(_FOLDERS).partition("-")[0]
        if owner.isdigit() and not is_alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else -1


def _package_parent() -> str:
    import scalelab

    return str(Path(scalelab.__file__).resolve().parent.parent)


def _check_names(files: Mapping[str, bytes]) -> None:
    for name in files:
        path = PurePosixPath(name)
        if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
            raise ConfigError(
                f"a file of a submission is named {name!r}", hint="a name inside the working folder"
            )
