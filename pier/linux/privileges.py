"""What a process may do, given away for good: capabilities, filters, limits, the keyring.

capabilities(7), seccomp(2), setrlimit(2), keyctl(2); PR_ constants of prctl(2). Also loaded by the
spawner: imports next to nothing.
"""

import ctypes
import errno
import os
from collections.abc import Iterable

from pier.linux import syscalls

CAP_SYS_ADMIN = 21

_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_SECCOMP_SET_MODE_FILTER = 1
_KEYCTL_JOIN_SESSION_KEYRING = 1
_CAPABILITY_VERSION_3 = 0x20080522
_INSTRUCTION_BYTES = 8  # struct sock_filter

_SYS_SECCOMP = {"x86_64": 317, "aarch64": 277, "riscv64": 277, "ppc64le": 358, "s390x": 348}
_SYS_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "ppc64le": 271, "s390x": 280}
_MACHINE = os.uname().machine
KNOWN_MACHINE = _MACHINE in _SYS_SECCOMP
"""Whether the numbers of seccomp(2) and keyctl(2) are known here."""

_RLIMITS = (
    "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO"
    " RTTIME"
).split()
"""In the order of their numbers, the same on the machines above."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    """The lower and the upper half of each set."""

    _fields_ = tuple((f"{name}{half}", ctypes.c_uint32) for half in (0, 1) for name in "epi")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class _Limit(ctypes.Structure):
    _fields_ = (("soft", ctypes.c_uint64), ("hard", ctypes.c_uint64))


def hide_memory() -> None:
    """Not dumpable: what is in memory, and /proc/<pid>, are for CAP_SYS_PTRACE only. Till exec."""
    syscalls.prctl(_PR_SET_DUMPABLE, 0)


def keep_capabilities() -> None:
    """The permitted ones survive a change of user. Till exec."""
    syscalls.prctl(_PR_SET_KEEPCAPS, 1)


def no_new_privileges() -> None:
    syscalls.prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_bounding(kept: int) -> None:
    """Only the capabilities in the mask `kept` can ever be gained again."""
    for number in range(64):
        if kept >> number & 1:
            continue
        try:
            syscalls.prctl(_PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return  # the kernel knows no higher ones
            raise


def set_capabilities(*, effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) of the calling thread; masks."""
    header = _Header(_CAPABILITY_VERSION_3, 0)
    low, high = 0xFFFFFFFF, 32
    masks = (effective, permitted, inheritable)
    data = _Data(*(mask & low for mask in masks), *(mask >> high for mask in masks))
    syscalls.call("capset", ctypes.byref(header), ctypes.byref(data))


def raise_ambient(mask: int) -> None:
    """They must be permitted and inheritable."""
    for number in range(64):
        if mask >> number & 1:
            syscalls.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number)


def set_filter(program: bytes, flags: int) -> None:
    """seccomp(2), a compiled filter: struct sock_filters in this machine's byte order."""
    loaded = _Program(len(program) // _INSTRUCTION_BYTES, program)
    syscalls.numbered(
        "seccomp",
        _SYS_SECCOMP[_MACHINE],
        ctypes.c_uint(_SECCOMP_SET_MODE_FILTER),
        ctypes.c_uint(flags),
        ctypes.byref(loaded),
    )


def join_session_keyring(name: str) -> None:
    """The keyring called `name`, made if need be; keys of the caller's session are left behind."""
    syscalls.numbered(
        "keyctl",
        _SYS_KEYCTL[_MACHINE],
        ctypes.c_int(_KEYCTL_JOIN_SESSION_KEYRING),
        ctypes.c_char_p(name.encode()),
    )


def set_limits(limits: Iterable[tuple[str, int, int]]) -> None:
    """setrlimit(2): "RLIMIT_NOFILE", soft, hard. ValueError for a name nobody knows."""
    for name, soft, hard in limits:
        number = _RLIMITS.index(name.removeprefix("RLIMIT_"))
        syscalls.call("setrlimit", ctypes.c_int(number), ctypes.byref(_Limit(soft, hard)))
