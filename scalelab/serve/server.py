"""The web server of this process: uvicorn, told what it may take."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import uvicorn

from scalelab.serve.connections import Connections
from scalelab.serve.door import Door
from scalelab.serve.gateway import Gateway
from scalelab.serve.routes import TaskRoutes
from scalelab.serve.wire import Wire

log = logging.getLogger("scalelab.gateway")
_GRACE_S = 35
"""longer than the longest `wait_s`: a draining gateway answers all whom it keeps waiting"""
_SWEEP_S = 0.1
_OTHER_FILES = 128
"""that a gateway may have open beside its connections"""


class GatewayServer(uvicorn.Server):
    """A server that ends slow connections, and that tells its gateway when it is asked to end."""

    def __init__(self, gateway: Gateway, host: str, port: int):
        settings = gateway.settings
        self._gateway = gateway
        self._connections = Connections(
            room_for(settings.max_connections),
            idle_timeout_s=settings.idle_timeout_s,
            upload_timeout_s=settings.upload_timeout_s,
        )
        app = TaskRoutes(gateway, Door(gateway))
        super().__init__(configure(app, host, port, http=Wire.bound(gateway, self._connections)))

    async def serve(self, sockets: Any = None) -> None:
        """Serve, and look after the connections until the last of them has ended."""
        sweeping = asyncio.ensure_future(self._sweep())
        try:
            await super().serve(sockets)
        finally:
            sweeping.cancel()

    async def shutdown(self, sockets: Any = None) -> None:
        """Answer all who wait; take nothing new."""
        self._gateway.draining.set()
        await super().shutdown(sockets)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self._connections.sweep()


def serve_gateway(gateway: Gateway, host: str, port: int) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what is under way."""
    if exposure := gateway.settings.exposure():
        log.warning("%s", exposure)
    _run(GatewayServer(gateway, host, port))


def serve_app(app: Any, host: str, port: int) -> None:
    """Run another ASGI application as a first version would be run."""
    _run(uvicorn.Server(configure(app, host, port, http="httptools")))


def configure(app: Any, host: str, port: int, *, http: Any) -> uvicorn.Config:
    """Return uvicorn's configuration."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=http,  # httptools: the pure-Python parser serves a seventh of it
        loop="auto",  # uvloop where there is one, not on Windows: a quarter less of a busy gateway's time
        ws="none",
        lifespan="on",
        log_level="error",  # its warnings are about what strangers send
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a client is who connects: a header could name anybody
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_GRACE_S,
    )


def room_for(connections: int) -> int:
    """Let this process open so many connections; return how many it may.

    The soft limit of open files (1,024 on many systems) is raised as far as the hard one allows.
    """
    try:
        import resource
    except ImportError:  # Windows knows no such limit
        return connections
    wanted = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < wanted:
            connections = max(1, allowed - _OTHER_FILES)
            log.warning(
                "%d connections at most: this process may open %d files (ulimit -n)", connections, allowed
            )
    return connections


def _run(server: uvicorn.Server) -> None:
    server.run()
    if not server.started:
        raise SystemExit(3)
