"""What runs in a learner process: the cells of a submission, then answers to the judge's questions.

Nothing here can be relied on once the learner's code has run, since that code can change all of it; it is
there to serve honest work faithfully. What protects the judge is on the judge's side.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from scalelab.grader.conversation import Conversation, Raised
from scalelab.grader.inert import InertLab
from scalelab.grader.messages import WireError, WireLimits
from scalelab.grader.raised import make, tell
from scalelab.grader.shell import make_shell, run_cell
from scalelab.grader.wire import Channel
from scalelab.grading.answers import Answers, NotAttempted, WrongArguments
from scalelab.grading.beside import find_function, read_artefact, run_inside
from scalelab.grading.limits import OverLimit, printed, time_limit
from scalelab.grading.lines import find_line
from scalelab.grading.plain import plain

SETUP_CELL_S = 600.0
_ENDLESS = WireLimits(
    depth=64,
    all_structure_bytes=1 << 62,
    all_frame_bytes=1 << 62,
    functions=1 << 62,
    keys=1 << 62,
)
_KINDS = {NotAttempted: "not-attempted", WrongArguments: "wrong-arguments", OverLimit: "over-limit"}
_SMALL = 10_000
"""items or bytes of a value that a report may want to show"""


def prepare(setup_cells: Sequence[str] = ()) -> Any:
    """Make the shell and run the cells that all submissions share: once, in the warm process.

    Raises:
        RuntimeError: one of these cells ends in an error.
    """
    shell = make_shell()
    run_cell(shell, "None", limit_s=SETUP_CELL_S)  # the first one is slow
    for number, cell in enumerate(setup_cells, 1):
        with printed():
            trouble = run_cell(shell, cell, limit_s=SETUP_CELL_S)
        if trouble:
            raise RuntimeError(f"set-up cell {number} ends in {trouble}")
    return shell


def serve(sock: socket.socket, shell: Any) -> None:
    """Answer the judge's questions until the channel closes: run these cells, call that function.

    Args:
        sock: connected to the judge's `Channel`.
        shell: from `prepare`.
    """
    with printed():
        _Learner(Channel(sock, limits=_ENDLESS), shell).serve()


class _OwnAnswers(Answers):
    """Answers whose inputs came over the channel, and are copies already."""

    def _copied(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        return args, kwargs


class _Learner:
    def __init__(self, channel: Channel, shell: Any):
        self._channel, self._shell, self._names = channel, shell, shell.user_ns
        self._own = _OwnAnswers(self._names)
        self._asked: Answers = self._own
        self._got: dict[str, tuple[Any, Any]] = {}
        self._inside: dict[str, Any] | None = None
        self._turn, self._open_calls, self._waiting = threading.Condition(), 0, 0
        self._server = threading.get_ident()
        self._process = os.getpid()
        self._talk = Conversation(
            channel,
            {
                "run": self._run_cells,
                "get": self._get,
                "has": lambda message: {"of": message["name"] in self._asked},
                "call": self._call,
                "inside": self._call_inside,
                "file": self._read_file,
                "explained": lambda message: {"of": dict(InertLab.explained)},
            },
            tell_error=self._tell,
            catches=BaseException,
            most=1 << 62,
        )
        channel.callables.make_stand_in = self._stand_in

    def serve(self) -> None:
        try:
            while True:
                self._talk.answer(self._channel.receive(), None)
        except WireError:
            return

    def _run_cells(self, message: dict[str, Any]) -> dict[str, Any]:
        notes = []
        for number, cell in enumerate(message["cells"], 1):
            trouble = run_cell(self._shell, cell, limit_s=message["cell_s"])
            self._end_forks()
            if trouble:
                notes.append(f"cell {number}: {trouble}")
        return {"of": notes, "torch": "torch" in sys.modules}

    def _get(self, message: dict[str, Any]) -> dict[str, Any]:
        self._asked, name = self._own, message["name"]
        self._own.missing = ""
        value, found = self._own[name], self._names[name]
        if name not in self._got or self._got[name][0] is not found:
            self._got[name] = (found, value)
        return {"of": self._got[name][1]}

    def _call(self, message: dict[str, Any]) -> dict[str, Any]:
        function = self._channel.callables.lent(message["ref"])
        args, kwargs = message["args"], message["kwargs"]
        value = self._limited(message, lambda: function(*args, **kwargs))
        changed = [kwargs[place] if type(place) is str else args[place] for place in message["shared"]]
        return {"of": value, "changed": changed}

    def _call_inside(self, message: dict[str, Any]) -> dict[str, Any]:
        if self._inside is None:
            self._inside = run_inside(message["source"])
        function = find_function(self._inside, message["function"])
        answers = self._asked = Answers(self._names)
        value = self._limited(message, lambda: plain(function(answers, **message["kwargs"])))
        return {"of": value, "last": _small(answers.last)}

    def _read_file(self, message: dict[str, Any]) -> dict[str, Any]:
        content, trouble = read_artefact(message["path"], message["max_bytes"])
        if trouble:
            raise NotAttempted(trouble)
        return {"of": content}

    def _limited(self, message: dict[str, Any], work: Callable[[], Any]) -> Any:
        """Run learner's code within the time that the judge waits, so that a report can say where it was."""
        if self._open_calls:
            return work()
        with self._turn:
            self._open_calls += 1
            self._turn.notify_all()
        try:
            with time_limit(message["limit_s"]):
                return work()
        finally:
            with self._turn:  # threads that want to ask the judge get their answers first
                self._turn.wait_for(lambda: not self._waiting)
                self._open_calls -= 1
            self._end_forks()

    def _end_forks(self) -> None:
        """End here what is a fork made by the learner's code: one process answers, not two."""
        if os.getpid() != self._process:
            os._exit(0)

    def _stand_in(self, number: int, name: str) -> Callable[..., Any]:
        """Return a function here that calls the check's: from any thread, one at a time.

        The judge listens only while it waits for an answer; between its questions, a thread waits here.
        """

        def call(*args: Any, **kwargs: Any) -> Any:
            with self._turn:
                if not self._open_calls:
                    if threading.get_ident() == self._server:
                        raise RuntimeError(f"{name} was called after the check had ended")
                    self._waiting += 1
                    self._turn.wait_for(lambda: self._open_calls)
                    self._waiting -= 1
                try:
                    return self._talk.ask(
                        "callback", deadline=None, ref=number, args=list(args), kwargs=kwargs
                    )["of"]
                except Raised as answer:
                    error, _ = make(answer.told)
                    error.__asked__ = answer.told["raised"]  # type: ignore[attr-defined]
                finally:
                    self._turn.notify_all()
            raise error

        call.__name__ = call.__qualname__ = name
        return call

    def _tell(self, error: BaseException) -> dict[str, Any]:
        is_learners = error is self._asked.raised
        line = find_line(error, self._names, is_learners=is_learners)
        told = {
            **tell(error, line),
            "kind": _KINDS.get(type(error), ""),
            "missing": self._asked.missing,
            "from": getattr(error, "__asked__", None),
        }
        if line is None and not is_learners:
            told["last"] = _small(self._asked.last)
        return told


def _small(last: tuple[str, Any] | None) -> list[Any] | None:
    """Return what was read last, if it is small enough to be told beside the answer."""
    if last is None:
        return None
    value = last[1]
    size = len(value) if isinstance(value, list | tuple | dict | set | str | bytes) else 0
    return list(last) if max(size, getattr(value, "nbytes", 0)) <= _SMALL else None
