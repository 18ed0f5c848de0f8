"""All-reduce on a ring, written out: every rank only ever sends to its right neighbour.

Each of N ranks cuts its numbers into N chunks. In N - 1 rounds of *reduce-scatter* partial sums travel round
the ring, until each rank holds one chunk's whole sum; in N - 1 rounds of *all-gather* these travel on, until
all ranks hold all of them. A rank sends 2(N - 1) chunks of M/N bytes: less than 2M, however many ranks there
are. No algorithm needs fewer: Patarasu and Yuan 2009, "Bandwidth optimal all-reduce algorithms
for clusters of workstations".

Shape suffixes in this file: N = ranks and chunks, C = numbers in a chunk.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scalelab.train.data_parallel.wire import Wire


def ring_all_reduce(tensor: Tensor, wire: Wire) -> Tensor:
    """Replace `tensor` by the sum over all ranks; return it.

    Law: a rank sends exactly `ring_bytes`, in 2(N - 1) messages. Where N does not divide the number of
    elements, they are padded with zeros to the next multiple, so that all chunks are equal.

    Args:
        tensor: of the same shape and type on all ranks.
    """
    chunks_NC = _cut(tensor, wire.world_size)
    reduce_scatter(chunks_NC, wire)
    all_gather(chunks_NC, wire)
    tensor.copy_(chunks_NC.flatten()[: tensor.numel()].view_as(tensor))
    return tensor


def reduce_scatter(chunks_NC: Tensor, wire: Wire) -> None:
    """Sum chunks on their way round: afterwards rank r holds the whole sum of chunk (r + 1) mod N."""
    n, right, left = _neighbours(wire)
    received_C = torch.empty_like(chunks_NC[0])
    for turn in range(n - 1):
        outgoing, incoming = (wire.rank - turn) % n, (wire.rank - turn - 1) % n
        wire.exchange(chunks_NC[outgoing], right, received_C, left)
        chunks_NC[incoming] += received_C


def all_gather(chunks_NC: Tensor, wire: Wire) -> None:
    """Pass finished chunks on: rank r begins with chunk (r + 1) mod N, and all end with all."""
    n, right, left = _neighbours(wire)
    for turn in range(n - 1):
        outgoing, incoming = (wire.rank + 1 - turn) % n, (wire.rank - turn) % n
        wire.exchange(chunks_NC[outgoing], right, chunks_NC[incoming], left)


def ring_bytes(elements: int, element_bytes: int, world_size: int) -> int:
    """Return what each rank sends: ``2(N - 1)/N * M`` bytes, with M padded to equal chunks."""
    return 2 * (world_size - 1) * -(-elements // world_size) * element_bytes


def _cut(tensor: Tensor, n: int) -> Tensor:
    chunks_NC = torch.zeros(n, -(-tensor.numel() // n), dtype=tensor.dtype)
    chunks_NC.view(-1)[: tensor.numel()] = tensor.flatten()
    return chunks_NC


def _neighbours(wire: Wire) -> tuple[int, int, int]:
    return wire.world_size, (wire.rank + 1) % wire.world_size, (wire.rank - 1) % wire.world_size
