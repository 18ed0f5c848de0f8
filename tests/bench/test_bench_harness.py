"""What a point costs over its notebook's own work: few processes, few imports, and how it is measured."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def run(*words, code=""):
    command = [sys.executable, "-c", code] if code else [sys.executable, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_papermill_is_imported_without_what_costs_most_and_both_stay_importable():
    said = run(
        code="import sys; from scalelab.bench.execute import load_papermill; papermill = load_papermill()\n"
        "print(sorted({'rfc3987_syntax', 'pyarrow', 'lark'} & sys.modules.keys()))\n"
        "import pyarrow; print(pyarrow.__name__, papermill.execute_notebook.__name__)"
    )
    assert said.split("\n")[:2] == ["[]", "pyarrow execute_notebook"]


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux: it looks at /proc")
def test_a_point_is_two_processes_papermill_and_the_kernel(tmp_path):
    work = "import os; parents = []; pid = os.getpid()\nwhile pid > 1 and len(parents) < 9:\n"
    work += (
        "    pid = int(open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[1]); parents.append(pid)\n"
    )
    work += f"open({str(tmp_path / 'parents')!r}, 'w').write(' '.join(map(str, parents)))\n"
    script = (
        "import sys; sys.path.insert(0, 'scripts'); import bench_harness as harness\n"
        "from pathlib import Path\n"
        f"harness.NOTEBOOK['cells'][1]['source'] += {chr(10) + work!r}\n"
        f"folder = Path({str(tmp_path)!r}); parts, others = harness.measure(1, folder)\n"
        "import os; print(os.getpid(), len(parts))"
    )
    pid, parts = map(int, run(code=script).split()[-2:])
    parents = list(map(int, (tmp_path / "parents").read_text().split()))
    assert parents.index(pid) == 1, "the kernel's parent is papermill's process, whose parent is the runner"
    assert parts == 6


def test_the_cost_is_printed_with_its_parts_n_and_spread():
    said = run(str(ROOT / "scripts" / "bench_harness.py"), "--points", "2")
    assert "seconds, n = 2" in said
    rows = re.findall(r"^(.{56}) +([\d.]+) +([\d.]+) +([\d.]+)$", said, re.MULTILINE)
    found = {name.strip(): [float(value) for value in values] for name, *values in rows}
    assert len(found) == 6
    assert all(low <= median <= high for median, low, high in found.values())
    whole, *parts = list(found.values())[:4]
    assert sum(part[1] for part in parts) <= whole[0] + 0.05, "its parts are no more than the whole"
