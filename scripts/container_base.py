"""Make the image python:3.11-slim from Debian's packages, where no registry of images can be reached.

    sudo python scripts/container_base.py          # debootstrap, then buildah; about two minutes, once

The image stays in the store of buildah and podman (CONTAINERS_STORAGE_CONF says which), under the name that
the Dockerfile asks for. It is Debian's own Python 3.11 with pip: fit to build and try our images, not to ship
them.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAME = "docker.io/library/python:3.11-slim"
SUITE, MIRROR = "bookworm", "http://deb.debian.org/debian"  # the release whose Python is 3.11
PACKAGES = "python3,python3-pip,ca-certificates"
NOT_NEEDED = (
    "var/cache/apt/archives",
    "var/lib/apt/lists",
    "var/log",
    *(f"usr/share/{name}" for name in ("doc", "man", "locale", "info")),
)


def main() -> int:
    """Make the image unless it is there; 0 if it is there afterwards."""
    if has_image():
        print(f"{NAME} is there")
        return 0
    path = os.pathsep.join(
        [os.environ.get("PATH", os.defpath), "/usr/sbin"]
    )  # Debian's place for debootstrap
    missing = [name for name in ("debootstrap", "buildah") if not shutil.which(name, path=path)]
    if missing:
        print(f"error: {' and '.join(missing)} missing\nhint: make system-packages")
        return 1
    if os.geteuid() != 0:
        print("error: only root can make a root file system\nhint: sudo python scripts/container_base.py")
        return 1
    with tempfile.TemporaryDirectory(prefix="scalelab-base-") as folder:
        root = Path(folder) / "root"
        call("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root), MIRROR)
        for name in NOT_NEEDED:
            for path in (root / name).glob("*"):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        (root / "usr/bin/python").symlink_to("python3")
        container = call("buildah", "from", "scratch", wants_output=True)
        call("buildah", "add", "--quiet", container, str(root), "/")
        call(
            "buildah",
            "config",
            "--env",
            "PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin",
            "--cmd",
            "python3",
            container,
        )
        call("buildah", "commit", "--quiet", "--rm", container, NAME)
    return 0 if has_image() else 1


def has_image() -> bool:
    """Tell whether buildah knows the image."""
    found = shutil.which("buildah")
    return (
        bool(found)
        and subprocess.run([found, "inspect", "--type", "image", NAME], capture_output=True).returncode == 0
    )


def call(*command: str, wants_output: bool = False) -> str:
    """Run a command and show it; its failure ends this script."""
    print("$", *command, flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE if wants_output else None, text=True, check=True)
    return (done.stdout or "").strip()


if __name__ == "__main__":
    sys.exit(main())
