"""The constraints file pins all that the package asks for, and nothing that ties it to one machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
MINOR_VERSIONS = ("3.10", "3.11", "3.12", "3.13")


def pinned_for(python: str) -> dict[str, str]:
    pins: dict[str, str] = {}
    for pin in PINS:
        if pin.marker is None or pin.marker.evaluate(
            {"python_version": python, "python_full_version": f"{python}.0"}
        ):
            name = canonicalize_name(pin.name)
            assert name not in pins, f"{name} is pinned twice for Python {python}"
            pins[name] = str(pin.specifier)
    return pins


def asked_for(extra: str) -> list[Requirement]:
    found = []
    for line in PROJECT["optional-dependencies"][extra]:
        requirement = Requirement(line)
        if requirement.name == "scalelab":
            found += [inner for name in sorted(requirement.extras) for inner in asked_for(name)]
        else:
            found.append(requirement)
    return found


def test_pins_are_exact_and_without_local_builds():
    assert len(PINS) > 100
    for pin in PINS:
        assert re.fullmatch(r"==[0-9a-z.]+", str(pin.specifier)), (
            f"{pin}: want ==VERSION, without +cpu or a range"
        )


@pytest.mark.parametrize("python", MINOR_VERSIONS)
def test_everything_that_dev_asks_for_is_pinned_within_its_range(python):
    pins = pinned_for(python)
    wanted = [*map(Requirement, PROJECT["dependencies"]), *asked_for("dev")]
    assert len(wanted) > 20
    for requirement in wanted:
        if requirement.marker and not requirement.marker.evaluate({"python_version": python}):
            continue
        pin = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin.removeprefix("==")), f"{requirement} against {pin}"


def test_the_extras_of_the_design_are_there():
    wanted = {"serve", "load", "lab", "bench", "grade", "author", "data", "frameworks", "dev", "all"}
    assert wanted <= set(PROJECT["optional-dependencies"])


def test_torch_is_a_range_so_that_colab_keeps_its_own():
    (torch,) = (requirement for requirement in asked_for("torch") if requirement.name == "torch")
    assert all(clause.operator in {">=", ">"} for clause in torch.specifier)


@pytest.mark.skipif(shutil.which("make") is None, reason="only on systems with make")
def test_make_without_a_target_lists_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert targets
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True).stdout
    for target in targets[1].split():
        assert f"make {target} " in shown


def test_every_pin_runs_on_the_first_release_of_each_python_that_its_marker_admits():
    """A pin that wants 3.11.5 under a marker for 3.11 sends pip backtracking for ever on 3.11.2."""
    checked, wrong = 0, []
    for pin in PINS:
        try:
            found = metadata.distribution(pin.name)
        except metadata.PackageNotFoundError:
            continue
        if str(pin.specifier) != f"=={found.version}" or not found.metadata.get("Requires-Python"):
            continue
        wanted = SpecifierSet(found.metadata["Requires-Python"])
        for minor in MINOR_VERSIONS:
            full = f"{minor}.0"
            admits = pin.marker is None or pin.marker.evaluate(
                {"python_version": minor, "python_full_version": full}
            )
            checked += admits
            if admits and full not in wanted:
                wrong.append(f"{pin} needs Python {wanted}, not {full}")
    assert checked > 200
    assert not wrong
