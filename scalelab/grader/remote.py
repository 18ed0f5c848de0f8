"""The answers of a learner whose code runs in another process, which may do and say whatever it likes.

What comes from there is values and exceptions, read as plain data and as Python's own types. Time, verdicts
and what a check compares with stay here.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scalelab.core.errors import LabFileError, did_you_mean
from scalelab.core.lazy import is_installed
from scalelab.grader.conversation import Conversation, Raised
from scalelab.grader.decoding import line_of
from scalelab.grader.messages import Malformed, NotPlain, TooLong, WireError
from scalelab.grader.raised import KINDS, make, tell
from scalelab.grader.wire import Channel, Late
from scalelab.grading.answers import Answers, NotAttempted, Stopped, WrongArguments
from scalelab.grading.checks import Check
from scalelab.grading.limits import OverLimit
from scalelab.grading.lines import Line

NOTES = 50
TEXT, TEXTS = 16_000, 64_000
"""characters of one written answer, and of all together, that are kept"""
CALL_S = 60.0
"""for a question outside of a check"""
FAILED_KEPT = 16
_CALLED = re.compile(r"[\w.<>]+\(\)")


class RemoteAnswers(Answers):
    """The face of `Answers` over the channel to a learner process; `run_check` takes it as it takes those.

    A verdict is the same as in a notebook. But inputs must be plain data or functions (all else belongs
    into ``inside.py``), and what comes back is plain data, functions and iterators.
    """

    def __init__(self, channel: Channel, *, inside_source: str = "", seed: int = 0):
        super().__init__({}, seed=seed)
        self._talk = Conversation(channel, {"callback": self._call_back}, tell_error=_tell)
        self._channel = channel
        self._inside_source = inside_source
        self._deadline: float | None = None
        self._line: tuple[BaseException, Line | None] | None = None
        self._failed: dict[str, Exception] = {}
        self._named: dict[tuple[str, int], Callable[..., Any]] = {}
        channel.callables.make_stand_in = self._stand_in
        channel.callables.tells_names = False

    @property
    def is_usable(self) -> bool:
        """The learner process still answers, as far as is known."""
        return self._channel.is_open

    def run(self, cells: Sequence[str], *, cell_s: float, deadline: float) -> list[str]:
        """Run cells in the learner process, and return a note on each that ended in an error.

        Raises:
            OverLimit: the deadline (on `time.monotonic`'s clock) has passed.
            Stopped: the process ended, or broke the protocol.
        """
        reply = self._ask_shell("run", deadline=deadline, cells=list(cells), cell_s=cell_s)
        if reply.get("torch") is True and "torch" not in sys.modules and is_installed("torch"):
            importlib.import_module("torch")  # now: the first tensor would need it within the time of a check
        notes = reply["of"]
        if type(notes) is not list or not all(type(note) is str for note in notes):
            raise self._broken()
        return [line_of(note)[:300] for note in notes[:NOTES]]

    def explained(self) -> dict[str, str]:
        """Return the written answers, by their names."""
        found = self._ask_shell("explained", deadline=time.monotonic() + CALL_S)["of"]
        if type(found) is not dict or not all(type(text) is str for pair in found.items() for text in pair):
            raise self._broken()
        kept, left = {}, TEXTS
        for name, text in list(found.items())[:NOTES]:
            room = min(TEXT, left)
            left -= min(len(text), room)
            more = len(text) - room
            cut = f" ... (cut: {more} more characters)" if more > 0 else ""
            kept[line_of(name)[:100]] = text[:room] + cut
        return kept

    def begin(self, check: Check, *, seed: int) -> None:
        """Start over for a check: its limit, its inputs; what was lent to the learner is taken back."""
        super().begin(check, seed=seed)
        self._deadline = time.monotonic() + check.limit_s
        self._line = None
        self._failed.clear()
        self._named.clear()
        self._channel.renew()
        self._talk.renew()

    def __contains__(self, name: str) -> bool:
        return self._ask("has", name=name)["of"] is True

    def __getitem__(self, name: str) -> Any:
        """Return the learner's `name`, as it is now.

        Raises:
            NotAttempted: there is no such name, or it is still ``...``.
        """
        value = self._ask("get", name=name)["of"]
        if value is ...:
            raise NotAttempted(f"`{name}` is still `...`: put your answer in its place")
        self.last = (f"`{name}` is", value)
        number = self._channel.callables.number_of_theirs(value)
        if number is None:
            return value
        if (name, number) not in self._named:
            self._named[name, number] = self._channel.callables.know(self._watched(name, value), number)
        return self._named[name, number]

    def inside(self, function: str, **inputs: Any) -> Any:
        """Run a function of the lab's ``inside.py`` in the learner process, and return plain data."""
        known = _functions(self._inside_source)
        if function not in known:
            raise LabFileError(f"inside.py has no function {function!r}", hint=did_you_mean(function, known))
        reply = self._ask("inside", source=self._inside_source, function=function, kwargs=inputs)
        self.last = _last(reply) or (f"`{function}` found", reply["of"])
        return reply["of"]

    def artefact(self, path: str, *, max_bytes: int = 32 * 1024**2) -> bytes:
        """Return the content of a file in the learner process's working folder."""
        content = self._ask("file", path=path, max_bytes=max_bytes)["of"]
        if type(content) is not bytes or len(content) > max_bytes:
            raise self._broken()
        self.last = (f"`{path}` is", content)
        return content

    def line_of(self, error: BaseException) -> Line | None:
        """Return the line of the learner's code that an exception came from, as the process there told it."""
        return self._line[1] if self._line and self._line[0] is error else None

    def _watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            value = function(*args, **kwargs)
            self.last = (f"`{name}` returned", value)
            return value

        call.__name__ = call.__qualname__ = name
        return call

    def _stand_in(self, number: int, name: str) -> Callable[..., Any]:
        """Return a function here that calls the learner's."""

        def call(*args: Any, **kwargs: Any) -> Any:
            shared = {
                place: value
                for place, value in [*enumerate(args), *kwargs.items()]
                if id(value) in self._shared
            }
            reply = self._ask("call", ref=number, args=list(args), kwargs=kwargs, shared=list(shared))
            if shared:
                _write_back(shared, reply.get("changed"))
            return reply["of"]

        call.__name__ = call.__qualname__ = name
        return call

    def _call_back(self, message: dict[str, Any]) -> dict[str, Any]:
        """Answer the learner's call of a function that the check lent."""
        args, kwargs = message.get("args"), message.get("kwargs")
        if type(args) is not list or type(kwargs) is not dict or not all(type(key) is str for key in kwargs):
            raise Malformed("a call without arguments")
        try:
            function = self._channel.callables.lent(message.get("ref"))
        except Malformed:  # a thread that goes on after its check asks like this
            raise RuntimeError("the check that lent this function has ended") from None
        try:
            return {"of": function(*args, **kwargs)}
        except Exception as error:
            self._failed[message["callback"]] = error
            if len(self._failed) > FAILED_KEPT:
                del self._failed[next(iter(self._failed))]
            raise

    def _ask_shell(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Ask what no learner's code answers: an exception means that the learner put its own there."""
        try:
            return self._ask(kind, **fields)
        except (OverLimit, Stopped, KeyboardInterrupt):
            raise
        except BaseException:
            raise self._broken() from None

    def _ask(self, kind: str, *, deadline: float | None = None, **fields: Any) -> dict[str, Any]:
        """Ask, and turn what goes wrong between the processes into what a check can end with."""
        deadline = deadline or self._deadline or time.monotonic() + CALL_S
        left_s = deadline - time.monotonic()
        try:
            return self._talk.ask(
                kind, deadline=deadline, is_strict=True, limit_s=left_s - min(0.25, left_s / 10), **fields
            )
        except Raised as answer:
            try:
                error = self._raised(answer.told)
            except Malformed:
                error = self._broken()
            raise error from None
        except Late:
            raise OverLimit from None
        except TooLong as trouble:
            raise Stopped(f"your code handed over too much: {trouble}", code="too-long") from None
        except Malformed:
            raise self._broken() from None
        except WireError:
            raise Stopped(
                "your code ended its own process: it called exit, crashed, or took too much memory",
                code="process-ended",
            ) from None
        except NotPlain as error:
            raise LabFileError(
                f"an input cannot go to the learner's process: {error}",
                hint="make it in the lab's inside.py, and call answers.inside(...)",
            ) from error

    def _raised(self, told: dict[str, Any]) -> BaseException:
        """Return the exception that the check shall get for what the learner process told."""
        error, line = make(told)
        kind = told.get("kind")
        if kind == "not-attempted":
            self.missing = str(told.get("missing"))[:100]
            return NotAttempted(str(error))
        if kind == "wrong-arguments":
            return WrongArguments(str(error))
        if kind == "over-limit":
            error = OverLimit()
        elif type(told.get("from")) is str and told["from"] in self._failed:
            error = self._failed[told["from"]]
        elif last := _last(told):
            self.last, self.raised = last, None
        else:
            self.raised = error
        self._line = (error, line)
        return error

    def _broken(self) -> Stopped:
        self._channel.is_open = False
        return Stopped("your code meddled with the grader's line to it", code="line-broken")


def _tell(error: BaseException) -> dict[str, Any]:
    """Tell the learner's code of an exception in a callback; only Python's own exceptions in their words."""
    told = tell(error)
    if type(error) not in KINDS.values() or isinstance(error, AssertionError):
        told.update(type="Exception", message="")  # its words may say what a check wants
    told["message"] = _CALLED.sub("function()", told["message"])  # and so may the function's name
    return told


def _last(told: dict[str, Any]) -> tuple[str, Any] | None:
    last = told.get("last")
    if type(last) is list and len(last) == 2 and type(last[0]) is str:
        return line_of(last[0])[:200], last[1]
    return None


def _functions(source: str) -> set[str]:
    tree = ast.parse(source)
    return {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }


def _write_back(shared: dict[Any, Any], changed: Any) -> None:
    """Do to the check's own objects what the learner's code did to their copies."""
    if type(changed) is not list or len(changed) != len(shared):
        return
    for value, new in zip(shared.values(), changed, strict=True):
        if type(new) is not type(value):
            continue
        if isinstance(value, np.ndarray):
            if new.shape == value.shape and new.dtype == value.dtype:
                value[...] = new
        elif isinstance(value, list):
            value[:] = new
        elif isinstance(value, dict | set):
            value.clear()
            value.update(new)
