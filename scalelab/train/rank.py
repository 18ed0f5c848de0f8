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
from scalelab.train.placement import BACKENDS, choose_device, device_of_rank


class Rank:
    """Who this process is in the group, and where it says how far it is."""

    def __init__(self, folder: Path, device: str = "cpu"):
        self.folder, self.number, self.world_size = folder, dist.get_rank(), dist.get_world_size()
        self.device = torch.device(device)
        """where its model and data belong; a GPU of its own, or the CPU"""
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

    def synchronize(self) -> None:
        """Wait until this rank's GPU has done what it was given: a clock read before that lies."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

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


def join_group(backend: str = "gloo") -> None:
    """Join torchrun's group, with a store of its own after each restart.

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
    dist.init_process_group(backend, store=store, rank=number, world_size=world_size)


def _arrive(folder: Path, wanted: str) -> Rank:
    """Take this rank's device, and join the group over the backend that belongs to it."""
    local_rank, ranks_here = (int(os.environ[name]) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    gpus = torch.cuda.device_count() if wanted != "cpu" else 0
    kind = choose_device(wanted, gpus=gpus, local_ranks=ranks_here)
    device = device_of_rank(kind, local_rank)
    if kind == "cuda":
        torch.cuda.set_device(device)  # before the group: NCCL ties itself to the current GPU
    join_group(BACKENDS[kind])
    return Rank(folder, device)


def main(folder: Path) -> None:
    """Join the group, call the function, write what it returned."""
    die_with_parent()
    plan = json.loads((folder / "plan.json").read_text())
    sys.path[:] = [*sys.path, *(entry for entry in plan["path"] if entry not in sys.path)]
    torch.set_num_threads(plan["threads"])
    error_path = folder / f"error_{os.environ['RANK']}.json"
    error_path.unlink(missing_ok=True)  # of a run before a restart
    module, name = plan["function"].split(":")
    try:
        rank = _arrive(folder, plan["device"])
        assert rank.world_size == plan["world_size"], (rank.world_size, plan)
        result = getattr(importlib.import_module(module), name)(rank, **plan["arguments"])
    except ScalelabError as error:
        write_json(error_path, {"message": error.message, "hint": error.hint, "when": time.time()})
        raise
    write_json(folder / f"result_{rank.number}.json", {"result": result, "restarts": rank.restarts})
    rank.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    # the interpreter's own ending was seen to abort (SIGABRT) beside gloo's threads, with all results written
    sys.stdout.flush()
    os._exit(0)
