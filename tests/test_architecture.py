"""The rules of the house: imports point down, files stay small, nothing heavy is loaded before it is used."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "scalelab"

# Which scalelab packages each may import, inside functions too. serve reaches the model by a "module:factory"
# string only. A new arrow is a change here, in the same commit, with its reason.
ALLOWED: dict[str, set[str]] = {
    # subjects: the road
    "data": {"core"},
    "models": {"core"},
    "train": {"core", "data", "models"},
    "compress": {"core", "data", "models"},
    "serve": {"core"},
    "loadtest": {"core"},
    "cost": {"core"},
    # tools: the classroom
    "bench": {"core"},
    "authoring": {"core", "grading"},
    "grading": {"core"},
    "classroom": {"core", "grading"},
    "grader": {"core", "grading"},
    "gradebook": {"core", "grading"},
    "course": {
        "core",
        "grading",
        "classroom",
        "grader",
        "gradebook",
    },  # a term: from the lab to the gradebook
    # below all
    "core": set(),
}
COMPOSERS = {"cli"}  # may import everything, inside command functions
FACADES = COMPOSERS | {"core"}  # without a public surface of their own: one imports their modules
HEAVY = {
    "torch",
    "numpy",
    "pandas",
    "plotly",
    "nbformat",
    "papermill",
    "locust",
    "gevent",
    "fastapi",
    "starlette",
    "pydantic",
    "uvicorn",
    "redis",
    "prometheus_client",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "PIL",
    "psutil",
    "jupytext",
    "IPython",
    "ipywidgets",
    "pyarrow",
    "polars",
    "duckdb",
    "dask",
    "distributed",
    "mlperf_loadgen",
}
CORE_PACKAGES = {"numpy": "anywhere", "psutil": "inside functions"}
LINES = 400


def packages() -> list[str]:
    return sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def sources(package: str) -> list[Path]:
    found = sorted((PACKAGE / package).rglob("*.py"))
    assert found, f"{package} holds no Python file"
    return found


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Yield (absolute module, line, is at the top of the module) for every import of a file.

    ``from a import b`` yields a.b, since b may be a module; what only type checkers read (``TYPE_CHECKING``)
    is an arrow like any other, but is not loaded.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at_top = {id(node) for node in _run_on_import(tree)}
    parts = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) in at_top
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                yield f"{module}.{alias.name}", node.lineno, id(node) in at_top


def _run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _run_on_import(child)


def owner(module: str) -> str | None:
    """Return the package of scalelab that a module belongs to; None for others and for scalelab itself."""
    parts = module.split(".")
    is_ours = parts[0] == "scalelab" and len(parts) > 1 and (PACKAGE / parts[1]).is_dir()
    return parts[1] if is_ours else None


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_every_package_has_its_arrows_written_down():
    assert set(packages()) == set(ALLOWED) | COMPOSERS


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_point_down(package):
    wrong = [
        f"{where(path, line)} imports {module}"
        for path in sources(package)
        for module, line, _ in imports(path)
        if (target := owner(module)) and target != package and target not in ALLOWED[package]
    ]
    assert not wrong, wrong


def test_allowed_arrows_have_no_cycle():
    done: set[str] = set()
    while ready := {name for name, below in ALLOWED.items() if below <= done} - done:
        done |= ready
    assert done == set(ALLOWED)


def test_core_needs_numpy_at_most():
    seen = [
        (module.split(".")[0], top, where(path, line))
        for path in sources("core")
        for module, line, top in imports(path)
        if module.split(".")[0] not in {*sys.stdlib_module_names, "scalelab"}
    ]
    assert seen, "core imports neither numpy nor psutil: the walk is broken"
    wrong = [(name, at) for name, top, at in seen if top > (CORE_PACKAGES.get(name) == "anywhere")]
    assert not wrong, wrong
    assert {name for name, *_ in seen} <= set(CORE_PACKAGES)


def test_command_modules_import_what_they_call_inside_the_command():
    light = {*sys.stdlib_module_names, "click", "scalelab"}
    wrong = [
        f"{where(path, line)} imports {module}"
        for path in sources("cli")
        for module, line, top in imports(path)
        if top and (module.split(".")[0] not in light or owner(module) not in {None, "core", "cli"})
    ]
    assert not wrong, wrong


def test_locust_is_never_imported_into_our_process():
    """It monkey-patches sockets and threads on import: only what locust itself runs may do it."""
    inside = {"loadtest/locustfile.py", "loadtest/alarm.py"}
    importers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for module, *_ in imports(path)
        if module.split(".")[0] in {"locust", "gevent"} or module == "scalelab.loadtest.alarm"
    }
    assert importers <= inside


def test_files_stay_small():
    files = [
        path
        for folder in ("scalelab", "tests", "scripts", "datasets", "labs")
        for path in (ROOT / folder).rglob("*.py")
        if ".ipynb_checkpoints" not in path.parts
    ]
    assert len(files) > 20
    long = {
        str(path.relative_to(ROOT)): count
        for path in files
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LINES
    }
    assert not long, f"over {LINES} lines: {long}"


@pytest.mark.parametrize("package", sorted(set(ALLOWED) - FACADES))
def test_a_package_names_its_public_surface(package):
    module = importlib.import_module(f"scalelab.{package}")
    names = module.__all__
    assert names, f"scalelab.{package}.__all__ is empty"
    assert len(names) == len(set(names))
    hidden = [name for name in names if (PACKAGE / package / f"{name}.py").exists()]
    assert not hidden, f"{hidden} would hide modules of the same name"


@pytest.mark.slow
@pytest.mark.parametrize("package", sorted(set(ALLOWED) - FACADES))
def test_every_public_name_is_there_and_documented(package):
    module = importlib.import_module(f"scalelab.{package}")
    for name in module.__all__:
        value = getattr(module, name)
        assert not callable(value) or value.__doc__, f"scalelab.{package}.{name} has no docstring"


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that a clean interpreter has loaded after a statement."""
    code = (
        f"import json, sys\n{statement}\nprint(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


HELP = "from scalelab.cli import main; main(['--help'], standalone_mode=False)"


@pytest.mark.parametrize("statement", ["import scalelab", HELP], ids=["import", "help"])
def test_nothing_heavy_is_loaded_before_it_is_used(statement):
    loaded = loaded_by(statement)
    assert "scalelab" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_importing_a_package_loads_no_heavy_library(package):
    assert not loaded_by(f"import scalelab.{package}") & (HEAVY - {"numpy"})
