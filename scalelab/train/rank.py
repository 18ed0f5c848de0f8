"""One rank of a group; torchrun starts it: ``torchrun ... -m scalelab.train.rank FOLDER`` (see `launch`)."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from scalelab.core.errors import ScalelabError
from scalelab.core.processes import die_with_parent
from scalelab.train.launch import progress_path


class Rank:
    """Who this process is in the group, and where it says how far it is."""

    def __init__(self, folder: Path):
        self.folder, self.number, self.world_size = folder, dist.get_rank(), dist.get_world_size()
        self.restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
        """how often torchrun has started all ranks again"""
        self.step = self.exchanges = 0
        self.say()
        threading.Thread(target=self._keep_touching, name="alive", daemon=True).start()

    def arrive(self, step: int | None = None) -> None:
        """Say that this rank has come to the next exchange, where it waits for the others."""
        self.step = self.step if step is None else step
        self.exchanges += 1
        self.say()

    def barrier(self) -> None:
        """Wait for the others."""
        self.arrive()
        dist.barrier()

    def say(self) -> None:
        """Write how far this rank is; the parent reads it when a rank dies or hangs."""
        progress = {"pid": os.getpid(), "step": self.step, "exchanges": self.exchanges}
        write_json(progress_path(self.folder, self.number), progress)

    def _keep_touching(self) -> None:
        """Show that this process is not frozen."""
        while True:
            time.sleep(0.5)
            with contextlib.suppress(OSError):  # the folder goes when the parent is done
                os.utime(progress_path(self.folder, self.number))


def write_json(path: Path, content: Any) -> None:
    """Put JSON in its place in one step: a reader sees the old or the new, never half."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(content))
    with contextlib.suppress(PermissionError):  # Windows, while the parent reads it: the next one will do
        os.replace(fresh, path)


def join_group() -> None:
    """Join torchrun's gloo group, with a store of its own after each restart.

    torchrun keeps its store over restarts, and there the new ranks would find the dead ones' addresses (seen
    with torch 2.13: "Connection refused", or a wait for ever).
    """
    environment = os.environ
    number, world_size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    shared = dist.TCPStore(
        environment["MASTER_ADDR"],
        int(environment["MASTER_PORT"]),
        world_size,
        is_master=environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True" and number == 0,
        use_libuv=environment.get("USE_LIBUV", "1") == "1",
    )
    store = dist.PrefixStore(f"life_{environment.get('TORCHELASTIC_RESTART_COUNT', '0')}", shared)
    dist.init_process_group("gloo", store=store, rank=number, world_size=world_size)


def main(folder: Path) -> None:
    """Join the group, call the function, write what it returned."""
    die_with_parent()
    plan = json.loads((folder / "plan.json").read_text())
    sys.path[:] = [*sys.path, *(entry for entry in plan["path"] if entry not in sys.path)]
    torch.set_num_threads(plan["threads"])
    join_group()
    assert dist.get_world_size() == plan["world_size"], (dist.get_world_size(), plan)
    rank = Rank(folder)
    (folder / f"error_{rank.number}.json").unlink(missing_ok=True)  # of a run before a restart
    module, name = plan["function"].split(":")
    try:
        result = getattr(importlib.import_module(module), name)(rank, **plan["arguments"])
    except ScalelabError as error:
        said = {"message": error.message, "hint": error.hint, "when": time.time()}
        write_json(folder / f"error_{rank.number}.json", said)
        raise
    write_json(folder / f"result_{rank.number}.json", {"result": result, "restarts": rank.restarts})
    rank.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    # the interpreter's own ending was seen to abort (SIGABRT) beside gloo's threads, with all results written
    sys.stdout.flush()
    os._exit(0)
