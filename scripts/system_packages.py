"""Install the programs that some tests use and that pip cannot bring: `make system-packages`.

Only what is missing is installed, and only by apt (Debian, Ubuntu); elsewhere it says what to install.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import time

NO_CONTAINERS = "only on Linux: with Docker the images can be built, their tests are skipped"
WANTED = {
    "redis-server": (
        ("redis-server", "valkey-server"),
        "brew install redis",
        "no build for Windows: use WSL",
    ),
    "rabbitmq-server": (
        ("rabbitmq-server",),
        "brew install rabbitmq",
        "no test of it on Windows: its page is https://www.rabbitmq.com/docs/install-windows",
    ),
    "chromium": (
        ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
        "brew install --cask chromium",
        "winget install Google.Chrome",
    ),
    "iproute2": (
        ("tc",),
        "only on Linux: a cable between network namespaces; the tests that lay one are skipped",
        "only on Linux: a cable between network namespaces; the tests that lay one are skipped",
    ),
    "prometheus": (  # the server and promtool
        ("promtool",),
        "brew install prometheus",
        "see prometheus.io/download; the tests that scrape are skipped",
    ),
    # the container images: built and run where no Docker engine is
    **{
        name: ((name,), NO_CONTAINERS, NO_CONTAINERS) for name in ("buildah", "podman", "runc", "debootstrap")
    },
    "docker-compose": (("docker-compose",), "Docker Desktop brings it", "Docker Desktop brings it"),
    # torch.compile: a compiler, and the headers of the Python that it compiles for
    "g++": (
        ("g++", "clang++", "c++", "cl"),
        "xcode-select --install",
        "winget install Microsoft.VisualStudio.BuildTools, with C++",
    ),
    "python3-dev": (
        (os.path.join(sysconfig.get_path("include"), "Python.h"),),
        "install Python from python.org or Homebrew: it brings its headers",
        "install Python from python.org: it brings its headers",
    ),
}
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])  # Debian's place for tc
TRIES = 3


def main() -> int:
    """Install what is missing; 0 if all is there afterwards, 1 if not."""
    missing = [package for package, (programs, *_) in WANTED.items() if not any(map(find, programs))]
    if not missing:
        print(f"system packages: {' and '.join(WANTED)} are there")
        return 0
    as_root = root_prefix()
    if not shutil.which("apt-get") or as_root is None:
        print(f"system packages: {', '.join(missing)} missing; tests that use them are skipped. To install:")
        for package in missing:
            _, mac, windows = WANTED[package]
            debian = f"sudo apt-get install {package}"
            print(f"  {windows if os.name == 'nt' else mac if sys.platform == 'darwin' else debian}")
        return 1
    # RUNLEVEL=1: Debian's redis-server would otherwise start a service on port 6379
    if "ubuntu" in os_release():
        missing = [name.replace("chromium", "chromium-browser") for name in missing]
    apt = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"]
    options = ["-y", "-q", "--no-install-recommends", "-o", "Acquire::Retries=3"]
    if attempt([*apt, "update", "-q"]) and attempt([*apt, "install", *options, *missing]):
        return 0
    print(
        f"error: apt could not install {', '.join(missing)}\nhint: see its lines above, then run this again"
    )
    return 1


def find(program: str) -> "str | None":
    """Return where a program lies, also where only root looks for it; of a header, its own path."""
    if program.endswith(".h"):
        return program if os.path.exists(program) else None
    return shutil.which(program, path=PATH)


def root_prefix() -> "list | None":
    """Return what makes a command run as root: nothing for root, else sudo; None if there is no way."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return []
    return ["sudo"] if shutil.which("sudo") else None


def os_release() -> str:
    """Return what the system says of itself; empty where it does not."""
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            return file.read().lower()
    except OSError:
        return ""


def attempt(command: list) -> bool:
    """Run a command up to three times; a mirror that is down for a moment is common."""
    for number in range(1, TRIES + 1):
        print(f"$ {' '.join(command)}", flush=True)
        if subprocess.call(command) == 0:
            return True
        if number < TRIES:
            time.sleep(5 * number)
    return False


if __name__ == "__main__":
    sys.exit(main())
