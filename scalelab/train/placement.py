"""Where ranks run: on how many machines, on which device, and over which backend they talk.

On several machines the same command is given on each, with a number of its own::

    machine 0$ scalelab train ddp --processes 4 --machines 2 --machine 0 --rendezvous 10.0.0.1:29500
    machine 1$ scalelab train ddp --processes 4 --machines 2 --machine 1 --rendezvous 10.0.0.1:29500

torchrun gets these as ``--nnodes``, ``--node-rank``, ``--master-addr`` and ``--master-port``. If a machine
has several networks, name the one to use in the environment: ``GLOO_SOCKET_IFNAME=eth1``, for GPUs
``NCCL_SOCKET_IFNAME``. With ``--device cuda`` each rank takes a GPU of its own and NCCL carries the messages;
that path was written without a GPU at hand and has not been run.
"""

from __future__ import annotations

from dataclasses import dataclass

from scalelab.core.errors import ConfigError, did_you_mean

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
"""who carries the messages between ranks on a device"""
DEVICES = ("auto", *BACKENDS)


@dataclass(frozen=True)
class Machines:
    """Several machines that train together, seen from one of them; each gives the same number of ranks."""

    count: int
    number: int
    """of this machine, from 0"""
    rendezvous: str
    """``host:port`` of machine 0, where all meet; a free port that the others can reach"""

    def __post_init__(self) -> None:
        if self.count < 2 or not 0 <= self.number < self.count:
            raise ConfigError(
                f"machine {self.number} of {self.count} machines",
                hint="give 2 machines or more, and each of them its number, from 0",
            )
        host, _, port = self.rendezvous.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(
                f"{self.rendezvous!r} is no place to meet",
                hint="give machine 0's address and a free port of it on all machines: 10.0.0.1:29500",
            )


def local_ranks(world_size: int, machines: Machines | None) -> range:
    """Return the numbers of the ranks that run on this machine.

    Raises:
        ConfigError: the machines do not divide the ranks.
    """
    if machines is None:
        return range(world_size)
    if world_size % machines.count:
        raise ConfigError(
            f"{world_size} ranks cannot be shared equally by {machines.count} machines",
            hint=f"give a multiple of {machines.count}",
        )
    each = world_size // machines.count
    return range(machines.number * each, (machines.number + 1) * each)


def torchrun_flags(world_size: int, machines: Machines | None) -> list[str]:
    """Return what tells torchrun how many ranks to start here, and where they meet the others."""
    here = f"--nproc-per-node={len(local_ranks(world_size, machines))}"
    if machines is None:
        return ["--standalone", "--local-addr=127.0.0.1", here]
    host, _, port = machines.rendezvous.rpartition(":")
    return [
        f"--nnodes={machines.count}",
        f"--node-rank={machines.number}",
        f"--master-addr={host.strip('[]')}",
        f"--master-port={port}",
        here,
    ]


def choose_device(wanted: str, *, gpus: int, local_ranks: int) -> str:
    """Return ``cpu`` or ``cuda``; ``auto`` takes GPUs where there is one for each rank of this machine.

    Raises:
        ConfigError: GPUs are asked for and there are too few: NCCL takes one for each rank.
    """
    if wanted not in DEVICES:
        raise ConfigError(f"there is no device {wanted!r}", hint=did_you_mean(wanted, DEVICES))
    if wanted == "cuda" and gpus < local_ranks:
        raise ConfigError(
            f"{local_ranks} ranks on {gpus} GPUs of this machine",
            hint=f"NCCL takes one GPU for each rank: give at most {gpus} ranks a machine, or --device cpu"
            if gpus
            else "torch sees no GPU here: give --device cpu, or install a torch build with CUDA",
        )
    if wanted == "auto":
        return "cuda" if gpus >= local_ranks else "cpu"
    return wanted


def device_of_rank(device: str, local_rank: int) -> str:
    """Return what ``torch.device`` takes: a GPU of its own for each rank of a machine."""
    return f"cuda:{local_rank}" if device == "cuda" else device
