"""What lab 07 does beside the learner's code: it runs ranks in memory, and reports what they did.

Nothing here knows what is right; the checks work that out, from the same numbers, weights and windows.
"""

from __future__ import annotations

import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from scalelab.models import CharGpt
from scalelab.train.data_parallel import BucketedModel, parallel_step, run_in_memory
from scalelab.train.data_parallel.memory import RanksStuck

torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other: 0.01 s become seconds


def try_ring(answers, *, numbers):
    """Report what `numbers[r]` became on rank r, what each rank sent, and to whom."""
    function = answers["ring_all_reduce"]

    def rank(wire):
        noted = _Noting(wire)
        found = function(torch.from_numpy(numbers[wire.rank].copy()), noted)
        traffic = wire.traffic
        return {
            "found": found,
            "partners": sorted(noted.partners),
            "messages": traffic.messages,
            "bytes": traffic.sent_bytes,
            "collectives": traffic.launches,
        }

    return _on_ranks(rank, len(numbers))


def try_uneven_ring(answers, *, numbers):
    """Report the same, and an exception in words: the ring has turned with numbers that N divides."""
    try:
        return try_ring(answers, numbers=numbers)
    except (IndexError, RuntimeError, ValueError) as error:
        return {"raised": f"{type(error).__name__}: {error}"}


def try_accumulate(answers, *, config, weights, batches, stale):
    """Report gradients and weights on each rank, and what was exchanged and seen on the way."""
    function = answers["accumulate"]
    models = [_gpt(config, weights) for _ in batches]
    for model in models:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, stale)  # left over from an earlier step

    def rank(wire):
        replica = _AsDdp(models[wire.rank], wire)
        function(replica, batches[wire.rank])
        return {
            "gradients": _gradients(replica.module),
            "weights": _weights(replica.module),
            "exchanges": wire.traffic.launches,
            "rows": replica.rows,
            "graphs": replica.graphs,
            "outside": replica.outside,
        }

    return _on_ranks(rank, len(batches))


def try_samples(answers, *, calls):
    """Report the samples of each call, and whether somebody else's random numbers changed."""
    before = _random_states()
    found = [answers["rank_samples"](*call) for call in calls]
    after = _random_states()
    return {"found": found, "disturbed": [name for name in before if before[name] != after[name]]}


def try_train(answers, *, config, weights, batches, rate, kind="SGD", **settings):
    """Report the weights with which each rank ends; rank r begins with `weights[r]`."""
    function = answers["train"]
    models = [_gpt(config, each) for each in weights]

    def rank(wire):
        model = models[wire.rank]
        optimizer = getattr(torch.optim, kind)(model.parameters(), lr=rate, **settings)
        function(model, optimizer, batches[wire.rank], wire)
        return _weights(model)

    return _on_ranks(rank, len(batches))


def try_guard(answers, *, kind):
    """Report what the learner's test says of a training of some kind."""

    def train(model, optimizer, batches, wire):
        own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        replica = BucketedModel(model, wire)
        if kind == "own start":
            model.load_state_dict(own)
        for batch in batches:
            if kind in {"as one", "own start", "others keep theirs"}:
                parallel_step(replica, optimizer, [batch], wire, max_grad_norm=float("inf"))
                continue
            optimizer.zero_grad()
            if kind == "no exchange":
                with replica.no_sync():
                    _loss(replica, batch).backward()
            else:
                (_loss(replica, batch) * (wire.world_size if kind == "sum" else 1)).backward()
            optimizer.step()
        if kind == "others keep theirs" and wire.rank:
            model.load_state_dict(own)

    return answers["trains_as_one"](train)


class _Noting:
    """A wire that remembers to whom it sent, by how many places to the right they sit."""

    def __init__(self, wire):
        self._wire, self.partners = wire, set()

    def __getattr__(self, name):
        return getattr(self._wire, name)

    def exchange(self, outgoing, to, incoming, source):
        self.partners.add((to - self._wire.rank) % self._wire.world_size)
        self._wire.exchange(outgoing, to, incoming, source)


class _AsDdp(BucketedModel):
    """As torch's DDP, it decides in the forward pass whether the backward pass exchanges."""

    def __init__(self, model, wire):
        super().__init__(model, wire, bucket_bytes=1 << 30)
        self.rows = self.graphs = self.outside = 0
        self._will_sync, self._alive = True, []

    def forward(self, *inputs):
        self.rows = max(self.rows, len(inputs[0]))
        self._will_sync = self.syncs
        out = super().forward(*inputs)
        if out.requires_grad:
            self._alive.append(out.register_hook(lambda _: self._alive.pop() and None))  # its backward came
            self.graphs = max(self.graphs, len(self._alive))
        return out

    def _arrived(self, number):
        before = self.syncs
        self.outside += number == 0 and self._will_sync and not before
        self.syncs = self._will_sync
        try:
            super()._arrived(number)
        finally:
            self.syncs = before


def _on_ranks(function, world_size):
    """Return what the ranks report, or how they got stuck."""
    try:
        return {"ranks": run_in_memory(function, world_size)}
    except RanksStuck as stuck:
        return {"stuck": stuck.message, "kind": stuck.kind, "hint": stuck.hint}


def _loss(model, batch):
    ids, targets = batch
    return F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())


def _gpt(config, weights) -> nn.Module:
    model = CharGpt(**config)
    model.load_state_dict(weights)
    return model


def _random_states():
    _, keys, place, *_ = np.random.get_state()
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy.random": (keys.tobytes(), place),
        "random": random.getstate(),
    }


def _weights(model):
    return [parameter.detach() for parameter in model.parameters()]


def _gradients(model):
    return [parameter.grad for parameter in model.parameters()]
