"""Honest deep learning inside the sandbox: torch's large address space, several ranks, exported files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sandboxes import ask, in_namespaces, warm_process

from scalelab.grader.limits import MIB, Limits
from scalelab.grader.sandbox import WarmProcess

pytestmark = [in_namespaces, pytest.mark.slow]


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmProcess]:
    pytest.importorskip("torch")
    limits = Limits(memory_bytes=512 * MIB)
    with warm_process(
        preload=["torch", "torch._dynamo"], setup_cells=["import torch"], limits=limits
    ) as process:
        yield process


def test_a_tensor_over_the_memory_limit_is_an_error_and_what_was_there_stays(warm):
    fill = "held = torch.ones(size // 4); result = int(held.sum())"
    with warm.learner() as learner:
        assert ask(learner, fill, size=400 * MIB) == 100 * MIB
        assert "can't allocate memory" in ask(learner, fill.replace("held", "more"), size=300 * MIB)
        assert ask(learner, "result = int(held.sum())") == 100 * MIB


def test_a_step_of_an_optimizer_imports_nothing_new(warm):
    source = """
import sys
before = set(sys.modules)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.AdamW(model.parameters())
model(torch.ones(2, 4)).sum().backward()
optimizer.step()
result = sorted(name for name in set(sys.modules) - before if "dynamo" in name or "sympy" in name)
"""
    with warm.learner() as learner:
        assert ask(learner, source) == []


def test_two_ranks_talk_over_loopback(warm):
    source = """
import os
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

def rank(number, answers):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
    dist.init_process_group("gloo", rank=number, world_size=2)
    value = torch.ones(2) * (number + 1)
    dist.all_reduce(value)
    answers.put(value.tolist())
    dist.destroy_process_group()

context = multiprocessing.get_context("fork")
answers = context.Queue()
ranks = [context.Process(target=rank, args=(number, answers)) for number in range(2)]
for each in ranks: each.start()
result = [answers.get(timeout=60) for _ in ranks]
for each in ranks: each.join()
"""
    with warm.learner() as learner:
        assert ask(learner, source, within_s=90) == [[3.0, 3.0], [3.0, 3.0]]
