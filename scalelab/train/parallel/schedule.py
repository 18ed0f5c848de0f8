"""Who does what when in a pipeline: each stage's list of operations, played on paper and by real ranks.

An operation is ``("F", i)`` or ``("B", i)``: the forward or backward pass of micro-batch i. A forward pass
needs that of the stage before; a backward pass needs that of the stage behind and its own stage's forward.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from scalelab.core.errors import ConfigError
from scalelab.train.launch import run_ranks
from scalelab.train.rank import Rank

Operation = tuple[str, int]
Orders = Sequence[Sequence[Operation]]
"""for each stage, its operations in order"""

_WEIGHT = {"F": 1, "B": 2}
"""of an emulated operation: a backward pass is about two forward passes"""


@dataclass(frozen=True)
class Timeline:
    """When each stage did what, if messages take no time."""

    spans: tuple[tuple[tuple[str, int, float, float], ...], ...]
    """for each stage: (kind, micro-batch, begin, end), in its order"""
    seconds: float
    """until the last operation of all is done"""
    waiting: float
    """share of the time in which stages wait: the bubble"""
    held: tuple[int, ...]
    """for each stage: micro-batches, at most, that went forward and not yet backward"""


def play_on_paper(
    orders: Orders, *, forward_s: float | Sequence[float] = 1.0, backward_s: float | Sequence[float] = 1.0
) -> Timeline:
    """Return when each operation runs, if each begins as soon as its stage and what it needs are ready.

    Args:
        forward_s, backward_s: of every stage, or one for each.

    Raises:
        ConfigError: stages wait for each other for ever (the message says for what), or an operation is none.
    """
    stages = len(orders)
    lasts = {"F": _each(forward_s, stages), "B": _each(backward_s, stages)}
    for stage, order in enumerate(orders):
        for operation in order:
            if operation[0] not in lasts:
                raise ConfigError(f"stage {stage} has {operation!r}", hint="give ('F', i) or ('B', i)")
    ended: dict[tuple[int, str, int], float] = {}
    spans: list[list[tuple[str, int, float, float]]] = [[] for _ in orders]
    at = [0] * stages
    moved = True
    while moved:
        moved = False
        for stage, order in enumerate(orders):
            while at[stage] < len(order):
                kind, i = order[at[stage]]
                needs = _needs(stage, kind, i, stages)
                if any(need not in ended for need in needs):
                    break
                free = spans[stage][-1][3] if spans[stage] else 0.0
                begin = max([free, *(ended[need] for need in needs)])
                ended[stage, kind, i] = begin + lasts[kind][stage]
                spans[stage].append((kind, i, begin, ended[stage, kind, i]))
                at[stage] += 1
                moved = True
    for stage, order in enumerate(orders):
        if at[stage] < len(order):
            kind, i = order[at[stage]]
            lacking = next(need for need in _needs(stage, kind, i, stages) if need not in ended)
            raise ConfigError(
                f"stage {stage} waits for ever with {kind}{i}: {lacking[1]}{lacking[2]} of stage "
                f"{lacking[0]} does not come first",
                hint="F needs F of the stage before; B needs B of the stage behind and F of its own",
            )
    seconds = max((span[-1][3] for span in spans if span), default=0.0)
    busy = sum(end - begin for span in spans for _, _, begin, end in span)
    return Timeline(
        tuple(map(tuple, spans)),
        seconds,
        1 - busy / (stages * seconds) if seconds else 0.0,
        tuple(_most_held(order) for order in orders),
    )


def _each(value: float | Sequence[float], stages: int) -> list[float]:
    return [float(value)] * stages if isinstance(value, int | float) else [float(each) for each in value]


def _needs(stage: int, kind: str, i: int, stages: int) -> list[tuple[int, str, int]]:
    """Return the operations, each (stage, kind, micro-batch), that must be over before this one."""
    if kind == "F":
        return [(stage - 1, "F", i)] if stage else []
    return [(stage, "F", i), *([(stage + 1, "B", i)] if stage < stages - 1 else [])]


def _most_held(order: Sequence[Operation]) -> int:
    now = most = 0
    for kind, _ in order:
        now += 1 if kind == "F" else -1
        most = max(most, now)
    return most


@dataclass(frozen=True)
class Played:
    """One run of a schedule by real ranks with emulated stages."""

    seconds: float
    """from the common start until the last rank is done"""
    waiting: float
    """share of the time in which ranks did not work: the bubble, and what messages cost"""
    overslept: float
    """how much longer the emulated work took than it should: 0.1 is a tenth; a busy machine's doing"""


def play_for_real(
    schedules: Mapping[str, Orders],
    *,
    forward_s: float = 0.02,
    numbers: int = 32 * 1024,
    timeout_s: float = 180.0,
) -> dict[str, Played]:
    """Let real processes, a rank a stage, carry out schedules with EMULATED stages: they sleep.

    A forward pass sleeps `forward_s`, a backward pass twice that; order, messages (`numbers` float32) and
    waiting are real. Schedules are played one after the other, in the given order.

    Raises:
        ConfigError: schedules of different numbers of stages, or one whose stages would wait for ever.
    """
    counts = {len(orders) for orders in schedules.values()}
    if len(counts) != 1:
        raise ConfigError(
            f"schedules of {sorted(counts)} stages", hint="give schedules of one number of stages"
        )
    plan, nominal_s = {}, {}
    for name, orders in schedules.items():
        play_on_paper(orders)
        plan[name] = [[[kind, int(i)] for kind, i in order] for order in orders]
        nominal_s[name] = sum(forward_s * _WEIGHT[kind] for order in orders for kind, _ in order)
    arguments = {"schedules": plan, "forward_s": forward_s, "numbers": numbers}
    found = run_ranks(
        "scalelab.train.parallel.schedule:carry_out", arguments, world_size=counts.pop(), timeout_s=timeout_s
    ).results
    return {name: _judge([rank[name] for rank in found], nominal_s[name]) for name in schedules}


def _judge(ranks: Sequence[tuple[float, float]], nominal_s: float) -> Played:
    seconds = max(took_s for _, took_s in ranks)
    worked_s = sum(each_s for each_s, _ in ranks)
    return Played(seconds, 1 - worked_s / (len(ranks) * seconds), worked_s / nominal_s - 1)


def carry_out(
    rank: Rank, schedules: dict[str, list[list[list[Any]]]], forward_s: float, numbers: int
) -> dict[str, tuple[float, float]]:
    """Play this rank's part of every schedule; return for each how long it worked and took [s]."""
    message = torch.zeros(numbers)
    _carry_out(rank, [["F", 0], ["B", 0]], 0.0, message)  # connects the ranks
    found = {}
    for name, orders in schedules.items():
        rank.barrier()
        found[name] = _carry_out(rank, orders[rank.number], forward_s, message)
    return found


def _carry_out(
    rank: Rank, order: list[list[Any]], forward_s: float, message: torch.Tensor
) -> tuple[float, float]:
    started_s, worked_s = time.perf_counter(), 0.0
    sent = []
    for kind, i in order:
        step = 1 if kind == "F" else -1
        source, to = rank.number - step, rank.number + step
        tag = 2 * i + (kind == "B")
        if 0 <= source < rank.world_size:
            dist.recv(torch.empty_like(message), source, tag=tag)
        begin_s = time.perf_counter()
        time.sleep(forward_s * _WEIGHT[kind])
        worked_s += time.perf_counter() - begin_s
        if 0 <= to < rank.world_size:
            sent.append(dist.isend(message, to, tag=tag))
    took_s = time.perf_counter() - started_s
    for each in sent:
        each.wait()
    return worked_s, took_s
