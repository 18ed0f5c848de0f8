"""The few calls of the Linux kernel that a sandbox needs and Python does not offer."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache
from pathlib import Path

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
NOSUID, NODEV, NOEXEC, REMOUNT = 2, 4, 8, 32
BIND, RECURSIVE, PRIVATE = 4096, 16384, 1 << 18
_DETACH = 2
_PDEATHSIG, _SET_DUMPABLE, _SET_SECCOMP, _CAPBSET_DROP, _SUBREAPER = 1, 4, 22, 24, 36
_SET_NO_NEW_PRIVS, _CAP_AMBIENT = 38, 47
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPSET = {"x86_64": 126, "aarch64": 91}
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _ATTR_RDONLY, _ATTR_NOSUID = 442, -100, 0x8000, 1, 2
_PROT_READ_WRITE, _MAP_PRIVATE, _MAP_FIXED, _MAP_ANONYMOUS = 3, 2, 16, 32
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _syscall(number: int, *args: object, what: str) -> int:
    return _checked(_libc().syscall(ctypes.c_long(number), *args), what)


def machine() -> str:
    """Return the kernel's name of the instruction set; OSError where this file does not know its numbers."""
    name = platform.machine()
    if name not in _PIVOT_ROOT:
        raise OSError(f"no table of system calls for {name}")
    return name


def unshare(flags: int) -> None:
    """Move this process (for NEWPID: its next children) into new namespaces."""
    _checked(_libc().unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Go (back) into the namespace behind a descriptor."""
    _checked(_libc().setns(descriptor, kind), "setns")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str = "") -> None:
    """``mount(2)``."""
    as_bytes = (None if text is None else os.fsencode(text) for text in (source, target, kind))
    _checked(_libc().mount(*as_bytes, ctypes.c_ulong(flags), options.encode()), f"mount {target}")


def move_root(new_root: str, old_root: str) -> None:
    """Make the mount at `new_root` the root, and put the old one at `old_root` below it."""
    _syscall(
        _PIVOT_ROOT[machine()],
        ctypes.c_char_p(os.fsencode(new_root)),
        ctypes.c_char_p(os.fsencode(old_root)),
        what="pivot_root",
    )


def unmount(target: str) -> None:
    """Detach a mount and all below it."""
    _checked(_libc().umount2(os.fsencode(target), _DETACH), f"umount {target}")


def make_read_only(tree: str) -> None:
    """Make a mount and all mounts below it read-only and deaf to set-user-id bits (kernel 5.12)."""
    attributes = (ctypes.c_uint64 * 4)(
        _ATTR_RDONLY | _ATTR_NOSUID, 0, 0, 0
    )  # set, clear, propagation, user ns
    _syscall(
        _MOUNT_SETATTR,
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(tree)),
        ctypes.c_uint(_AT_RECURSIVE),
        attributes,
        ctypes.c_size_t(ctypes.sizeof(attributes)),
        what="mount_setattr",
    )


def die_with_parent(signal_number: int = 9) -> None:
    """Have the kernel kill this process when the thread that forked it ends; lost at a change of user."""
    _prctl(_PDEATHSIG, signal_number)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends."""
    _prctl(_SUBREAPER, 1)


def set_dumpable(on: bool) -> None:
    """Let processes of the same user look into this one, or not."""
    _prctl(_SET_DUMPABLE, int(on))


def drop_bounding_set() -> None:
    """Make sure that no program started from here has a capability; to be called while we still have them."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        _prctl(_CAPBSET_DROP, capability)


def drop_capabilities() -> None:
    """Give up every capability of this process."""
    _prctl(_CAP_AMBIENT, 4)  # clear all
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _syscall(_CAPSET[machine()], header, (ctypes.c_uint32 * 6)(), what="capset")
    forbid_new_privileges()


def forbid_new_privileges() -> None:
    """Set-user-id programs start without their user from now on."""
    _prctl(_SET_NO_NEW_PRIVS, 1)


def install_filter(header: ctypes.Array[ctypes.c_char]) -> None:
    """Install a seccomp filter (``struct sock_fprog``)."""
    _checked(_libc().prctl(_SET_SECCOMP, ctypes.c_ulong(2), header), "prctl seccomp")


def own_shared_memory() -> None:
    """Put private copies in place of all writable memory that this process's forks would share with it."""
    libc = _libc()
    libc.mmap.restype = ctypes.c_void_p
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, *_ = line.split()
        if rights[1] + rights[3] != "ws":
            continue
        start, end = (int(number, 16) for number in span.split("-"))
        content = ctypes.string_at(start, end - start)
        place = [ctypes.c_void_p(start), ctypes.c_size_t(end - start)]
        flags = _MAP_PRIVATE | _MAP_FIXED | _MAP_ANONYMOUS
        if libc.mmap(*place, _PROT_READ_WRITE, flags, -1, ctypes.c_long(0)) != start:
            _checked(-1, "mmap")
        ctypes.memmove(start, content, end - start)


def bring_up_loopback() -> None:
    """Switch on 127.0.0.1 in a new network namespace."""
    import fcntl
    import socket
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
        request = struct.pack("16sH14x", b"lo", 0)
        name, flags = struct.unpack("16sH14x", fcntl.ioctl(query, _SIOCGIFFLAGS, request))
        fcntl.ioctl(query, _SIOCSIFFLAGS, struct.pack("16sH14x", name, flags | _IFF_UP))


def _prctl(option: int, value: int) -> None:
    arguments = [ctypes.c_ulong(number) for number in (value, 0, 0, 0)]
    _checked(_libc().prctl(option, *arguments), f"prctl {option}")
