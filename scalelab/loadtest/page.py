"""locust's own web page over our schedule: press Start, watch, press Stop; again as often as you like."""

from __future__ import annotations

import http.client
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scalelab.core.errors import RunFailed
from scalelab.core.lazy import need_installed
from scalelab.core.machine import check_port, free_port
from scalelab.core.processes import start, stop_tree
from scalelab.loadtest.driver import CONNECTIONS, load_result, plan_open
from scalelab.loadtest.generator import locust_command, locust_environment, merge, read_result, write_plan
from scalelab.loadtest.profile import Profile
from scalelab.loadtest.results import LoadResult
from scalelab.loadtest.target import Target

HOST = "127.0.0.1"
PORT = 8089
_STARTUP_S = 60.0


def serve_page(
    target: Target,
    profile: Profile,
    warmup_s: float = 1.0,
    *,
    host: str = HOST,
    port: int = PORT,
    timeout_s: float = 10.0,
    connections: int = CONNECTIONS,
    seed: int = 0,
    on_ready: Callable[[str], None] = lambda url: None,
    wait: Callable[[], None] = lambda: time.sleep(0.2),
) -> LoadResult | None:
    """Serve the page until Ctrl-C; return the last run that went to its end, if any.

    The page's own statistics are rounded to two digits; the returned result is not.

    Args:
        host: whom the page is shown; the default is this machine only, 0.0.0.0 is everybody.
        port: 0 takes a free one.
        on_ready: called with the page's address when it answers.
        wait: called over and over while the page is served; a KeyboardInterrupt in it ends the page.

    Raises:
        ResourceError: the port is taken.
        RunFailed: nothing listens at the target, or locust ended by itself.
    """
    need_installed(["locust", "hdrh"], extra="load")
    check_port(port, host)
    port = port or free_port(host)
    target.check_listening()
    spec, times_s = plan_open(profile, warmup_s, timeout_s=timeout_s, connections=connections, seed=seed)
    with tempfile.TemporaryDirectory(prefix="scalelab-load-") as name, tempfile.TemporaryFile() as output:
        folder = Path(name)
        write_plan(folder, target, {**spec, "web": True}, times_s)
        command = locust_command("OpenUser", 1, "--web-host", host, "--web-port", str(port))
        child = start(command, cwd=folder, env=locust_environment(folder), output=output)
        try:
            reachable = HOST if host == "0.0.0.0" else host
            _wait_for(reachable, port, child.poll)
            on_ready(f"http://{reachable}:{port}")
            while child.poll() is None:
                wait()
        except KeyboardInterrupt:
            pass
        finally:
            ended = child.poll()
            stop_tree(child.pid, grace_s=2.0)
            child.wait()
        if ended not in (None, 0):
            output.seek(0)
            raise RunFailed(
                f"locust's page ended with {ended}; its last output:\n"
                f"{output.read()[-2000:].decode(errors='replace')}",
                hint="is another program on this port? choose one: --web-port 8090",
            )
        if not (folder / "result.0").exists():
            return None
        raw = merge([read_result(folder, 0, 0, "")])
        return load_result(raw, profile, warmup_s, mode="open", users=None, processes=1)


def _wait_for(host: str, port: int, has_ended: Callable[[], int | None]) -> None:
    until_s = time.monotonic() + _STARTUP_S
    while has_ended() is None:
        connection = http.client.HTTPConnection(host, port, timeout=1.0)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
            return
        except OSError:
            if time.monotonic() > until_s:
                raise RunFailed(
                    f"locust's page did not answer within {_STARTUP_S:g} s", hint="is the machine very busy?"
                ) from None
            time.sleep(0.1)
        finally:
            connection.close()
