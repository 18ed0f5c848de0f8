"""A small lab whose checks need what training and export labs need: ranks as threads, files, ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path

from grader_tiny import code_cell

CHECKS = """
import numpy as np

from scalelab.grading import check, expect, expect_close

HINTS = ("a", "b", "c")


@check("ranks", points=1, hints=HINTS, limit_s=90)
def ranks(answers):
    "Sum a vector over four ranks."
    mine = answers.rng.normal(size=(4, 6))
    found = answers.inside("try_sum", mine=mine)
    for each in found:
        expect_close(each, mine.sum(0), what="the sum", code="wrong-sum")


@check("export", points=1, hints=HINTS, limit_s=90)
def export(answers):
    "Export a model that takes any number of rows."
    rows = answers.rng.normal(size=(int(answers.rng.integers(2, 9)), 8)).astype(np.float32)
    seen = answers.inside("try_export", rows=rows)
    told = {"what": "the output", "code": "differs", "rtol": 1e-3, "atol": 1e-4}
    expect_close(seen["by_runtime"], seen["by_torch"], **told)


@check("int8", points=1, hints=HINTS, limit_s=90)
def int8(answers):
    "Quantize the exported model with calibration data."
    rows = answers.rng.normal(size=(64, 8)).astype(np.float32)
    model = answers.inside("try_quantize", rows=rows)
    expect(model["bytes"] > 0, "the file is empty", code="empty")
    found = answers.apart("run_model", model=answers.artefact("int8.onnx"), rows=rows)
    expect_close(found, model["output"], what="the output", code="differs", rtol=1e-6)
"""

INSIDE = """
import numpy as np
import onnxruntime
import torch

from scalelab.train.data_parallel import run_in_threads

torch.set_num_threads(1)


def try_sum(answers, *, mine):
    def rank(wire):
        return answers["sum_over_ranks"](wire, torch.from_numpy(mine[wire.rank].copy()))

    return run_in_threads(rank, len(mine))


def try_export(answers, *, rows):
    model = answers["model"]
    answers["export"](model, "model.onnx")
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        by_torch = model(torch.from_numpy(rows))
    return {"by_runtime": session.run(None, {"rows": rows})[0], "by_torch": by_torch}


def try_quantize(answers, *, rows):
    answers["quantize"]("model.onnx", "int8.onnx", rows)
    with open("int8.onnx", "rb") as file:
        model = file.read()
    return {"bytes": len(model), "output": run_model(answers, model=model, rows=rows)}


def run_model(answers, *, model, rows):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"rows": rows})[0]
"""

SETUP = """
import torch
from torch import nn
"""
RANKS = """
def sum_over_ranks(wire, mine):
    total = mine.clone()
    passing = mine.clone()
    for _ in range(wire.world_size - 1):
        incoming = torch.empty_like(passing)
        wire.exchange(passing, (wire.rank + 1) % wire.world_size, incoming, (wire.rank - 1) % wire.world_size)
        total, passing = total + incoming, incoming
    return total
"""
EXPORT = """
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).eval()

def export(model, path):
    rows = torch.zeros(3, 8)
    torch.onnx.export(model, (rows,), path, input_names=["rows"], dynamo=True, external_data=False,
                      dynamic_shapes=({0: torch.export.Dim("n")},))
"""
QUANTIZE = """
def quantize(source, target, rows):
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.batches = iter([{"rows": rows[first : first + 16]} for first in range(0, len(rows), 16)])

        def get_next(self):
            return next(self.batches, None)

    quantization.quantize_static(source, target, Reader(), quant_format=quantization.QuantFormat.QDQ)
"""
ANSWERS = {"ranks": RANKS, "export": EXPORT, "int8": QUANTIZE}


def write_lab(folder: Path) -> Path:
    """Write the lab's files into `folder`; return it."""
    (folder / "checks.py").write_text(CHECKS)
    (folder / "inside.py").write_text(INSIDE)
    stubs = [_task(name, text.partition("\n    ")[0] + "\n    ...") for name, text in ANSWERS.items()]
    stubs[1]["source"] += "  # by torch.onnx.export, say"
    (folder / "lab.ipynb").write_text(json.dumps({"cells": [code_cell(SETUP), *stubs]}))
    return folder


def handed_in() -> bytes:
    """Return a notebook with all tasks solved."""
    tasks = [_task(name, text) for name, text in ANSWERS.items()]
    return json.dumps({"cells": [code_cell(SETUP), *tasks]}).encode()


def _task(name: str, text: str) -> dict:
    cell = code_cell(text)
    cell["metadata"] = {"nbgrader": {"solution": True, "grade_id": name}}
    return cell
