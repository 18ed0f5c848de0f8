"""What is done to a stack under load, each by means that an ordinary user has."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scalelab.core.errors import RunFailed
from scalelab.serve.drills.counting import HUNGRY, POISON, SLOW, STARVED, Runs
from scalelab.serve.stack import Stack

_DISK_FULL_S = 1.5
_SEEN_S = 20.0


@dataclass(frozen=True)
class Scene:
    """What a fault can reach."""

    stack: Stack
    runs_log: Path
    at: int
    """number of the first request that takes part in the fault"""

    def runner_of(self, number: int) -> int:
        """Wait until a worker runs the item `number`; return its process."""
        until_s = time.monotonic() + _SEEN_S
        while time.monotonic() < until_s:
            if pid := Runs.read(self.runs_log).began.get(number):
                return pid
            time.sleep(0.01)
        raise RunFailed(f"no worker began item {number} in {_SEEN_S:g} s", hint="is the machine overloaded?")

    def keeper(self) -> int:
        """Return the process that keeps tasks and results: the broker, which may live in the gateway."""
        pids = self.stack.pids()
        return pids.get("broker", pids["gateway"])


@dataclass(frozen=True)
class Fault:
    """One way to harm a stack."""

    about: str
    inject: Callable[[Scene], None]
    kinds: Mapping[int, int] = field(default_factory=dict)
    """which requests do harm: offset from `Scene.at` -> kind of item"""
    restarts: int = 1
    """how many processes must be started again: an item that ends its worker is tried three times"""
    worker_memory_bytes: int = 0
    systems: tuple[str, ...] = ("linux", "darwin", "win32")

    def is_possible(self, broker: str) -> str:
        """Return why it cannot be done here, or an empty string."""
        if sys.platform not in self.systems:
            return f"not possible on {sys.platform}"
        if self.inject in (_kill_broker, _fill_disk) and "://" in broker:
            return "the broker is not ours to harm"
        return ""


def _kill(pid: int) -> None:
    import psutil

    psutil.Process(pid).kill()


def _kill_worker(scene: Scene) -> None:
    _kill(scene.runner_of(scene.at))


def _freeze_worker(scene: Scene) -> None:
    import psutil

    psutil.Process(scene.runner_of(scene.at)).suspend()


def _kill_broker(scene: Scene) -> None:
    _kill(scene.keeper())


def _wait_for_it(scene: Scene) -> None:
    scene.runner_of(scene.at)


def _fill_disk(scene: Scene) -> None:
    """Let no file of the keeper grow for a while: what it meets is what a full disk gives, an error of write.

    By its limit on the size of a file (``prlimit``, RLIMIT_FSIZE): no root, no file system of our own.
    """
    import resource

    pid = scene.keeper()
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    time.sleep(_DISK_FULL_S)
    try:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    except ProcessLookupError:  # it ended for it, and another one took its place
        return


FAULTS: dict[str, Fault] = {
    "worker": Fault("a worker is killed (SIGKILL) in the middle of a batch", _kill_worker, {0: SLOW}),
    "broker": Fault("the broker is killed (SIGKILL) and comes back", _kill_broker),
    "poison": Fault(
        "five items raise in the model",
        _wait_for_it,
        dict.fromkeys(range(0, 25, 5), POISON),
        restarts=0,
    ),
    "memory": Fault(
        "an item takes all memory of its worker, another is refused memory",
        _wait_for_it,
        {0: HUNGRY, 3: STARVED},
        restarts=3,
        worker_memory_bytes=320 << 20,
    ),
    "freeze": Fault("a worker is stopped (SIGSTOP) in the middle of a batch", _freeze_worker, {0: SLOW}),
    "disk": Fault(
        f"whoever keeps the results cannot write for {_DISK_FULL_S:g} s (RLIMIT_FSIZE)",
        _fill_disk,
        restarts=0,
        systems=("linux",),
    ),
}
