"""Where a local broker is: the URL that the supervisor gives to gateway and workers by environment."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from scalelab.core.errors import ConfigError


@dataclass(frozen=True)
class Address:
    """``local://:TOKEN@127.0.0.1:PORT/ABSOLUTE/FOLDER``."""

    token: str
    """other users of this machine must not take tasks"""
    host: str
    port: int
    folder: Path
    """of the journal"""

    @classmethod
    def new(cls, folder: Path, port: int) -> Address:
        """Return an address on loopback with a token of its own."""
        return cls(secrets.token_urlsafe(16), "127.0.0.1", port, folder.resolve())

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL.

        Raises:
            ConfigError: a part is missing. The URL is not shown: it may hold a token.
        """
        parts = urlsplit(url)
        path = unquote(parts.path)
        folder = Path(path[1:] if os.name == "nt" else path)
        if not (parts.password and parts.hostname and parts.port and folder.is_absolute()):
            raise ConfigError(
                "the URL of the local broker lacks its token, port or folder",
                hint="give local://:TOKEN@127.0.0.1:PORT/ABSOLUTE/FOLDER, or simply no --broker",
            )
        return cls(unquote(parts.password), parts.hostname, parts.port, folder)

    def url(self) -> str:
        """Return what `parse` reads."""
        path = self.folder.as_posix()
        return f"local://:{self.token}@{self.host}:{self.port}/{quote(path.removeprefix('/'))}"
