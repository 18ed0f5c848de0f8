"""The supervisor: starts broker, gateway and workers, restarts who dies, and takes all of them with it.

It owns the processes: they are its children, so that they end when it ends, however it ends. ``serve up``
runs it in the foreground; notebooks and ``--detach`` run ``python -m scalelab.serve.supervisor FOLDER``.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scalelab.core.errors import RunFailed, ScalelabError
from scalelab.core.machine import check_port, free_port
from scalelab.core.processes import die_with_parent
from scalelab.serve.broker import EMBEDDED, LOCAL, forget_worker, reach, shown_url
from scalelab.serve.crew import READY_TIMEOUT_S, Crew
from scalelab.serve.embedded import prepare_embedded
from scalelab.serve.local.address import Address
from scalelab.serve.metrics import METRICS_FOLDER
from scalelab.serve.settings import BROKER_VARIABLE, StackSettings
from scalelab.serve.state import BROKEN, READY, STARTING, Child, StackState, describe_error, keep_broker
from scalelab.serve.swap import DONE, REFUSED, RUNNING, SwapRequest, swap_steps

log = logging.getLogger("scalelab.supervisor")
_POLL_S = 0.1
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Supervisor:
    """The life of one stack. All children are started by the thread that calls `run`."""

    def __init__(self, settings: StackSettings, folder: Path, *, broker: str = ""):
        self._settings, self._folder, self._broker = settings, folder, broker
        self._swap: Iterator[None] | None = None
        self._next_settings = settings
        self._began_s = time.monotonic()
        self._is_stopping = False  # no Event: its lock may be held when the signal handler asks for it
        host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
        check_port(settings.port, settings.host)
        self._port = settings.port or free_port(settings.host)
        state = StackState(STARTING, Child.of(os.getpid()), f"http://{host}:{self._port}")
        self._crew = Crew(folder, state, on_death=self._forget)

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
            if not self._crew.is_written:
                raise RunFailed(f"nothing can be written to {self._folder}", hint="free some space there")
            self._start_all()
            self._wait_until_ready()
            if not self._is_stopping:
                self._write(phase=READY, ready_s=round(time.monotonic() - self._began_s, 3))
                if on_ready is not None:
                    on_ready(self._crew.state)
            while not self._is_stopping:
                time.sleep(_POLL_S)
                self._keep_state()
                self._crew.look_after(self._settings)
                self._go_on_with_swap()
        except ScalelabError as error:
            self._crew.stop_all()
            self._write(phase=BROKEN, error=describe_error(error))
            raise
        finally:
            self._crew.stop_all()
        (self._folder / "state.json").unlink(missing_ok=True)

    def _start_all(self) -> None:
        settings = self._settings
        self._folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._folder / METRICS_FOLDER, ignore_errors=True)  # counted by a stack that ended
        for left in (*self._folder.glob("*.pulse"), self._folder / "swap.json"):  # by a run that was killed
            left.unlink(missing_ok=True)
        settings_file = self._folder / "settings.json"
        settings.write(settings_file)
        python = [sys.executable, "-m"]
        threads = dict.fromkeys(_THREAD_VARIABLES, str(settings.threads))
        if settings.naive:
            model = ["--model", settings.model, "--model-path", settings.model_path]
            model += ["--contract", settings.contract]
            address = ["--host", settings.host, "--port", str(self._port), "--threads", str(settings.threads)]
            self._crew.start("naive", [*python, "scalelab.serve.naive", *model, *address], threads)
            return
        self._start_broker()
        env = {BROKER_VARIABLE: self._broker}
        gateway = [*python, "scalelab.serve.gateway", str(settings_file), str(self._port)]
        self._crew.start("gateway", gateway, env, has_pulse=True)
        for number in range(1, settings.workers + 1):
            self._crew.start_worker(f"worker-{number}", {**env, **threads})

    def _start_broker(self) -> None:
        if self._broker in ("", LOCAL):  # it lives in the gateway: nothing to start
            self._broker = Address.new(self._folder / "queue", free_port()).url()
        elif self._broker == EMBEDDED:
            self._start_embedded()
        else:
            reach(self._broker)
        keep_broker(self._folder, self._broker)

    def _start_embedded(self) -> None:
        embedded = prepare_embedded(self._folder / "broker", free_port())
        self._broker = embedded.url
        self._crew.start("broker", list(embedded.command), {})
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not self._is_stopping:
            try:
                reach(self._broker)
                return
            except ScalelabError:  # not listening yet, or still reading its journal
                self._fail_if_dead("broker")
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.02)

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not self._is_stopping:
            for name in self._crew.members:
                self._fail_if_dead(name)
            if self._crew.note_ready():
                return
            if time.monotonic() > deadline_s:
                late = [name for name, member in self._crew.members.items() if member.ready_s is None]
                raise RunFailed(
                    f"{', '.join(late)} not ready after {READY_TIMEOUT_S:g} s",
                    hint=f"look at {self._folder}/*.log",
                )
            time.sleep(0.02)

    def _fail_if_dead(self, name: str) -> None:
        member = self._crew.members[name]
        if member.process.poll() is not None:
            raise RunFailed(
                f"the {name} {member.how_it_ended()} while the stack started:\n{member.log_tail()}",
                hint=f"its log is {member.log}",
            )

    def _keep_state(self) -> None:
        """Put a lost state file back: nobody finds or ends us without it. End if the folder is removed.

        The lock tells the two apart: `rm -r` takes it too, and would find a new file in its way.
        """
        found = StackState.read(self._folder)
        is_ours = found is None or found.supervisor == self._crew.state.supervisor
        if is_ours and (self._folder / "lock").exists():
            if found is None or not self._crew.is_written:
                self._write()
            return
        log.warning("%s was removed: the stack ends, since nobody could find it any more", self._folder)
        self._is_stopping = True

    def _forget(self, worker: str) -> None:
        """Tell the broker of a death that we saw, so that others need not wait for silence."""
        if worker:
            try:
                forget_worker(self._broker, queue=self._settings.queue, name=worker)
            except ScalelabError as error:  # then its heartbeat runs out
                log.warning("%s", error.message)

    def _go_on_with_swap(self) -> None:
        """Take a step of the swap that goes on, or begin the one that is asked for."""
        try:
            if self._swap is None:
                request = SwapRequest.take(self._folder)
                if request is None:
                    return
                self._write(swap={"id": request.id, "status": RUNNING})
                self._next_settings = request.settings(self._settings)
                self._next_settings.check()
                log.warning("swap to %s", request.model_path)
                self._swap = swap_steps(
                    self._crew, self._next_settings, self._folder, limit_s=READY_TIMEOUT_S
                )
            next(self._swap)
        except StopIteration:
            self._settings, self._swap = self._next_settings, None
            self._write(swap={**self._crew.state.swap, "status": DONE})
            log.warning("all workers serve %s", self._settings.model_path)
        except ScalelabError as error:
            self._swap = None
            log.warning("swap refused: %s", error.message)
            said = {"status": REFUSED, "message": error.message, "hint": error.hint}
            self._write(swap={**self._crew.state.swap, **said})

    def _write(self, **changes: Any) -> None:
        self._crew.write(broker=shown_url(self._broker), **changes)


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
