"""Namespaces of the Linux kernel: a small read-only system for the warm process, a private room per learner.

The warm process lives in namespaces of its own, with a root made of nothing but the programs and libraries
that Python needs. What is not bound there does not exist: no solutions, no submissions, no grades, no home
folders. A learner process gets, on top, its own process ids, network (loopback only), host name, System V
objects, and a working folder in memory that vanishes with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from scalelab.grader import confine, kernel

ROOM = "/run/learner"
WORK = f"{ROOM}/work"
SETUP = "/run/setup"
"""what the set-up cells wrote, seen read-only by every learner process"""
HOMES = {"HOME": f"{ROOM}/home", "TMPDIR": f"{ROOM}/tmp"}
_FIRST_USER, USERS = 61184, 40
_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/sys/devices/system",
)
_PYTHONS = ("python3", f"python3.{sys.version_info.minor}")  # Debian's sitecustomize.py lies there
_ETC = (
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "localtime",
    "mime.types",
    "fonts",
    *_PYTHONS,
)
_SPACES = kernel.NEWNS | kernel.NEWNET | kernel.NEWIPC | kernel.NEWUTS
_TERMINALS = 16
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LIBRARIES = ("stdlib", "platstdlib", "purelib", "platlib")
_WRITTEN = {
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}


def enter(visible: Sequence[str], *, setup_bytes: int) -> None:
    """Go on in a child process (pid 1) that sees only `visible` of the files; the caller's process waits.

    Raises:
        OSError: the machine does not allow it; nothing outside this process has changed.
    """
    shown = _with_targets([*_SYSTEM, *(f"/etc/{name}" for name in _ETC), *visible])
    _own_user_space(block_of_users())
    kernel.unshare(_SPACES | kernel.NEWPID | kernel.NEWCGROUP)
    _become_child()
    kernel.mount("none", "/", flags=kernel.RECURSIVE | kernel.PRIVATE)
    _build_root(shown)
    kernel.make_read_only("/")
    _mount_room(setup_bytes)
    os.chmod(WORK, 0o755)
    kernel.mount(WORK, SETUP, flags=kernel.BIND)
    kernel.make_read_only(SETUP)
    os.chdir(WORK)


def block_of_users() -> int | None:
    """Return the first user id for this warm process's learners; no system gives such numbers to people.

    None where we may not give user ids away: as an ordinary user, or in a container that knows only a few.
    """
    first = _FIRST_USER + os.getpid() % 100 * USERS
    return first if os.getuid() == 0 and _are_ours(first) else None


def first_user() -> int | None:
    """Return the first user id for learner processes; None where this user space knows only our own user."""
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        inside, _, count = map(int, line.split())
        if inside >= _FIRST_USER and count == USERS:
            return inside
    return None


def enter_room(disk_bytes: int, owner: int | None) -> None:
    """Give the calling process, the first of a new process space, everything else of its own."""
    kernel.unshare(_SPACES)
    kernel.mount("proc", "/proc", "proc", kernel.NOSUID | kernel.NODEV | kernel.NOEXEC)
    _mount_terminals()
    _mount_room(disk_bytes, owner)
    kernel.bring_up_loopback()
    socket.sethostname("learner")


def counted_outside() -> int:
    """Return how many processes outside count against a limit inside: none since kernel 5.14."""
    version = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
    return 0 if version >= (5, 14) else confine.count_processes_of_user()


def python_paths(packages: Iterable[str] = ()) -> list[str]:
    """Return the files and folders that this Python, its installed packages, and `packages` live in."""
    import importlib.util
    import site
    import sysconfig

    found = [sys.executable, *(sysconfig.get_path(kind) for kind in _LIBRARIES)]
    prefixes = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    for prefix in prefixes:  # not the whole folder: a course may lie in its virtual environment
        found += [f"{prefix}/{name}" for name in ("bin", "lib", "lib64", "pyvenv.cfg")]
    if site.ENABLE_USER_SITE:
        found.append(site.getusersitepackages())
    for package in {name.partition(".")[0] for name in ["scalelab", *packages]}:
        spec = importlib.util.find_spec(package)
        if spec is not None:
            found += list(spec.submodule_search_locations or [spec.origin])
    return sorted({path for path in found if path and os.path.isabs(path) and os.path.exists(path)})


def _own_user_space(first: int | None) -> None:
    """Enter a user namespace in which we rule over ourselves and, where we may, over a block of user ids."""
    user, group = os.getuid(), os.getgid()
    block = f"\n{first} {first} {USERS}" if first is not None else ""
    inside_user, inside_group = (0, 0) if block else (user, group)
    ready, entered = os.pipe()
    helper = os.fork()
    if helper == 0:  # stays outside, where the maps may be written
        code = 1
        with contextlib.suppress(BaseException):
            os.close(entered)
            if os.read(ready, 1):
                process = Path(f"/proc/{os.getppid()}")
                if not block:
                    (process / "setgroups").write_text("deny")
                (process / "uid_map").write_text(f"{inside_user} {user} 1{block}")
                (process / "gid_map").write_text(f"{inside_group} {group} 1{block}")
                code = 0
        os._exit(code)
    try:
        os.close(ready)
        kernel.unshare(kernel.NEWUSER)
        os.write(entered, b"x")
    finally:
        os.close(entered)
        _, status = os.waitpid(helper, 0)
    if status != 0:
        raise PermissionError("the map of user ids cannot be written")
    if block:
        os.setgroups([])


def _are_ours(first: int) -> bool:
    if sys.platform != "linux":
        return True
    for kind in ("uid", "gid"):
        lines = Path(f"/proc/self/{kind}_map").read_text().splitlines()
        ranges = [tuple(map(int, line.split())) for line in lines]
        if not any(start <= first and first + USERS <= start + count for start, _, count in ranges):
            return False
    return True


def _become_child() -> None:
    """Fork; the parent waits for the child or for its own parent to end, then ends, and the child with it."""
    judge = os.getppid()
    started, alive = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(alive)
        kernel.die_with_parent()
        if not select.select([started], [], [], 60)[0] or not os.read(started, 1):
            os._exit(143)  # the parent was gone before the kernel knew that we die with it
        os.close(started)
        return
    os.close(started)
    waiting = [os.pidfd_open(child), os.pidfd_open(judge)]
    os.write(alive, b"x")
    os.closerange(0, min(waiting))
    os.closerange(max(waiting) + 1, 4096)
    select.select(waiting, [], [])
    os._exit(0)


def _with_targets(paths: Iterable[str]) -> list[tuple[str, str]]:
    """Return (real path, where it is to be seen), outer folders first, none inside another."""
    wanted = {}
    for path in paths:
        if os.path.islink(path) and path in _SYSTEM:
            continue  # /bin -> usr/bin: copied as a link
        if os.path.exists(path):
            real = os.path.realpath(path)
            wanted[os.path.abspath(path)] = wanted[real] = real
    kept: list[tuple[str, str]] = []
    for target, real in sorted(wanted.items()):
        if not any(target.startswith(f"{outer}/") for _, outer in kept):
            kept.append((real, target))
    return kept


def _build_root(shown: Sequence[tuple[str, str]]) -> None:
    links = {name: os.readlink(name) for name in _SYSTEM if os.path.islink(name)}
    base = next(folder for folder in ("/tmp", "/var/tmp", "/run", "/mnt") if os.path.isdir(folder))
    kernel.mount("tmpfs", base, "tmpfs", kernel.NOSUID, "mode=755,size=16m,nr_inodes=20000")
    os.mkdir(f"{base}/.outside")
    kernel.move_root(base, f"{base}/.outside")
    os.chdir("/")
    for real, target in shown:
        _bind(f"/.outside{real}", target)
    for name in _DEVICES:
        _bind(f"/.outside/dev/{name}", f"/dev/{name}")
    for path, target in {
        **links,
        "/tmp": f"{ROOM}/tmp",
        "/dev/shm": f"{ROOM}/shm",
        "/dev/fd": "/proc/self/fd",
        "/dev/ptmx": "pts/ptmx",
    }.items():
        if not os.path.lexists(path):
            os.symlink(target, path)
    for path, text in _WRITTEN.items():
        Path(f"/{path}").parent.mkdir(exist_ok=True)
        Path(f"/{path}").write_text(text)
    for folder in ("/proc", "/dev/pts", ROOM, SETUP):
        os.makedirs(folder, exist_ok=True)
    kernel.mount("proc", "/proc", "proc", kernel.NOSUID | kernel.NODEV | kernel.NOEXEC)
    _mount_terminals()
    kernel.unmount("/.outside")
    os.rmdir("/.outside")


def _bind(source: str, target: str) -> None:
    if not os.path.lexists(source):
        return
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        Path(target).touch()
    kernel.mount(source, target, flags=kernel.BIND | kernel.RECURSIVE)


def _mount_terminals() -> None:
    options = f"ptmxmode=666,max={_TERMINALS}"
    kernel.mount("devpts", "/dev/pts", "devpts", kernel.NOSUID | kernel.NOEXEC, options)


def _mount_room(disk_bytes: int, owner: int | None = None) -> None:
    limits = f"mode=755,size={disk_bytes},nr_inodes={max(1024, disk_bytes // 16384)}"
    kernel.mount("tmpfs", ROOM, "tmpfs", kernel.NOSUID | kernel.NODEV, limits)
    for name in ("work", "tmp", "shm", "home"):
        os.mkdir(f"{ROOM}/{name}", 0o700)
        if owner is not None:
            os.chown(f"{ROOM}/{name}", owner, owner)
