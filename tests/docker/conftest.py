"""The images, built once for all tests here, and the places where that happens."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from docker_engine import Engine

from scalelab.core.machine import free_port
from scalelab.core.processes import start, stop_tree
from scalelab.serve.embedded import prepare_embedded
from scalelab.serve.images import BASE, TARGETS, build_image, find_builder

ROOT = Path(__file__).resolve().parents[2]
TAG = "test"


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """What runs containers here: Docker, else podman as root, with a store of its own in the user's cache."""
    if sys.platform != "linux":
        pytest.skip("only on Linux")
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
        yield Engine("docker")
        return
    for program in ("podman", "buildah", "runc", "debootstrap"):
        if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"):
            pytest.skip(f"{program} is not installed: make system-packages")
    if os.geteuid() != 0:
        pytest.skip("only on machines with a Docker engine, or as root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_STORAGE_CONF", str(write_storage(tmp_path_factory.mktemp("storage"))))
        yield Engine("podman")


def write_storage(folder: Path) -> Path:
    """Write where images lie: kept between runs, since the base takes minutes; `vfs` where overlay fails."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scalelab" / "containers"
    runroot = Path(tempfile.gettempdir()) / f"scalelab-containers-{os.getuid()}"
    file = folder / "storage.conf"
    for driver in ("overlay", "vfs"):
        roots = f'graphroot = "{cache / driver}"\nrunroot = "{runroot / driver}"\n'
        file.write_text(f'[storage]\ndriver = "{driver}"\n{roots}')
        env = {**os.environ, "CONTAINERS_STORAGE_CONF": str(file)}
        if subprocess.run(["buildah", "info"], env=env, capture_output=True).returncode == 0:
            break
    return file


@pytest.fixture(scope="session")
def images(engine):
    """All images, on a base made of Debian's packages where no registry of images is asked."""
    if engine.name == "podman":
        made = subprocess.run(
            [sys.executable, "scripts/container_base.py"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert made.returncode == 0, made.stdout[-2000:]
    builder = find_builder("docker" if engine.name == "docker" else "buildah")
    yield {target: build_image(target, builder=builder, base=BASE, tag=TAG) for target in TARGETS}
    engine.call("image", "prune", "--force", "--filter", "until=48h")  # layers of builds long ago


@pytest.fixture(scope="session")
def broker_url(tmp_path_factory):
    """A broker on this machine, which the containers share the network of."""
    folder, port = tmp_path_factory.mktemp("broker"), free_port()
    embedded = prepare_embedded(folder, port)
    with (folder / "log").open("wb") as output:
        server = start(embedded.command, output=output)
    yield embedded.url
    stop_tree(server.pid)
    server.wait()
