"""The warm process: imports done, set-up cells run, and a fork of it for every submission.

It never sees a check, an expected value or a submission. For each request it forks a supervisor (in Linux
namespaces: pid 1 of a new process space), which forks the learner process, watches its clock and memory, and
takes everything down with it at the end. A request is one byte and two sockets on the control socket: the
line to the supervisor, whose end means "take it down", and the channel between judge and learner process.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import signal
import socket
import threading
from collections.abc import Mapping
from typing import Any

from scalelab.grader import confine
from scalelab.grader.frames import receive_exactly, receive_frame, send_frame
from scalelab.grader.limits import Limits
from scalelab.grader.wards import Ward, bury
from scalelab.grader.warming import named, warm_up


def main(descriptor: int) -> None:
    """Serve the judge at the other end of the control socket until it closes."""
    control = socket.socket(fileno=descriptor)
    plan = receive_frame(control)
    try:
        ward = _enter(plan)
    except (OSError, AttributeError) as error:
        send_frame(control, {"failed": str(error)})
        return
    try:
        shell = _warm_up(plan)
        ward.seal()
    except BaseException as error:
        send_frame(control, {"broken": f"{type(error).__name__}: {error}"})
        return
    send_frame(control, {"ready": os.getpid()})
    _serve(control, ward, shell)
    ward.leave()


def _enter(plan: Mapping[str, Any]) -> Ward:
    """Put this process into its ward; OSError where the machine does not allow it."""
    limits = Limits(**plan["limits"])
    if plan["ward"] == "namespaces":
        from scalelab.grader.namespace_ward import NamespaceWard

        return NamespaceWard(limits, plan["python"], plan["visible"], plan["other_processes"])
    from scalelab.grader.group_ward import GroupWard

    return GroupWard(limits, plan["visible"], plan["folder"])


def _warm_up(plan: Mapping[str, Any]) -> Any:
    shell = warm_up(plan)
    threads = confine.thread_count()
    if threads > 1:
        names = ", ".join(thread.name for thread in threading.enumerate()[1:]) or "of a library"
        raise RuntimeError(
            f"{threads - 1} threads run after the imports and set-up cells ({names}); "
            "a copy of the process would lack them: start threads inside functions"
        )
    gc.collect()
    gc.freeze()  # the collector does not touch, and so copy, what is shared with the forks
    return shell


def _serve(control: socket.socket, ward: Ward, shell: Any) -> None:
    for number in itertools.count():
        message, descriptors, _, _ = socket.recv_fds(control, 1, 2)
        if not message:
            return  # the judge is gone: so is this process, and with it all below
        bury()
        with contextlib.ExitStack() as both:
            line, channel = (both.enter_context(socket.socket(fileno=each)) for each in descriptors)
            try:
                pid = ward.fork(number)
            except OSError as error:  # no more processes or namespaces for now
                with contextlib.suppress(OSError):
                    send_frame(line, {"how": f"not started: {error}"})
                continue
            if pid == 0:
                control.close()
                _supervise(ward, line, channel, shell)


def _supervise(ward: Ward, line: socket.socket, channel: socket.socket, shell: Any) -> None:
    """Run one submission and report how it ended; never returns."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        request = receive_frame(line)
        files = {name: receive_exactly(line, size) for name, size in request["files"].items()}
        ward.enter_room()
        confessed, confess = os.pipe()
        pid = os.fork()
        if pid == 0:
            _become_learner(ward, channel, confess, request, files, shell)
        os.close(confess)
        channel.close()
        del files
        report = ward.watch(pid, line)
        with os.fdopen(confessed, "rb") as trouble:
            text = trouble.read(2000).decode(errors="replace")
        send_frame(line, {**report, "how": f"not started: {text}"} if text else report)
        code = 0
    except BaseException as error:
        with contextlib.suppress(OSError):
            send_frame(line, {"how": f"not started: {type(error).__name__}: {error}"})
    finally:
        ward.leave_room()
        os._exit(code)


def _become_learner(
    ward: Ward,
    channel: socket.socket,
    confess: int,
    request: Mapping[str, Any],
    files: Mapping[str, bytes],
    shell: Any,
) -> None:
    """Give up everything, then run the submission; never returns."""
    code = 70
    try:
        try:
            os.setsid()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1, 2):
                os.dup2(nowhere, standard)
            _close_all_but(0, 1, 2, channel.fileno(), confess)
            ward.become_learner(files)
            entry = named(request["entry"])
        except BaseException as error:
            os.write(confess, f"{type(error).__name__}: {error}".encode())
            raise
        os.close(confess)
        code = 1
        entry(channel, shell, **request["arguments"])
        code = 0
    finally:
        os._exit(code)


def _close_all_but(*keep: int) -> None:
    start = 0
    for descriptor in [*sorted(keep), 1 << 20]:
        if descriptor > start:
            os.closerange(start, descriptor)
        start = descriptor + 1
