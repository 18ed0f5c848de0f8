"""The keeper of one hostile run: starts the grader in namespaces of its own, and tells what it left behind.

``python hostile_watch.py PLAN.json`` is started by `hostile_ground` under ``unshare``; the plan names the
command, its user and its environment. It plants a secret file where nothing of the machine is touched, waits
for the command, and writes to the plan's ``report`` what is left: processes, mounts, temporary files.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SECRET = "/mnt/secret.txt"
GRACE_S = 5.0
"""a namespace that was killed needs a moment until its processes are gone"""


def main(plan: dict) -> dict:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", "/mnt"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "none", "/dev/shm"], check=True)  # our own
    Path(SECRET).write_text("CANARY_FILE\n")
    os.chmod(SECRET, 0o644)
    if plan["user"]:
        _open_way_to(Path(sys.base_prefix))
    temporary = Path(plan["environment"]["TMPDIR"])
    before = _state(temporary)
    user = {"user": plan["user"], "group": plan["user"], "extra_groups": []} if plan["user"] else {}
    began = time.monotonic()
    grader = subprocess.Popen(
        plan["command"], env=plan["environment"], cwd=plan["folder"], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **user,
    )  # fmt: skip
    try:
        said = grader.communicate(timeout=plan["limit_s"])[0]
    except subprocess.TimeoutExpired:
        grader.send_signal(signal.SIGKILL)
        said = grader.communicate()[0]
    seconds = time.monotonic() - began
    until = time.monotonic() + GRACE_S
    while (left := _left(before, temporary)) and time.monotonic() < until:
        _bury()
        time.sleep(0.05)
    return {
        "exit": grader.returncode,
        "seconds": seconds,
        "said": said.decode("utf8", "replace"),
        "left": left,
    }


def _open_way_to(folder: Path) -> None:
    """Let every user reach Python where it is installed below a closed folder, such as root's home."""
    closed = [each for each in reversed(folder.parents) if not each.stat().st_mode & 0o001]
    if not closed:
        return
    aside = Path("/mnt/aside")
    aside.mkdir()
    subprocess.run(["mount", "--bind", str(folder), str(aside)], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", str(closed[0])], check=True)
    folder.mkdir(parents=True)
    subprocess.run(["mount", "--move", str(aside), str(folder)], check=True)


def _bury() -> None:
    """Take leave of those that ended after their parent: here process 1 is this one."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _state(temporary: Path) -> dict[str, set[str]]:
    return {
        "process": {name for name in os.listdir("/proc") if name.isdigit()},
        "mount": set(Path("/proc/self/mounts").read_text().splitlines()),
        "temporary file": {
            str(path) for folder in (temporary, Path("/dev/shm")) for path in folder.rglob("*")
        },
        "ipc": {
            line for kind in ("shm", "msg", "sem")
            for line in Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]
        },
    }  # fmt: skip


def _left(before: dict[str, set[str]], temporary: Path) -> list[str]:
    now = _state(temporary)
    return [f"{kind} {_told(kind, each)}" for kind in now for each in sorted(now[kind] - before[kind])]


def _told(kind: str, each: str) -> str:
    if kind != "process":
        return each
    try:
        state = Path(f"/proc/{each}/stat").read_text().split()[2]
        return f"{each} ({state}): " + Path(f"/proc/{each}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return each


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    Path(given["report"]).write_text(json.dumps(main(given)))
