"""How a bucket of gradients becomes the mean over all ranks: as it is, in bfloat16, or its largest numbers.

Each way is a callable ``(wire, bucket, gradients) -> Pending``, for our own buckets and, by `ddp_hook`, for
torch's DDP. (torch's own bf16 hook refuses gloo, which can add bfloat16 well enough.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.futures import Future

from scalelab.core.errors import ConfigError
from scalelab.train.data_parallel.wire import Pending, Wire

Exchange = Callable[[Wire, int, Tensor], Pending]
"""takes a wire, the number of the bucket, and its gradients ``(n,)``; the result is their mean ``(n,)``"""


def exchange_plain(wire: Wire, bucket: int, gradients: Tensor) -> Pending:
    """Average as they are: n x 4 bytes in float32."""
    del bucket
    return wire.all_reduce(gradients.div_(wire.world_size))


def exchange_bf16(wire: Wire, bucket: int, gradients: Tensor) -> Pending:
    """Average in bfloat16: half the bytes, 8 bits of mantissa, and sums rounded to them too."""
    del bucket
    rounded = gradients.to(torch.bfloat16).div_(wire.world_size)
    return wire.all_reduce(rounded).then(gradients.copy_)


class TopK:
    """Average the largest numbers of each rank only, and keep the rest for the next step (error feedback).

    A rank hands over ``8 k`` bytes a bucket: k values and k places. Law: what was not sent is not lost; sent
    numbers and `left` add up to all gradients so far. Stich et al. 2018, "Sparsified SGD with memory".

    Args:
        share: of the numbers in a bucket; at least one is sent.
    """

    def __init__(self, share: float = 0.01):
        if not 0 < share <= 1:
            raise ConfigError(f"a share of {share} of the gradients", hint="give one above 0, at most 1")
        self.share = share
        self.left: dict[int, Tensor] = {}
        """what this rank has not sent yet, by bucket"""

    def __call__(self, wire: Wire, bucket: int, gradients: Tensor) -> Pending:
        """Begin the exchange of one bucket."""
        due = gradients + self.left[bucket] if bucket in self.left else gradients.clone()
        places = due.abs().topk(max(1, int(self.share * len(due)))).indices
        values = due[places].float()
        due[places] = 0
        self.left[bucket] = due
        packed = torch.stack([places.int(), values.view(torch.int32)])  # one message: (2, k) int32

        def add_up(packed_of_all: Tensor) -> Tensor:
            gradients.zero_()
            for places, values in packed_of_all:
                gradients.index_add_(0, places, values.view(torch.float32).to(gradients.dtype))
            return gradients.div_(wire.world_size)

        return wire.all_gather(packed).then(add_up)


def ddp_hook(wire: Wire, exchange: Exchange = exchange_plain) -> Callable[[Any, Any], Future]:
    """Return a communication hook for torch's DDP: ``ddp.register_comm_hook(None, ddp_hook(wire))``."""

    def hook(state: Any, bucket: dist.GradBucket) -> Future:
        del state
        return exchange(wire, bucket.index(), bucket.buffer()).future()

    # DDP compares annotations with its own classes, and `annotations` from __future__ makes them text
    hook.__annotations__ = {"bucket": dist.GradBucket, "return": Future[Tensor]}
    return hook
