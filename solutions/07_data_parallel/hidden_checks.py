"""Hidden checks of lab 07: corners that the visible checks leave to the learner's care."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scalelab.grading import Answers, check, expect, expect_close
from scalelab.models import CharGpt

torch.set_num_threads(1)  # two threads beside a busy neighbour wait for each other
HINTS = (
    "Try the smallest inputs.",
    "One rank; fewer numbers or samples than ranks.",
    "A rank whose share is empty.",
)
Batch = tuple[Tensor, Tensor]


def _gpt(rng: np.random.Generator) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        model = CharGpt(context=4, layers=1, heads=1, width=6)
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


def _batch(rng: np.random.Generator, size: int) -> Batch:
    ids, targets = (torch.from_numpy(rng.integers(0, 96, (size, 4))) for _ in range(2))
    return ids, targets


def _gradient(model: nn.Module, batches: list[Batch]) -> Tensor:
    """Return the gradient of the mean loss over all windows of several batches."""
    ids, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
    return _flat(torch.autograd.grad(loss, list(model.parameters())))


def _flat(tensors: Any) -> Tensor:
    return torch.cat(
        [torch.zeros(0), *(each.detach().flatten() for each in tensors if each is not None)]
    )


def _is_near(found: Tensor, wanted: Tensor) -> bool:
    return found.shape == wanted.shape and bool(
        (found - wanted).norm() <= 1e-3 * wanted.norm()
    )


def _ranks(seen: dict[str, Any], what: str) -> list[Any]:
    expect("stuck" not in seen, f"{what}: {seen.get('stuck')}", code="hidden-stuck")
    return list(seen["ranks"])


@check("ring-corners", points=1, hints=HINTS, limit_s=60)
def rings_of_any_size(answers: Answers) -> None:
    """Sum on one rank, on seven, with fewer numbers than ranks, and in other types."""
    rng = answers.rng
    for ranks, n, kind in (
        (1, 5, "float32"),
        (4, 2, "float32"),
        (7, 23, "float64"),
        (3, 10, "int64"),
    ):
        numbers = [rng.integers(-50, 50, n).astype(kind) for _ in range(ranks)]
        seen = answers.inside("try_ring", numbers=numbers)
        told = f"{n} numbers ({kind}) on {ranks} ranks"
        for report in _ranks(seen, told):
            expect_close(
                report["found"],
                np.sum(numbers, axis=0),
                what=f"the sum of {told}",
                code="ring-corner",
            )
            found_type = str(report["found"].dtype).removeprefix("torch.")
            expect(found_type == kind, f"{told} came back as {found_type}", code="ring-type")
            most = 2 * (ranks - 1) * -(-n // ranks) * np.dtype(kind).itemsize
            expect(
                report["bytes"] <= most,
                f"{told}: {report['bytes']} bytes sent",
                code="ring-bytes",
            )


@check("buckets-corners", points=1, hints=HINTS)
def buckets_of_any_sizes(answers: Answers) -> None:
    """Plan for one parameter, for parameters that all are too large, and for a hundred."""
    rng = answers.rng
    many = [int(size) for size in rng.integers(1, 60, 100)]
    for sizes, limit in (([7], 7), ([9, 9, 9], 4), (many, 100), (many, 1)):
        wanted: list[list[int]] = []
        for number in range(len(sizes))[::-1]:
            if wanted and sum(sizes[each] for each in wanted[-1]) + sizes[number] <= limit:
                wanted[-1].append(number)
            else:
                wanted.append([number])
        found = [list(bucket) for bucket in answers["plan_buckets"](sizes, limit)]
        told = f"{len(sizes)} sizes, limit {limit}: {len(found)} buckets, wanted {len(wanted)}"
        expect(found == wanted, told, code="buckets-corner")


@check("accumulate-corners", points=1, hints=HINTS, limit_s=60)
def any_number_of_micro_batches(answers: Answers) -> None:
    """Exchange once for one micro-batch and for two, on two ranks."""
    rng = answers.rng
    for parts in (1, 2):
        batches = [[_batch(rng, 3) for _ in range(parts)] for _ in range(2)]
        model = _gpt(rng)
        recipe = {"config": model.config, "weights": dict(model.state_dict())}
        seen = answers.inside("try_accumulate", **recipe, batches=batches, stale=0.0)
        wanted = _gradient(model, [each for share in batches for each in share])
        for report in _ranks(seen, f"{parts} micro-batches"):
            found, exchanges = _flat(report["gradients"]), report["exchanges"]
            told = f"{parts} micro-batches: {exchanges} exchanges, or a wrong gradient"
            expect(exchanges == 1 and _is_near(found, wanted), told, code="accumulate-corner")


@check("samples-corners", points=1, hints=HINTS)
def samples_of_any_number(answers: Answers) -> None:
    """Share where there are fewer samples than ranks, where N divides them, and with one rank."""
    seed = int(answers.rng.integers(100))
    for samples, ranks in ((2, 4), (12, 3), (5, 1), (9, 8)):
        calls = [[samples, rank, ranks, 3, seed] for rank in range(ranks)]
        found = answers.inside("try_samples", calls=calls)["found"]
        shares = [[int(each) for each in share] for share in found]
        told = f"{samples} samples on {ranks} ranks: {shares}"
        every = sorted(each for share in shares for each in share)
        sizes = [len(share) for share in shares]
        is_right = every == list(range(samples)) and max(sizes) - min(sizes) <= 1
        expect(is_right, told, code="samples-corner")


@check("threads-corners", points=1, hints=HINTS)
def machines_of_any_size(answers: Answers) -> None:
    """Share out one core, and 64."""
    for given, wanted in (
        ((1, 1), 1),
        ((1, 4, 2), 1),
        ((64, 8), 8),
        ((64, 8, 2), 6),
        ((63, 8, 2), 5),
        ((2, 1, 1), 1),
    ):
        found = answers["threads_per_rank"](*given)
        expect(
            found == wanted, f"{given}: got {found}, wanted {wanted}", code="threads-corner"
        )


@check("train-corners", points=1, hints=HINTS, limit_s=90)
def shares_of_any_size(answers: Answers) -> None:
    """End as one process where a share is empty, with equal shares, on one rank, and under Adam."""
    rng = answers.rng
    for sizes, kind, settings in (
        ([[2, 0], [1, 3]], "SGD", {}),
        ([[2], [2]], "SGD", {}),
        ([[3, 1]], "SGD", {}),
        ([[3, 1], [1, 2]], "Adam", {"eps": 0.1}),  # its steps are no multiples of gradients
    ):
        batches = [[_batch(rng, size) for size in share] for share in sizes]
        models = [_gpt(rng) for _ in sizes]
        weights = [dict(model.state_dict()) for model in models]
        alone = copy.deepcopy(models[0])
        recipe = {"config": models[0].config, "weights": weights, "rate": 0.2, "kind": kind}
        seen = answers.inside("try_train", **recipe, batches=batches, **settings)
        optimizer = getattr(torch.optim, kind)(alone.parameters(), lr=0.2, **settings)
        for shares in zip(*batches, strict=True):
            optimizer.zero_grad()
            ids, targets = (torch.cat(parts) for parts in zip(*shares, strict=True))
            F.cross_entropy(alone(ids).flatten(0, 1), targets.flatten()).backward()
            optimizer.step()
        start, wanted = _flat(models[0].parameters()), _flat(alone.parameters())
        for rank, found in enumerate(_ranks(seen, f"shares of {sizes}")):
            told = f"shares of {sizes}, {kind}: rank {rank} does not end as one process"
            expect(_is_near(_flat(found) - start, wanted - start), told, code="train-corner")
