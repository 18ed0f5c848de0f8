"""Questions over a channel, by turns: who waits for an answer serves the other side's questions meanwhile."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from scalelab.grader.messages import Malformed, TooLong
from scalelab.grader.raised import tell
from scalelab.grader.wire import Channel

NESTED = 16
"""a callback that calls the learner's function, which calls back, and so on"""


class Raised(Exception):
    """The other side answered with an exception, told in plain data."""

    def __init__(self, told: Mapping[str, Any]):
        super().__init__(told)
        self.told = told


class Conversation:
    """One side of the talk.

    Args:
        serve: what this side answers, by the kind of question; gets the whole message, returns plain data.
        tell_error: makes plain data of an exception that `serve` raised.
        most: questions that are answered until `renew`.
    """

    def __init__(
        self,
        channel: Channel,
        serve: Mapping[str, Callable[[dict[str, Any]], Any]],
        *,
        tell_error: Callable[[BaseException], dict[str, Any]] = tell,
        catches: type[BaseException] = Exception,
        most: int = 100_000,
    ):
        self.channel = channel
        self._serve, self._tell, self._catches, self._most = serve, tell_error, catches, most
        self._depth = self._count = 0

    def renew(self) -> None:
        """Count the other side's questions from 0 again."""
        self._depth = self._count = 0

    def ask(
        self, kind: str, *, deadline: float | None, is_strict: bool = False, **fields: Any
    ) -> dict[str, Any]:
        """Ask the other side, and return its answer.

        Raises:
            Raised: the answer is an exception.
            WireError: there is no answer.
        """
        number = secrets.token_hex(16)
        self.channel.send({kind: number, **fields}, deadline, is_strict=is_strict)
        while True:
            message = self.channel.receive(deadline)
            if message.get("value") == number and "of" in message:
                return message
            if message.get("raised") == number:
                raise Raised(message)
            self.answer(message, deadline)

    def answer(self, message: dict[str, Any], deadline: float | None) -> None:
        """Answer one question of the other side.

        Raises:
            Malformed: it is none that this side answers.
        """
        kind = next(iter(message), "")
        number = message.get(kind)
        self._count += 1
        if (
            kind not in self._serve
            or type(number) is not str
            or self._depth >= NESTED
            or self._count > self._most
        ):
            self.channel.is_open = False
            raise Malformed("a message that answers no question")
        self._depth += 1
        try:
            reply = {"value": number, "of": None, **self._serve[kind](message)}
        except self._catches as error:
            reply = {"raised": number, **self._tell(error)}
        except BaseException:
            self.channel.is_open = False  # the other side waits for an answer that will not come
            raise
        finally:
            self._depth -= 1
        try:
            self.channel.send(reply, deadline)
        except TooLong as error:
            self.channel.send({"raised": number, **tell(error)}, deadline)
