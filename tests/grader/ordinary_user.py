"""Run a Python script as an ordinary user, also from root whose Python lies where others may not look."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NOBODY = 65534
ROOT = Path(__file__).resolve().parents[2]
_DROP = """
import ctypes, os, sys
from scalelab.grader import kernel, namespaces
paths = [p for p in namespaces.python_paths(["pytest"]) + sys.argv[1:2] if p.startswith("/root/")]
kernel.unshare(kernel.NEWNS)
kernel.mount("none", "/", flags=kernel.RECURSIVE | kernel.PRIVATE)
if paths:  # the home of root, seen by others: nothing in it but Python
    kernel.mount("tmpfs", "/mnt", "tmpfs")
    os.mkdir("/mnt/.outside")
    kernel.mount("/root", "/mnt/.outside", flags=kernel.BIND)
    kernel.mount("tmpfs", "/root", "tmpfs", options="mode=755")
    for path in paths:
        inner = "/mnt/.outside/" + os.path.relpath(path, "/root")
        if os.path.lexists(path):
            continue
        if os.path.isdir(inner):
            os.makedirs(path)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path, "w").close()
        kernel.mount(inner, path, flags=kernel.BIND)
os.environ["HOME"] = "/nonexistent"
if os.getuid() == 0:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
os.execv(sys.executable, [sys.executable, "-E", *sys.argv[2:]])
""".replace("NOBODY", str(NOBODY))


def run_as_ordinary_user(*arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS`` without root's rights; as it is where we are an ordinary user already."""
    command = [sys.executable, *arguments]
    if os.getuid() == 0:
        command = [sys.executable, "-c", _DROP, str(ROOT), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
