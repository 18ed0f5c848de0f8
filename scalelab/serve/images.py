"""The service's container images: built by whatever builder this machine has, and weighed layer by layer.

Docker, podman and buildah read the same ``docker/Dockerfile``. What this machine's pip is told (an index, a
certificate) goes into the build as secrets and stays out of the images.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scalelab import __version__
from scalelab.core.errors import ConfigError, MissingDependency, RunFailed
from scalelab.core.machine import git_revision

TARGETS = ("gateway", "worker", "load")
BUILDERS = ("docker", "podman", "buildah")
BASE = "python:3.11-slim"
_PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "timeout", "proxy")
_CERT_INSIDE = "/etc/ssl/pip.pem"


@dataclass(frozen=True)
class Layer:
    """What one step added to an image."""

    what: str
    size_bytes: int


def find_builder(asked: str = "") -> str:
    """Return the first of `BUILDERS` that works here, or the one that was asked for.

    Raises:
        ConfigError: it was asked for one that is not known.
        MissingDependency: there is none, or not the one that was asked for.
    """
    if asked and asked not in BUILDERS:
        raise ConfigError(f"{asked!r} builds no images", hint=f"give one of {', '.join(BUILDERS)}")
    for name in [asked] if asked else BUILDERS:
        if shutil.which(name) and (name != "docker" or _docker_answers()):
            return name
    raise MissingDependency(
        f"{asked or 'no builder of images'} {'does not work' if asked else 'works'} here",
        hint="start Docker, or on Debian and Ubuntu: apt-get install buildah podman",
    )


def build_image(target: str, *, builder: str, base: str = BASE, tag: str = __version__) -> str:
    """Build ``scalelab-TARGET:TAG`` and return its name.

    Args:
        target: one of `TARGETS`.
        builder: one of `BUILDERS`, as `find_builder` gave it.
        base: the image that it begins with: Python 3.11 with pip.

    Raises:
        ConfigError: this is no checkout: the Dockerfile is not there.
        RunFailed: the build failed; the message has its last lines.
    """
    home = Path(__file__).resolve().parents[2]
    if not (home / "docker" / "Dockerfile").is_file():
        raise ConfigError(
            f"{home} has no docker/Dockerfile", hint="images are built in a checkout of ScaleLab"
        )
    name = f"scalelab-{target}:{tag}"
    with tempfile.TemporaryDirectory(prefix="scalelab-build-") as folder:
        command = [builder, "build", "--file", "docker/Dockerfile", "--target", target, "--tag", name]
        command += ["--build-arg", f"BASE={base}", "--build-arg", f"VERSION={__version__}"]
        command += ["--build-arg", f"REVISION={git_revision(home) or 'unknown'}"]
        if (
            builder != "docker"
        ):  # the only isolation that works inside a container; HEALTHCHECK wants the format
            command += ["--isolation", "chroot", "--format", "docker", "--layers", "--network", "host"]
        for secret, path in _pip_secrets(Path(folder)):
            command += ["--secret", f"id={secret},src={path}"]
        done = subprocess.run(
            [*command, "."],
            cwd=home,
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    if done.returncode != 0:
        tail = "\n".join(done.stdout.strip().splitlines()[-12:])
        raise RunFailed(
            f"{builder} could not build {name}:\n{tail}", hint="the last lines say which step failed"
        )
    return name


def image_layers(name: str, *, builder: str) -> list[Layer]:
    """Return what an image holds, largest first: base image, packages, our code.

    Raises:
        RunFailed: there is no such image.
    """
    sizes: dict[str, int] = {}
    for created_by, size_bytes in _buildah_steps(name) if builder == "buildah" else _steps(name, builder):
        what = _what(created_by)
        sizes[what] = sizes.get(what, 0) + size_bytes
    return sorted((Layer(*item) for item in sizes.items()), key=lambda layer: -layer.size_bytes)


def _what(created_by: str) -> str:
    if "COPY" in created_by and "/opt/venv" in created_by:
        return "packages"
    return "our code" if "COPY" in created_by and "/app" in created_by else "base image"


def _steps(name: str, engine: str) -> list[tuple[str, int]]:
    form = "json" if engine == "podman" else "{{json .}}"
    text = _output([engine, "history", "--no-trunc", "--human=false", "--format", form, name])
    rows = json.loads(text) if engine == "podman" else [json.loads(line) for line in text.splitlines()]
    return [(row["CreatedBy"], int(row.get("size", row.get("Size", 0)))) for row in rows]


def _buildah_steps(name: str) -> list[tuple[str, int]]:
    facts = json.loads(_output(["buildah", "inspect", "--type", "image", name]))
    sizes = [layer["size"] for layer in json.loads(facts["Manifest"])["layers"]]
    steps = [step["created_by"] for step in facts["OCIv1"]["history"] if not step.get("empty_layer")]
    return list(zip(steps, sizes, strict=True))


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RunFailed(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-300:]}", hint="is it built?")
    return done.stdout


def _docker_answers() -> bool:
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _pip_secrets(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield secrets for the build from what this machine's pip is told; none if it is told nothing."""
    told = _pip_settings()
    lines = [f"{key} = {told[key]}" for key in _PIP_KEYS if told.get(key) and "file:" not in told[key]]
    cert = Path(told.get("cert", ""))
    if cert.is_file():
        lines.append(f"cert = {_CERT_INSIDE}")
        yield "pip_cert", cert
    if lines:
        path = folder / "pip.conf"
        path.write_text("\n".join(["[global]", *lines, ""]))
        path.chmod(0o600)  # an index may have a password
        yield "pip_conf", path


def _pip_settings() -> dict[str, str]:
    """Return pip's settings by their short names, the environment's over the files'."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
    found = {}
    for line in sorted(listed.stdout.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        found[name.rpartition(".")[2]] = value.strip("'\"")
    return found
