"""Who trains on which sample: every sample once an epoch, on any number of ranks.

torch's `DistributedSampler` gives all ranks the same number of samples, and for that repeats some or drops
some. Here each *global batch* is shared out instead. Shares may differ by one sample, so each rank's gradient
must weigh as much as it has targets (`parallel_step` does that).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from scalelab.core.errors import ConfigError


class ShardedSampler:
    """Yields this rank's share of each batch of an epoch, as a list of sample numbers (perhaps an empty one).

    Laws: over all ranks, an epoch holds each of `samples` exactly once. All ranks take the same number of
    steps, so none waits for one that has finished. The union of a step's shares depends on `seed`, epoch and
    batch size alone: another number of ranks trains on the same batches in the same order.

    A pass is an epoch and moves on to the next; `state` and `restore` take one up in the middle.

    Args:
        samples: how many there are.
        batch_size: samples of a step over all ranks; the last step of an epoch takes what is left.
        rank: from 0.
        shuffle: draw a new order for each epoch; otherwise samples come in their own order.
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        *,
        rank: int,
        world_size: int,
        seed: int = 0,
        shuffle: bool = True,
    ):
        if samples < 1 or batch_size < 1:
            raise ConfigError(
                f"{samples} samples in batches of {batch_size}",
                hint="give samples and a batch size from 1 up",
            )
        if not 0 <= rank < world_size:
            raise ConfigError(
                f"rank {rank} of {world_size} ranks does not exist",
                hint="ranks count from 0 to world size - 1",
            )
        self.samples, self.batch_size, self.seed, self.shuffle = samples, batch_size, seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.epoch = self.step = 0
        """where the next share comes from"""

    def __len__(self) -> int:
        """Steps of an epoch."""
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the shares of the rest of this epoch."""
        order = self.order(self.epoch)
        while self.step < len(self):
            batch = order[self.step * self.batch_size : (self.step + 1) * self.batch_size]
            self.step += 1  # before the yield: a state saved after this step's training points to the next
            # rounding down i * len / N at both ends leaves nothing out and gives nothing twice
            ends = [(self.rank + side) * len(batch) // self.world_size for side in (0, 1)]
            yield batch[ends[0] : ends[1]].tolist()
        self.epoch, self.step = self.epoch + 1, 0

    def order(self, epoch: int) -> np.ndarray:
        """Return the order of all samples in an epoch, ``(samples,) int64``; the same on every rank."""
        if not self.shuffle:
            return np.arange(self.samples)
        # raw draws: numpy's own `permutation` may change with its version
        return np.random.default_rng((self.seed, epoch)).random(self.samples).argsort(kind="stable")

    def state(self) -> dict[str, Any]:
        """Return where this sampler stands, and over what, as plain data; equal on all ranks."""
        return {name: getattr(self, name) for name in ("epoch", "step", *_RECIPE)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where another sampler of the same recipe stood, on any number of ranks.

        Raises:
            ConfigError: that one shared out other samples, batches or orders.
        """
        other = [
            f"{name} {state.get(name)}, not {getattr(self, name)}"
            for name in _RECIPE
            if state.get(name) != getattr(self, name)
        ]
        if other:
            raise ConfigError(
                f"the saved sampler had {'; '.join(other)}",
                hint="go on with the settings that the training began with, or begin anew",
            )
        self.epoch, self.step = int(state["epoch"]), int(state["step"])


_RECIPE = ("samples", "batch_size", "seed", "shuffle")
