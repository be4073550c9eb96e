"""The C library's heap: mallopt(3), malloc_trim(3). Of glibc; elsewhere nothing happens."""

import contextlib
import ctypes

_M_ARENA_MAX = -8

_libc = ctypes.CDLL(None)


def use_one_arena() -> None:
    """All threads allocate from the same heap: what one has given back is for the others.

    glibc gives each thread one of its own, and hardly anything of it back. To be called before
    there are threads.
    """
    with contextlib.suppress(AttributeError):
        _libc.mallopt(ctypes.c_int(_M_ARENA_MAX), ctypes.c_int(1))


def trim() -> None:
    """Give the kernel back what is free."""
    with contextlib.suppress(AttributeError):
        _libc.malloc_trim(ctypes.c_size_t(0))
