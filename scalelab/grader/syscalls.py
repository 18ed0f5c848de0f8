"""A filter of system calls: what no exercise needs, and what would reach around the other limits.

Memory that belongs to no process (memfd, System V segments), new namespaces and mounts, looking into other
processes, sockets that no namespace bounds (AF_VSOCK reaches the host of a virtual machine), and kernel
interfaces with a long record of holes. A refused call fails with EPERM.
"""

from __future__ import annotations

import ctypes
import struct

from scalelab.grader import kernel

# name: number on x86_64 (arch/x86/entry/syscalls/syscall_64.tbl), on aarch64 (uapi/asm-generic/unistd.h)
_REFUSED = {
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "syslog": (103, 116),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "io_uring_setup": (425, 425),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "pidfd_getfd": (438, 438),
    "mount_setattr": (442, 442),
    "memfd_secret": (447, 447),
}
_CLONE, _CLONE3, _SOCKET = (56, 220), 435, (41, 198)
_FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: what the network's namespace bounds
_ARCHITECTURE = (0xC000003E, 0xC00000B7)  # AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64
_X32 = 0x40000000  # the third set of numbers of x86_64
_NEW_NAMESPACE = 0x7E020000  # any CLONE_NEW* flag

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _EPERM, _ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data, little-endian


def refuse_calls() -> None:
    """Refuse the calls from now on, here and in every descendant; needs `forbid_new_privileges` first.

    Raises:
        OSError: the kernel has no filters, or the machine is neither x86_64 nor aarch64.
    """
    program = _program(("x86_64", "aarch64").index(kernel.machine()))
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code)))
    kernel.install_filter(header)


def _program(column: int) -> bytes:
    """Return the filter as classic BPF: 8 bytes an instruction (code, jump if true, jump if false, value)."""
    refuse = b"".join(
        _step(_EQUAL, numbers[column], 0, 1) + _step(_RETURN, _EPERM) for numbers in _REFUSED.values()
    )
    return b"".join(
        [
            _step(_LOAD, _ARCH),
            _step(_EQUAL, _ARCHITECTURE[column], 1, 0),
            _step(_RETURN, _KILL),
            _step(_LOAD, _NUMBER),
            _step(_AT_LEAST, _X32, 0, 1),
            _step(_RETURN, _EPERM),
            refuse,
            _step(
                _EQUAL, _CLONE3, 0, 1
            ),  # its flags lie in memory, where a filter cannot look: libc uses clone then
            _step(_RETURN, _ENOSYS),
            _step(_EQUAL, _CLONE[column], 0, 3),
            _step(_LOAD, _FIRST_ARGUMENT),
            _step(_ANY_BIT, _NEW_NAMESPACE, 0, 1),
            _step(_RETURN, _EPERM),
            _step(_LOAD, _NUMBER),
            _step(_EQUAL, _SOCKET[column], 0, 2 + len(_FAMILIES)),
            _step(_LOAD, _FIRST_ARGUMENT),
            *(_step(_EQUAL, family, len(_FAMILIES) - at, 0) for at, family in enumerate(_FAMILIES)),
            _step(_RETURN, _EPERM),
            _step(_RETURN, _ALLOW),
        ]
    )


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
