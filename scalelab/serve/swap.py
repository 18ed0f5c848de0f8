"""Another model in a running stack, without a lost request: one worker after the other is replaced.

Each new worker loads and warms up its model before it takes a task, and only then does an old one finish its
batch and leave. If the first new one cannot serve the model, nothing has changed.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from scalelab.core.errors import RunFailed
from scalelab.serve.settings import StackSettings
from scalelab.serve.state import StackState, running

if TYPE_CHECKING:
    from scalelab.serve.members import Member

RUNNING, DONE, REFUSED = "running", "done", "refused"
_FILE = "swap.json"


@dataclass(frozen=True)
class SwapRequest:
    """What is asked of the supervisor, as a file in the stack's folder."""

    id: str
    model_path: str
    model: str

    def write(self, folder: Path) -> None:
        """Leave the request where the supervisor looks for it."""
        fresh = folder / f"{_FILE}.new"
        fresh.write_text(json.dumps(asdict(self)))
        os.replace(fresh, folder / _FILE)

    @classmethod
    def take(cls, folder: Path) -> SwapRequest | None:
        """Return the request that waits, and take it away; None if there is none."""
        try:
            text = (folder / _FILE).read_text()
            (folder / _FILE).unlink()
            return cls(**json.loads(text))
        except (OSError, ValueError, TypeError):
            return None

    def settings(self, now: StackSettings) -> StackSettings:
        """Return the settings of the stack after the swap."""
        return replace(now, model_path=self.model_path, model=self.model)


class Crew(Protocol):
    """The workers, as the supervisor keeps them."""

    def worker_names(self) -> list[str]:
        """Return the names of the workers that serve."""

    def add_worker(self, name: str, settings_file: Path) -> Member:
        """Start one more worker beside `name`; nobody starts it again if it ends."""

    def replace_worker(self, name: str) -> Member:
        """Let the one beside `name` stand in its place; return the old one, which was asked to end."""

    def drop_extra(self, name: str) -> None:
        """End the one beside `name` if it still runs, and forget it."""


def swap_steps(crew: Crew, settings: StackSettings, folder: Path, *, limit_s: float) -> Iterator[None]:
    """Replace all workers by ones with `settings`; the caller goes on a step now and then.

    From the first new worker on, `settings.json` names the new model, so that whoever must be started again
    has it too.

    Raises:
        RunFailed: a new worker could not serve the model. If it was the first, nothing has changed.
    """
    trial = folder / "settings-next.json"
    settings.write(trial)
    names = crew.worker_names()
    try:
        for done, name in enumerate(names):
            fresh = crew.add_worker(name, trial)
            try:
                yield from _until_ready(fresh, limit_s)
            except RunFailed as error:
                still = (
                    "the old model goes on" if not done else f"{done} of {len(names)} workers serve the new"
                )
                raise RunFailed(error.message, hint=f"{still}; mend the file and swap again") from None
            settings.write(folder / "settings.json")
            old = crew.replace_worker(name)
            until_s = time.monotonic() + limit_s
            while old.process.poll() is None and time.monotonic() < until_s:
                yield
            crew.drop_extra(name)
    finally:
        for name in names:
            crew.drop_extra(name)
        trial.unlink(missing_ok=True)


def _until_ready(fresh: Member, limit_s: float) -> Iterator[None]:
    until_s = time.monotonic() + limit_s
    while fresh.ready_s is None:
        if fresh.process.poll() is not None:
            raise RunFailed(f"its worker {fresh.how_it_ended()}:\n{fresh.log_tail()}")
        if time.monotonic() > until_s:
            raise RunFailed(f"its worker was not ready after {limit_s:g} s")
        yield


def ask_swap(folder: Path, *, model_path: str, model: str, timeout_s: float = 300.0) -> StackState:
    """Ask the stack in `folder` for another model; return its state when the last worker serves it.

    Raises:
        RunFailed: no stack runs there, or it refused the model and serves the old one.
    """
    request = SwapRequest(uuid.uuid4().hex, model_path, model)
    if running(folder) is None:
        raise RunFailed(f"no stack runs in {folder}", hint="start one: scalelab serve up --detach")
    request.write(folder)
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s:
        state = StackState.read(folder)
        said: Any = state.swap if state is not None else {}
        if state is not None and said.get("id") == request.id and said["status"] != RUNNING:
            if said["status"] == DONE:
                return state
            raise RunFailed(f"{model_path} was not taken: {said['message']}", hint=said["hint"])
        if state is None and running(folder) is None:
            raise RunFailed("the stack ended during the swap", hint=f"its logs are in {folder}")
        time.sleep(0.05)
    raise RunFailed(f"the swap took longer than {timeout_s:g} s", hint=f"look at {folder}/worker-*.log")
