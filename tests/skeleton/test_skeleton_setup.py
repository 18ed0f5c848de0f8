"""The set-up: finds a fitting Python, refuses what is too small, resumes, and knows when it is done."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from scalelab.core.machine import free_port
from scalelab.core.processes import start, stop_tree

ROOT = Path(__file__).resolve().parents[2]
GIB = 1024**3

# A build backend of a few lines, so that pip has something to install and no index is asked.
TOY_BACKEND = """
import os, pathlib, time, zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    if os.environ.get("TOY_HANGS"):
        pathlib.Path(os.environ["TOY_HANGS"]).touch()
        time.sleep(600)
    name, info = "scalelab-0.1.0-py3-none-any.whl", "scalelab-0.1.0.dist-info"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
        wheel.writestr("scalelab/__main__.py", "print('toy 0.1.0')")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: scalelab\\nVersion: 0.1.0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""


@pytest.fixture
def checks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("setup_checks")


@pytest.fixture
def setup(checks):
    spec = importlib.util.spec_from_file_location("scalelab_setup", ROOT / "scripts" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pythons(checks, monkeypatch):
    """Let the machine have the interpreters of a table: name -> (version, bits, can make environments)."""

    def install(table):
        found = {name: (f"/opt/{name}", *facts) for name, facts in table.items()}
        running = found.pop("running", None)
        monkeypatch.setattr(checks.sys, "platform", "linux")
        monkeypatch.setattr(
            checks,
            "look_at",
            lambda name: running if name == sys.executable else found.get(name.split("/")[-1]),
        )

    return install


@pytest.mark.parametrize(
    ("table", "chosen"),
    [
        ({"running": ((3, 11), 64, True), "python3.13": ((3, 13), 64, True)}, "/opt/running"),
        ({"running": ((3, 9), 64, True), "python3.12": ((3, 12), 64, True)}, "/opt/python3.12"),
        ({"running": ((3, 14), 64, True), "python3.10": ((3, 10), 64, True)}, "/opt/python3.10"),
        ({"running": ((3, 11), 32, True), "python3.11": ((3, 11), 64, True)}, "/opt/python3.11"),
        ({"running": ((3, 11), 64, False), "python3.10": ((3, 10), 64, True)}, "/opt/python3.10"),
    ],
    ids=["the running one", "newer on the path", "older on the path", "64-bit", "with ensurepip"],
)
def test_a_fitting_python_is_found(checks, pythons, table, chosen):
    pythons(table)
    assert checks.find_python("")[0] == chosen


@pytest.mark.parametrize("version", [(3, 9), (3, 14)], ids=["too old", "too new"])
def test_an_unfitting_python_is_named_and_the_next_step_said(checks, pythons, version):
    pythons({"running": (version, 64, True)})
    with pytest.raises(
        checks.CannotGoOn, match=rf"3\.10 to 3\.13.*/opt/running is Python 3\.{version[1]}"
    ) as said:
        checks.find_python("")
    assert "get one: " in said.value.hint


def test_a_python_that_was_asked_for_is_not_replaced_by_another(checks, pythons):
    pythons({"running": ((3, 11), 64, True), "python3.9": ((3, 9), 64, True)})
    with pytest.raises(checks.CannotGoOn, match=r"/opt/python3\.9 is Python 3\.9"):
        checks.find_python("python3.9")


def test_a_python_without_ensurepip_is_told_which_package_brings_it(checks, pythons):
    pythons({"running": ((3, 12), 64, False)})
    with pytest.raises(checks.CannotGoOn, match="ensurepip") as said:
        checks.find_python("")
    assert "python3.12-venv" in said.value.hint


@pytest.fixture
def room(checks, monkeypatch, tmp_path):
    """Check a machine with that much free disk and memory [GiB]."""

    def check(free_gib, memory_gib, *, has_torch):
        usage = type("Usage", (), {"free": int(free_gib * GIB)})
        monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: usage)
        monkeypatch.setattr(checks, "total_memory", lambda: int(memory_gib * GIB))
        checks.check_room(tmp_path / ".venv", has_torch)

    return check


@pytest.mark.parametrize(
    ("free_gib", "memory_gib", "has_torch", "problem"),
    [(3, 8, False, "3.0 GiB free"), (0.5, 8, True, "0.5 GiB free"), (50, 1.5, False, "1.5 GiB of memory")],
)
def test_too_little_room_is_said_with_the_number(checks, room, free_gib, memory_gib, has_torch, problem):
    with pytest.raises(checks.CannotGoOn, match=problem):
        room(free_gib, memory_gib, has_torch=has_torch)


@pytest.mark.parametrize(
    ("free_gib", "memory_gib", "has_torch"), [(50, 8, False), (3, 8, True), (50, 0, False)], ids=str
)
def test_enough_room_passes_and_unknown_memory_too(room, free_gib, memory_gib, has_torch):
    room(free_gib, memory_gib, has_torch=has_torch)


def test_the_cpu_index_needs_less_disk(room, monkeypatch):
    monkeypatch.setenv("SCALELAB_TORCH_INDEX", "https://example.org/cpu")
    room(5, 8, has_torch=False)


def test_memory_of_this_machine_is_known(checks):
    assert checks.total_memory() > GIB // 4


