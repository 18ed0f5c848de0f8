"""The supervisor: starts broker, gateway and workers, restarts who dies, and takes all of them with it.

It owns the processes: they are its children, so that they end when it ends, however it ends. ``serve up``
runs it in the foreground; notebooks and ``--detach`` run ``python -m scalelab.serve.supervisor FOLDER``.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scalelab.core.errors import RunFailed, ScalelabError
from scalelab.core.machine import check_port, free_port
from scalelab.core.processes import die_with_parent, start, stop_tree
from scalelab.serve.broker import check_url, shown_url
from scalelab.serve.embedded import prepare_embedded
from scalelab.serve.settings import BROKER_VARIABLE, StackSettings
from scalelab.serve.state import BROKEN, READY, STARTING, Child, StackState, describe_error

log = logging.getLogger("scalelab.supervisor")
READY_TIMEOUT_S = 90.0
"""importing torch and loading a model on a busy laptop takes up to half a minute"""
_POLL_S = 0.1
_GRACE_S = 40.0
"""longer than a request may wait for its answer"""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class _Member:
    """A process that should run, and how it fared."""

    name: str
    """as the broker knows it"""
    command: list[str]
    env: dict[str, str]
    process: subprocess.Popen[bytes]
    started_s: float
    failures: int = 0
    retry_at_s: float = 0.0


class Supervisor:
    """The processes of one stack. All children are started by the thread that calls `run`."""

    def __init__(self, settings: StackSettings, folder: Path, *, broker: str = ""):
        self._settings, self._folder = settings, folder
        self._broker = broker
        self._members: dict[str, _Member] = {}
        self._generation = 0
        self._is_stopping = False  # no Event: its lock may be held when the signal handler asks for it
        host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
        check_port(settings.port, settings.host)
        self._port = settings.port or free_port(settings.host)
        self._state = StackState(STARTING, Child.of(os.getpid()), f"http://{host}:{self._port}")

    def stop(self) -> None:
        """Let `run` end the stack and return; may be called by a signal handler."""
        self._is_stopping = True

    def run(self, on_ready: Callable[[StackState], None] | None = None) -> None:
        """Start the stack and keep it running until `stop` is called; nothing is left when this returns.

        Raises:
            ScalelabError: the stack could not be started; the state file says the same.
        """
        try:
            self._write()
            self._start_all()
            self._wait_until_ready()
            if not self._is_stopping:
                self._write(phase=READY)
                if on_ready is not None:
                    on_ready(self._state)
            while not self._is_stopping:
                time.sleep(_POLL_S)
                self._keep_state()
                self._mend()
        except ScalelabError as error:
            self._stop_all()
            self._write(phase=BROKEN, error=describe_error(error))
            raise
        finally:
            self._stop_all()
        (self._folder / "state.json").unlink(missing_ok=True)

    def _start_all(self) -> None:
        settings = self._settings
        self._folder.mkdir(parents=True, exist_ok=True)
        settings_file = self._folder / "settings.json"
        settings.write(settings_file)
        python = [sys.executable, "-m"]
        if settings.naive:
            model = ["--model", settings.model, "--model-path", settings.model_path]
            model += ["--contract", settings.contract]
            address = ["--host", settings.host, "--port", str(self._port), "--threads", str(settings.threads)]
            self._start("naive", [*python, "scalelab.serve.naive", *model, *address], self._thread_limits())
            return
        self._start_broker()
        env = {BROKER_VARIABLE: self._broker}
        gateway = [*python, "scalelab.serve.gateway", str(settings_file), str(self._port)]
        self._start("gateway", gateway, env)
        for number in range(1, settings.workers + 1):
            command = [*python, "scalelab.serve.worker", str(settings_file)]
            self._start(f"worker-{number}", command, {**env, **self._thread_limits()})

    def _start_broker(self) -> None:
        from scalelab.serve.redis_broker import connect

        if self._broker:
            check_url(self._broker)
            connect(self._broker).close()
            return
        embedded = prepare_embedded(self._folder / "broker", free_port())
        self._broker = embedded.url
        self._start("broker", list(embedded.command), {})
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not self._is_stopping:
            try:
                connect(self._broker).close()
                return
            except ScalelabError:  # not listening yet, or still reading its journal
                self._fail_if_dead("broker")
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.02)

    def _start(self, name: str, command: list[str], env: dict[str, str]) -> None:
        argv, known_as = command, ""
        if name.startswith("worker-"):
            self._generation += 1  # a new name each time: the broker must not take it for the dead one
            known_as = f"{name}-{os.getpid()}-{self._generation}"
            argv = [*command, known_as]
        mode = "ab" if name in self._members else "wb"  # a log tells of one run of the stack
        with (self._folder / f"{name}.log").open(mode) as output:
            process = start(argv, env=env, output=output)
        failures = self._members[name].failures if name in self._members else 0
        self._members[name] = _Member(known_as, command, env, process, time.monotonic(), failures)
        self._write(children={**self._state.children, name: Child.of(process.pid)})

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        wanted = 0 if self._settings.naive else self._settings.workers
        while not self._is_stopping:
            for name in self._members:
                self._fail_if_dead(name)
            if self._living_workers() >= wanted:
                return
            if time.monotonic() > deadline_s:
                raise RunFailed(
                    f"the stack was not ready after {READY_TIMEOUT_S:g} s",
                    hint=f"look at {self._folder}/*.log",
                )
            time.sleep(0.05)

    def _living_workers(self) -> int:
        """Return how many workers the gateway sees; -1 while nothing answers."""
        path = "/healthz" if self._settings.naive else "/v1/stats"
        try:
            facts = fetch_json(self._state.url + path, timeout_s=2.0)
        except OSError:
            return -1
        return int(facts.get("workers", 0))

    def _fail_if_dead(self, name: str) -> None:
        code = self._members[name].process.poll()
        if code is not None:
            raise RunFailed(
                f"the {name} ended with exit code {code} while the stack started:\n{self._log_tail(name)}",
                hint=f"its log is {self._folder / name}.log",
            )

    def _log_tail(self, name: str) -> str:
        lines = (self._folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return "\n".join(lines[-8:])

    def _mend(self) -> None:
        now_s = time.monotonic()
        for name, member in list(self._members.items()):
            code = member.process.poll()
            if code is None:
                continue
            if not member.retry_at_s:
                log.warning("%s (pid %d) ended with exit code %d", name, member.process.pid, code)
                quick = now_s - member.started_s < 10
                member.failures = member.failures + 1 if quick else 0
                # ever more slowly, if it ends soon again: a worker that cannot start must not eat a core
                member.retry_at_s = now_s + min(5.0, 0.1 * 2**member.failures)
                self._forget(member.name)
            if now_s >= member.retry_at_s:
                stop_tree(member.process.pid, grace_s=0)
                self._start(name, member.command, member.env)
                self._write(restarts=self._state.restarts + 1)

    def _keep_state(self) -> None:
        """Put a lost state file back: nobody finds or ends us without it. End if the folder is removed.

        The lock tells the two apart: `rm -r` takes it too, and would find a new file in its way.
        """
        found = StackState.read(self._folder)
        is_ours = found is None or found.supervisor == self._state.supervisor
        if is_ours and (self._folder / "lock").exists():
            if found is None:
                self._write()
            return
        log.warning("%s was removed: the stack ends, since nobody could find it any more", self._folder)
        self._is_stopping = True

    def _forget(self, worker: str) -> None:
        """Tell the broker of a death that we saw, so that others need not wait for silence."""
        from scalelab.serve.redis_broker import connect, forget_worker, key_prefix

        if worker:
            try:
                forget_worker(connect(self._broker), key_prefix(self._settings.queue), worker)
            except ScalelabError as error:  # then its heartbeat runs out
                log.warning("%s", error.message)

    def _stop_all(self) -> None:
        """End the gateway first, so that nothing is accepted; the broker last, so that answers are stored."""
        for wave in (("gateway", "naive"), ("worker",), ("broker",)):
            members = [member for name, member in self._members.items() if name.startswith(wave)]
            for member in members:
                if member.process.poll() is None:
                    member.process.terminate()  # all of a wave at once: each may have a batch to finish
            for member in members:
                asked_s = time.monotonic()
                stop_tree(member.process.pid, grace_s=_GRACE_S if "gateway" in wave else 10.0)
                member.process.wait()
                if time.monotonic() - asked_s > 5:
                    log.warning("pid %d (%s) was slow to end", member.process.pid, " ".join(member.command))
        self._members.clear()

    def _thread_limits(self) -> dict[str, str]:
        return dict.fromkeys(_THREAD_VARIABLES, str(self._settings.threads))

    def _write(self, **changes: Any) -> None:
        self._state = replace(self._state, broker=shown_url(self._broker), **changes)
        self._state.write(self._folder)


def fetch_json(url: str, *, timeout_s: float = 5.0) -> dict[str, Any]:
    """GET a JSON document from this machine, past any proxy that the environment names.

    Raises:
        OSError: nobody answers, or with an error.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as reply:
            document: dict[str, Any] = json.load(reply)
            return document
    except (urllib.error.HTTPError, ValueError) as error:
        raise OSError(f"{url}: {error}") from None


def stop_on_signals(supervisor: Supervisor) -> None:
    """Let SIGTERM and Ctrl-C end the stack in order."""
    for number in (signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
        signal.signal(number, lambda *_: supervisor.stop())


def main() -> None:
    """Run the stack that FOLDER/settings.json describes until SIGTERM."""
    from scalelab.serve.state import take_lock

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    folder = Path(sys.argv[1])
    if "--detached" not in sys.argv[2:]:
        die_with_parent()
    lock = take_lock(folder)
    if lock is None:
        raise SystemExit(f"a stack runs in {folder} already")
    broker = os.environ.pop(BROKER_VARIABLE, "")
    settings = StackSettings.read(folder / "settings.json")
    try:
        supervisor = Supervisor(settings, folder, broker=broker)
    except ScalelabError as error:  # a port in use: found before anything was started
        StackState(BROKEN, Child.of(os.getpid()), "", error=describe_error(error)).write(folder)
        raise SystemExit(str(error)) from None
    stop_on_signals(supervisor)
    try:
        supervisor.run()
    except ScalelabError as error:
        raise SystemExit(str(error)) from None
    finally:
        lock.close()


if __name__ == "__main__":
    main()
