"""A kernel before 6.7, as far as overlays go: fsconfig(2) says EINVAL to any word.

As a program it runs another one under that filter: `python -m tests.old_kernel COMMAND..`; all
its children are under it too. seccomp(2), BPF.
"""

import ctypes
import errno
import os
import struct
import sys

from pier.linux import syscalls

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_FSCONFIG = 431
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NR, _SECOND_ARGUMENT = 0, 24


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse_fsconfig(command: int, error: int) -> None:
    """From now on fsconfig with `command` fails with `error`, for this process and its children."""
    steps = [
        (_LOAD, 0, 0, _NR),
        (_JUMP_IF_EQUAL, 0, 3, _FSCONFIG),
        (_LOAD, 0, 0, _SECOND_ARGUMENT),
        (_JUMP_IF_EQUAL, 0, 1, command),
        (_RETURN, 0, 0, _ERRNO | error),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    program = _Program(len(steps), code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")


if __name__ == "__main__":
    refuse_fsconfig(syscalls.FSCONFIG_SET_STRING, errno.EINVAL)
    os.execvp(sys.argv[1], sys.argv[1:])
