"""The way to a Dask cluster: an address in, a client out, and a plain word where nobody answers.

Dask's own settings say how the way is secured (TLS: ``distributed.comm`` in its configuration, or variables
``DASK_DISTRIBUTED__COMM__...``). Whoever reaches a scheduler can run code on all its workers.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from scalelab.core.errors import ConfigError
from scalelab.core.lazy import require

SCHEME = "dask://"
_ANSWER_S = 10.0


@contextmanager
def connect(address: str) -> Iterator[Any]:
    """Open a `distributed.Client` of the scheduler at ``dask://HOST:PORT``, which has a worker at least.

    Raises:
        ConfigError: the address is of another kind, no scheduler answers there, or it has no worker.
    """
    if not address.startswith(SCHEME):
        raise ConfigError(f"--executor {address!r} is not known", hint="dask://HOST:PORT, or none at all")
    where = address.removeprefix(SCHEME)  # tcp or tls: that is the configuration's
    found = re.fullmatch(r"(?:[^\s:/@]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})", where)
    if not found or not 0 < int(found[1]) < 65536:
        raise ConfigError(f"{address!r} is no address", hint="dask://HOST:PORT, as in dask://10.0.0.5:8786")
    distributed = require("distributed", extra="cluster")
    _probe(distributed, where, address)
    try:
        client = distributed.Client(where, timeout=_ANSWER_S, set_as_default=False)
    except OSError as error:
        raise _nobody(address, error) from None
    try:
        if not client.nthreads():
            raise ConfigError(
                f"the Dask scheduler at {address} has no worker", hint=f"start one: dask worker {where}"
            )
        yield client
    finally:
        with suppress(Exception):  # the scheduler may be gone by now
            client.close()


def _probe(distributed: Any, where: str, address: str) -> None:
    """Shake hands and leave: `Client` itself waits for ever on a port that listens and never answers.

    In a thread of its own, since a notebook's has a running loop.
    """
    failures: list[Exception] = []

    async def shake_hands() -> None:
        how = distributed.Security().get_connection_args("client")
        reaching = distributed.comm.connect(where, timeout=_ANSWER_S, **how)
        comm = await asyncio.wait_for(reaching, _ANSWER_S + 1)
        await comm.close()

    def probe() -> None:
        try:
            asyncio.run(shake_hands())
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=probe, name="dask-probe")
    thread.start()
    thread.join()
    if failures:
        raise _nobody(address, failures[0])


def _nobody(address: str, error: Exception) -> ConfigError:
    said = str(error.__cause__ or error).rpartition(">: ")[2] if isinstance(error, OSError) else ""
    return ConfigError(
        f"no Dask scheduler answers at {address}: {said or 'what listens there is none, or speaks TLS'}",
        hint="start one: dask scheduler --port 8786 (its dashboard, on 8787, is another address)",
    )
