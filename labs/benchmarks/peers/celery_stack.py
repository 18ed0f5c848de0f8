"""Run what Celery needs as one tree of processes: a Redis or Valkey, the worker, the web server.

python -m peers.celery_stack PEERS_PYTHON PORT
"""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from pathlib import Path

from peers.workload import WORKERS
from scalelab.core.machine import free_port
from scalelab.core.processes import start, stop_tree
from scalelab.serve.embedded import prepare_embedded


def main() -> None:
    """Start the three and wait for SIGTERM."""
    python, port = sys.argv[1:3]
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    with tempfile.TemporaryDirectory(prefix="peers-celery-") as folder:
        broker = prepare_embedded(Path(folder), free_port())
        told = {"PEERS_REDIS": broker.url}
        worker = ["-m", "celery", "-A", "peers.celery_app:cel", "worker", "--concurrency", str(WORKERS)]
        web = ["-m", "uvicorn", "peers.celery_app:app", "--host", "127.0.0.1", "--port", port]
        quiet = ["--log-level", "warning", "--no-access-log"]
        commands = (
            list(broker.command),
            [python, *worker, "--loglevel", "ERROR", "--without-gossip", "--without-mingle"],
            [python, *web, *quiet],
        )
        processes = [start(command, env=told) for command in commands]
        stopping.wait()
        for process in reversed(processes):
            stop_tree(process.pid, grace_s=3.0)
            process.wait()


if __name__ == "__main__":
    main()