@pytest.mark.parametrize(
    ("output", "hint"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("NewConnectionError: Failed to establish a new connection", "network"),
        ("ERROR: No matching distribution found for torch==2.13.0", "another Python"),
        ("something else", "pip's lines above"),
    ],
)
def test_what_pip_said_last_becomes_the_next_step(setup, checks, output, hint):
    assert hint in setup.pip_hint(output)
    assert checks.AGAIN in setup.pip_hint(output)


def test_a_package_without_record_is_installed_again(setup, tmp_path):
    venv = tmp_path / "v"
    site = venv / ("Lib" if os.name == "nt" else "lib/python3.11") / "site-packages"
    for name, files in {
        "whole-1.dist-info": ["METADATA", "RECORD"],
        "torn-1.dist-info": ["METADATA"],
        "~orn": [],
    }.items():
        (site / name).mkdir(parents=True)
        for file in files:
            (site / name / file).touch()
    assert setup.drop_torn_installs(venv) == ["torn"]
    assert [path.name for path in site.iterdir()] == ["whole-1.dist-info"]


@pytest.fixture
def finished(setup, monkeypatch, tmp_path):
    """A finished set-up with the extra bench, in a checkout of two files."""
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text("a")
    venv = tmp_path / ".venv"
    setup.venv_python(venv).parent.mkdir(parents=True)
    setup.venv_python(venv).touch()
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.7\n")
    setup.write_stamp(venv, {"bench"})
    return venv


def test_a_finished_set_up_is_recognised(setup, finished):
    assert setup.finished_extras(finished) == {"bench"}


@pytest.mark.parametrize("change", ["pyproject.toml", "constraints.txt", "python", "stamp", "interpreter"])
def test_a_changed_input_makes_the_set_up_run_again(setup, finished, change):
    if change == "python":
        (finished / "pyvenv.cfg").write_text("version = 3.12.1\n")
    elif change == "stamp":
        setup.stamp_path(finished).write_text('{"inputs": ')
    elif change == "interpreter":
        setup.venv_python(finished).unlink()
    else:
        (finished.parent / change).write_text("b")
    assert setup.finished_extras(finished) is None


@pytest.fixture
def toy(tmp_path):
    """A checkout with our set-up and a package that needs nothing; returns (command, environment)."""
    (tmp_path / "scripts").mkdir()
    for name in ("setup.py", "setup_checks.py"):
        (tmp_path / "scripts" / name).write_bytes((ROOT / "scripts" / name).read_bytes())
    (tmp_path / "backend.py").write_text(TOY_BACKEND)
    (tmp_path / "constraints.txt").write_text("torch==2.13.0\n")
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "scalelab"\nversion = "0.1.0"\n'
    )
    env = {
        key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "TOY_", "SCALELAB_"))
    }
    env |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PYTHONWARNINGS": ""}
    return [sys.executable, str(tmp_path / "scripts" / "setup.py"), "--extras", ""], env


def run(command, env):
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_a_killed_set_up_goes_on_and_a_finished_one_does_nothing(toy, tmp_path):
    command, env = toy
    hangs = tmp_path / "hangs"
    child = start(command, env={**env, "TOY_HANGS": str(hangs)}, output=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not hangs.exists():
        assert child.poll() is None, "the set-up ended before it could be killed"
        assert time.monotonic() < deadline
    stop_tree(child.pid, grace_s=0)
    child.wait()
    stamp = tmp_path / ".venv" / "scalelab-setup.json"
    assert not stamp.exists()

    again = run(command, env)
    assert again.returncode == 0, again.stderr
    assert "step 4 of 4" in again.stdout
    assert json.loads(stamp.read_text())["extras"] == []

    third = run(command, env)
    assert third.returncode == 0
    assert "up to date" in third.stdout
    assert "step" not in third.stdout


@pytest.mark.slow
def test_without_a_network_the_set_up_says_so_and_how_to_go_on(toy):
    command, env = toy
    env = {
        **env,
        "PIP_NO_INDEX": "0",
        "PIP_INDEX_URL": f"http://127.0.0.1:{free_port()}/simple",
        "PIP_RETRIES": "1",
    }
    done = run([*command[:-1], "torch"], env)
    assert done.returncode == 2
    assert "error: pip ended with exit code 1" in done.stderr
    assert "the network or the package index did not answer" in done.stderr
    assert "run the same command again" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_folder_that_is_no_environment_is_left_alone(toy, tmp_path):
    command, env = toy
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "thesis.txt").write_text("mine")
    done = run(command, env)
    assert done.returncode == 2
    assert "is no virtual environment" in done.stderr
    assert (tmp_path / ".venv" / "thesis.txt").read_text() == "mine"


@pytest.mark.slow
def test_the_wheel_works_outside_the_checkout(tmp_path):
    """Built the way it is published: a source archive, then the wheel from that."""
    build = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(ROOT),
    ]
    built = subprocess.run(build, capture_output=True, text=True, timeout=200)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "datasets/manifest.toml",
        "datasets/digits.npz",
        "datasets/pins.csv.xz",
        "benchmarks/road.toml",
    ):
        assert f"scalelab/_files/{wanted}" in names
    assert not [name for name in names if name.startswith(("solutions", "tests", "labs"))]

    site = tmp_path / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(pip, check=True, timeout=100)
    code = (
        "import scalelab, scalelab.data as d; print(scalelab.__file__); print(len(d.load_digits().labels));"
        "from scalelab.cli import main; main(['--version'])"
    )
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    home, digits, version = done.stdout.splitlines()
    assert Path(home).is_relative_to(site)
    assert digits == "5000"
    assert version == "scalelab, version 0.1.0"
