# ruff: noqa: E501  (a line is a student's line)
"""Class y: honest work with noise around it, and in other shapes. Full points."""

import json

from hostile_case import POINTS, RIGHT, Case, changed, code_cell, honest


def with_line(line: str) -> dict[str, str]:
    """Put a line at the begin of each function."""
    return honest(lambda name, text: text.replace(":\n", f":\n    {line}\n", 1))


def right(name: str, answers: dict[str, str] = RIGHT, **more) -> Case:
    return Case(name, answers=answers, points=POINTS, **more)


def colab(book):
    book["metadata"]["colab"] = {"provenance": [], "name": "Copy of lab.ipynb"}
    for cell in book["cells"]:
        cell["metadata"] = {"id": "aBcD", "colab": {"base_uri": "https://localhost:8080/"}}
        cell["source"] = "".join(cell["source"])


def reversed_tasks(book):
    """The student moved cells: the tasks stand in another order, after a scratch cell."""
    tasks = [each for each in book["cells"] if each["metadata"].get("nbgrader", {}).get("solution")]
    rest = [each for each in book["cells"] if each not in tasks]
    return {**book, "cells": [*rest[:6], code_cell("scratch = 1"), *tasks[::-1], *rest[6:]]}


def split_cells(book):
    cells = []
    for cell in book["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("solution"):
            cells.append(code_cell("".join(cell["source"])))
            cell = {**cell, "source": "# moved to the cell above"}
        cells.append(cell)
    return {**book, "cells": cells}


def run_twice(book):
    return {**book, "cells": book["cells"] + [code_cell(text) for text in RIGHT.values()]}


def windows_lines(raw: bytes) -> bytes:
    book = json.loads(raw)
    for cell in book["cells"]:
        cell["source"] = "".join(cell["source"]).replace("\n", "\r\n")
    return b"\xef\xbb\xbf" + json.dumps(book, indent=1).replace("\n", "\r\n").encode()


CASES = [
    right("y-prints", with_line("print('debug', 'é' * 50)")),
    right("y-warns", with_line("import warnings; warnings.warn('only a warning')")),
    right("y-progress-bars", with_line("import sys; sys.stderr.write('\\r 50%|#####     |'); sys.stderr.flush()")),
    right("y-logs", with_line("import logging; logging.warning('here')")),
    right("y-writes-to-descriptors", with_line("import os; os.write(1, b'hello'); os.write(2, b'hello')")),
    right("y-ends-in-text", after="'all done'"),
    right("y-numpy-scalars", honest(
        bubble_fraction="def bubble_fraction(p, m):\n    return np.float64((p - 1) / (m + p - 1))",
        quantize_int8=RIGHT["quantize_int8"].replace("float(x.abs().max()) / 127 or 1.0", "x.abs().max() / 127"),
    )),
    right("y-early-error", before="1 / 0"),
    right("y-late-error", after="raise RuntimeError('I wondered')"),
    right("y-syntax-error-in-scratch", before="def broken(:", after="if True"),
    right("y-shadowed-names", before="_x = _r = x = want = wanted = found = None; answers = check = slow = 3"),
    right("y-magics", before="%matplotlib inline\n%timeit -n1 -r1 sum(range(10))\n!echo hello\n!pip --version",
          after="%time 1 + 1\n%pwd\n%who"),
    right("y-awaits-and-displays", before="""
import asyncio
from IPython.display import HTML, Markdown, clear_output, display
await asyncio.sleep(0)
display(HTML("<b>hi</b>"), Markdown("*hi*")); clear_output()
async def later(): return 12
await later()
"""),
    right("y-asks-for-input", before="name = input('your name? ')"),
    right("y-uses-the-lab", before="lab.check('softmax'); lab.hint('softmax'); lab.predict('softmax', '12')",
          after="lab.check('softmax')\nlab.progress() if hasattr(lab, 'progress') else None"),
    right("y-needs-the-network", before="import urllib.request\nurllib.request.urlopen('http://localhost:9/data.csv', timeout=2)"),
    right("y-writes-files", before="""
import pathlib, pickle, tempfile
pathlib.Path("data").mkdir(exist_ok=True); pathlib.Path("data/x.txt").write_text("12")
tempfile.NamedTemporaryFile().write(b"x"); pickle.loads(pickle.dumps({1: 2}))
np.save("x.npy", np.arange(9)); torch.save({"x": torch.ones(3)}, "x.pt")
"""),
    right("y-runs-a-process", before="import subprocess, sys\nassert subprocess.run([sys.executable, '-c', '1']).returncode == 0"),
    right("y-threads-and-pools", before="""
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool: assert sum(pool.map(abs, range(10))) == 45
"""),
    right("y-trains-a-little", before="""
net = torch.nn.Linear(8, 1); opt = torch.optim.AdamW(net.parameters())
for _ in range(20):
    opt.zero_grad(); net(torch.randn(16, 8)).square().mean().backward(); opt.step()
"""),
    right("y-global-seeds", before="import random\nrandom.seed(1); np.random.seed(1); torch.manual_seed(1)\n"
          "torch.set_default_dtype(torch.float64); torch.set_grad_enabled(True)"),
    right("y-much-output", before="for n in range(3000): print('epoch', n, 'loss', 1 / (n + 1))"),
    right("y-lambdas", honest(
        bubble_fraction="bubble_fraction = lambda p, m: (p - 1) / (m + p - 1)",
        softmax="softmax = lambda x: (lambda e: e / e.sum(-1, keepdims=True))(np.exp(x - x.max(-1, keepdims=True)))",
    )),
    right("y-callable-objects", honest(
        bubble_fraction="class Share:\n    def __call__(self, p, m): return (p - 1) / (m + p - 1)\nbubble_fraction = Share()",
        softmax="import functools\ndef _soft(x, axis):\n    e = np.exp(x - x.max(axis=axis, keepdims=True))\n"
                "    return e / e.sum(axis=axis, keepdims=True)\nsoftmax = functools.partial(_soft, axis=-1)",
    )),
    right("y-decorated", before="""
import functools, time
def timed(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        began = time.perf_counter(); out = function(*args, **kwargs); print(time.perf_counter() - began)
        return out
    return call
""", answers=honest(lambda name, text: "@timed\n" + text)),
    right("y-annotated", honest(lambda name, text: "from __future__ import annotations\n" + text)),
    right("y-no-grad-left-on", honest(quantize_int8="@torch.no_grad()\n" + RIGHT["quantize_int8"])),
    right("y-colab", change=changed(colab)),
    right("y-other-order", change=changed(reversed_tasks)),
    right("y-own-cells", change=changed(split_cells)),
    right("y-answered-twice", change=changed(run_twice)),
    right("y-windows", change=windows_lines),
    right("y-no-metadata", change=changed(lambda book: {
        "nbformat": 4, "nbformat_minor": 5, "cells": [{**each, "metadata": {}} for each in book["cells"]]})),
    right("y-no-setup-cells", change=changed(lambda book: {**book, "cells": [
        code_cell("import math, time\nimport numpy as np\nimport torch"), *map(code_cell, RIGHT.values())]})),
    Case("y-one-of-six", answers={"softmax": RIGHT["softmax"]}, points=2),
    Case("y-gives-up-half-way", answers={**RIGHT, "quantize_int8": "def quantize_int8(x):\n    return x.int8(", "ring_allreduce": "..."},
         points=8),
]  # fmt: skip
