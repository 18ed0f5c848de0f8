"""The processes of a stack together: who runs, who must be ended, who is started again."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from scalelab.core.processes import stop_tree
from scalelab.serve.fetch import answers
from scalelab.serve.members import Member
from scalelab.serve.settings import StackSettings
from scalelab.serve.state import Child, StackState

log = logging.getLogger("scalelab.supervisor")
READY_TIMEOUT_S = 90.0
"""importing torch and loading a model on a busy laptop takes up to half a minute"""
_SLEPT_S = 2.0
"""a supervisor that did not run for so long was suspended, like all others: their silence proves nothing"""
_GRACE_S = 40.0
"""longer than a request may wait for its answer"""
_KEPT_DEATHS = 5
_NEXT = "next-"
_WORKER = {"has_pulse": True, "is_worker": True}


class Crew:
    """The members by name, told in the state file; in a swap also a worker beside the one it replaces."""

    def __init__(self, folder: Path, state: StackState, *, on_death: Callable[[str], None]):
        self._folder, self.state, self._on_death = folder, state, on_death
        self.members: dict[str, Member] = {}
        self._extra: dict[str, Member] = {}
        self._looked_s = time.monotonic()
        self.is_written = True

    def write(self, **changes: Any) -> None:
        """Change the state and its file; a full disk ends nobody, it is written when there is room."""
        self.state = replace(self.state, **changes)
        try:
            self.state.write(self._folder)
        except OSError as error:
            if self.is_written:
                log.warning("the state cannot be written: %s", error)
            self.is_written = False
        else:
            self.is_written = True

    def start(self, name: str, command: list[str], env: dict[str, str], **kind: bool) -> None:
        """Start a process that is to run as long as the stack does; its `kind` as `Member` takes it."""
        log_file = self._folder / f"{name}.log"
        log_file.write_bytes(b"")  # a log tells of one run of the stack
        self.members[name] = Member(command, env, log_file, **kind)
        self.members[name].start(time.monotonic())
        self._write_children()

    def start_worker(self, name: str, env: dict[str, str]) -> None:
        """Start a worker with the settings of the stack."""
        self.start(name, _worker_command(self._folder / "settings.json"), env, **_WORKER)

    def note_ready(self) -> bool:
        """Keep when each process began to serve; tell whether all do.

        Workers say it, the gateway answers; a broker was waited for.
        """
        late = {name: member for name, member in self._everyone().items() if member.ready_s is None}
        for name, member in late.items():
            if member.is_worker:
                is_ready = member.pulse is not None and member.pulse.facts() is not None
            else:
                is_ready = name == "broker" or answers(f"{self.state.url}/healthz")
            if is_ready:
                member.note_ready(time.monotonic())
                self.write(facts={**self.state.facts, name: member.facts()})
        return all(member.ready_s is not None for member in late.values())

    def look_after(self, settings: StackSettings) -> None:
        """End who is frozen or takes more than its share, and start again who ended."""
        now_s = time.monotonic()
        slept, self._looked_s = now_s - self._looked_s > _SLEPT_S, now_s
        self.note_ready()
        for name, member in self.members.items():
            if slept and member.pulse is not None:
                member.pulse.forgive(now_s)
            reason = member.ailment(
                now_s,
                ttl_s=settings.limits.worker_ttl_s,
                memory_bytes=settings.worker_memory_bytes,
                start_s=READY_TIMEOUT_S,
            )
            if reason:
                member.kill(reason)
            if member.process.poll() is not None:
                self._mend(name, member)

    def _mend(self, name: str, member: Member) -> None:
        now_s = time.monotonic()
        if how := member.note_end(now_s):
            death = f"{name} (pid {member.process.pid}) {how}"
            log.warning("%s", death)
            kept = [*self.state.deaths, f"{time.strftime('%H:%M:%S')} {death}"][-_KEPT_DEATHS:]
            self.write(deaths=kept)
            self._on_death(member.known_as)
        if now_s >= member.retry_at_s:
            stop_tree(member.process.pid, grace_s=0)
            try:
                member.start(now_s)
            except OSError as error:  # no room for its log, say
                log.warning("%s cannot be started yet: %s", name, error)
                return
            facts = {
                key: value for key, value in self.state.facts.items() if key != name
            }  # until it is ready
            self._write_children(restarts=self.state.restarts + 1, facts=facts)

    def worker_names(self) -> list[str]:
        """Return the names of the workers that serve."""
        return [name for name in self.members if name.startswith("worker-")]

    def add_worker(self, name: str, settings_file: Path) -> Member:
        """Start one more worker beside `name`; nobody starts it again if it ends."""
        beside = self.members[name]
        self._extra[name] = fresh = Member(_worker_command(settings_file), beside.env, beside.log, **_WORKER)
        fresh.start(time.monotonic())
        self._write_children()
        return fresh

    def replace_worker(self, name: str) -> Member:
        """Let the one beside `name` stand in its place; return the old one, which was asked to end."""
        old, fresh = self.members[name], self._extra[name]
        fresh.command = old.command
        self.members[name], self._extra[name] = fresh, old
        facts = {key: value for key, value in self.state.facts.items() if key != _NEXT + name}
        self._write_children(facts={**facts, name: fresh.facts()})
        if old.process.poll() is None:
            old.process.terminate()
        return old

    def drop_extra(self, name: str) -> None:
        """End the one beside `name` if it still runs, and forget it."""
        member = self._extra.pop(name, None)
        if member is not None:
            stop_tree(member.process.pid, grace_s=0)
            member.process.wait()
            member.forget_pulse()
            self._on_death(member.known_as)
            self._write_children()

    def stop_all(self) -> None:
        """End the gateway first, so that nothing is accepted; the broker last, so that answers are stored."""
        for wave in (("gateway", "naive"), ("worker", _NEXT), ("broker",)):
            members = [member for name, member in self._everyone().items() if name.startswith(wave)]
            for member in members:
                if member.process.poll() is None:
                    member.process.terminate()  # all of a wave at once: each may have a batch to finish
            for member in members:
                asked_s = time.monotonic()
                stop_tree(member.process.pid, grace_s=_GRACE_S if "gateway" in wave else 10.0)
                member.process.wait()
                member.forget_pulse()
                if time.monotonic() - asked_s > 5:
                    log.warning("pid %d (%s) was slow to end", member.process.pid, " ".join(member.command))
        self.members.clear()
        self._extra.clear()

    def _everyone(self) -> dict[str, Member]:
        return {**self.members, **{_NEXT + name: member for name, member in self._extra.items()}}

    def _write_children(self, **changes: Any) -> None:
        known = {child.pid: child for child in self.state.children.values()}
        pids = {name: member.process.pid for name, member in self._everyone().items()}
        children = {name: known.get(pid) or Child.of(pid) for name, pid in pids.items()}
        self.write(children=children, **changes)


def _worker_command(settings_file: Path) -> list[str]:
    return [sys.executable, "-m", "scalelab.serve.worker", str(settings_file)]
