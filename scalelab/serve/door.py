"""The way to the documented face, which is loaded when somebody first looks at it.

FastAPI takes longer to load than all else in a gateway, and 15 MB: a gateway that starts, or comes back after
a crash, serves tasks meanwhile. Health needs none of it, for a supervisor asks for that first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from scalelab.serve.gateway import Gateway
from scalelab.serve.pulse import Pulse

_BEAT_S = 0.5
_ALIVE = b'{"alive":true}'
_HEAD = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_ALIVE))]


class Door:
    """An ASGI application: the life of the gateway and its health, and for all else the face."""

    def __init__(self, gateway: Gateway):
        self._gateway = gateway
        self._face: asyncio.Future[Any] | None = None

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Serve one request, or live as long as the server does."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["path"] == "/healthz" and scope["method"] == "GET":
            await send({"type": "http.response.start", "status": 200, "headers": _HEAD})
            await send({"type": "http.response.body", "body": _ALIVE})
        else:
            if self._face is None:  # in a thread: requests for tasks are served while it loads
                self._face = asyncio.ensure_future(asyncio.to_thread(self._load))
            face = await asyncio.shield(self._face)
            await face(scope, receive, send)

    def _load(self) -> Any:
        from scalelab.serve.face import build_face

        return build_face(self._gateway)

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        try:
            await self._gateway.start()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        beating = asyncio.ensure_future(_beat())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._gateway.stop()
        beating.cancel()
        await send({"type": "lifespan.shutdown.complete"})


async def _beat() -> None:
    """Show the supervisor that the event loop turns."""
    pulse = Pulse.from_environment()
    pulse.say()
    while True:
        await asyncio.sleep(_BEAT_S)
        pulse.beat()
