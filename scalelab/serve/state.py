"""What runs: the lock and the state file of a stack, and what to make of those that a killed run left."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from scalelab.core import errors
from scalelab.core.errors import RunFailed, ScalelabError
from scalelab.core.locks import try_lock
from scalelab.core.processes import is_alive, start_time, stop_tree

STARTING, READY, BROKEN = "starting", "ready", "broken"


@dataclass(frozen=True)
class Child:
    """A process of the stack; the start time guards against a pid that was given to another one."""

    pid: int
    started_at: float
    """epoch [s]"""

    @classmethod
    def of(cls, pid: int) -> Child:
        """Describe a running process."""
        return cls(pid, start_time(pid))

    def is_alive(self) -> bool:
        """Tell whether this very process still runs."""
        return is_alive(self.pid, started_at=self.started_at)


@dataclass(frozen=True)
class StackState:
    """The state file: who runs, where, and how it stands."""

    phase: str
    supervisor: Child
    url: str
    broker: str = ""
    """without its password"""
    children: Mapping[str, Child] = field(default_factory=dict)
    restarts: int = 0
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """of each process: `ready_s`, from its start until it served; of a worker also `model`, its version"""
    ready_s: float = 0.0
    """from the supervisor's start until the whole stack served"""
    deaths: list[str] = field(default_factory=list)
    """the last processes that ended unasked: when, who, why"""
    swap: Mapping[str, str] = field(default_factory=dict)
    """the last swap: id, status, and if it was refused message and hint"""
    error: Mapping[str, str] = field(default_factory=dict)
    """type, message and hint, if the stack could not be started"""

    def write(self, folder: Path) -> None:
        """Replace the state file; a reader sees the old or the new one, never half."""
        path = folder / "state.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self), indent=1))
        os.replace(fresh, path)

    @classmethod
    def read(cls, folder: Path) -> StackState | None:
        """Read the state file; None if there is none or it cannot be understood."""
        try:
            fields = json.loads((folder / "state.json").read_text())
            fields["supervisor"] = Child(**fields["supervisor"])
            fields["children"] = {name: Child(**child) for name, child in fields["children"].items()}
            return cls(**fields)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def raise_error(self) -> None:
        """Raise the error that broke the stack, as the kind that it was."""
        kind = getattr(errors, self.error.get("type", ""), RunFailed)
        raise kind(self.error.get("message", "the stack broke"), hint=self.error.get("hint", ""))


def describe_error(error: Exception) -> dict[str, str]:
    """Return an error as plain data for the state file."""
    hint = error.hint if isinstance(error, ScalelabError) else "its log has more"
    message = error.message if isinstance(error, ScalelabError) else f"{type(error).__name__}: {error}"
    return {"type": type(error).__name__, "message": message, "hint": hint}


def take_lock(folder: Path) -> IO[bytes] | None:
    """Hold the stack's lock until the returned file is closed; None if another process holds it.

    The system drops the lock when its holder dies, however it dies: a lock is never stale, a state may be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "lock").open("ab")
    if try_lock(file):
        return file
    file.close()
    return None


def keep_broker(folder: Path, url: str) -> None:
    """Write the broker's URL, password and all, where only this user can read it."""
    fresh = folder / "broker.new"
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text(url)
    os.replace(fresh, folder / "broker.url")


def kept_broker(folder: Path) -> str:
    """Return the URL of the broker of the stack in `folder`.

    Raises:
        RunFailed: no stack was started there.
    """
    try:
        return (folder / "broker.url").read_text()
    except FileNotFoundError:
        raise RunFailed(f"no stack was started in {folder}", hint="scalelab serve up starts one") from None


def running(folder: Path) -> StackState | None:
    """Return the state of the stack that runs in `folder`, or None if none does."""
    if not (folder / "lock").exists():
        return None
    lock = take_lock(folder)
    if lock is not None:
        lock.close()
        return None
    return StackState.read(folder)


def clean_stale(folder: Path) -> str:
    """End what a killed run left and remove its state; return what was done, or an empty string.

    Where a stack runs, nothing is touched.
    """
    lock = take_lock(folder)
    if lock is None:
        return ""
    with lock:
        return _clean(folder)


def _clean(folder: Path) -> str:
    state = StackState.read(folder)
    if state is None:
        return ""
    if state.phase == BROKEN:  # it could not start, said so, and ended what it had begun
        (folder / "state.json").unlink()
        return ""
    left = [name for name, child in state.children.items() if child.is_alive()]
    for name in left:
        stop_tree(state.children[name].pid, grace_s=1.0)
    (folder / "state.json").unlink()
    ended = f", ended its {', '.join(left)}" if left else ""
    return f"a run was killed here (supervisor {state.supervisor.pid}): removed its state{ended}"
