"""Where the interpreter puts new objects: into fresh pages, not into gaps of shared ones.

Imports leave every pool of CPython's allocator (Objects/obmalloc.c) with gaps. Whatever a forked
monitor allocates fills them, here a tuple, there an integer, and each costs the copy of a page.
"""

_ALIGNMENT = 16
_LARGEST = 512
_BYTES_OVERHEAD = 33
_RUN = 12
"""So many neighbours in a row: the pool is a fresh one."""

_fillers: list[bytes] = []


def fill_gaps() -> None:
    """Take what is free in pools that are in use, for ever."""
    for size in range(3 * _ALIGNMENT, _LARGEST + 1, _ALIGNMENT):
        last, run = 0, 0
        while run < _RUN:
            filler = bytes(size - _BYTES_OVERHEAD)
            run = run + 1 if id(filler) - last == size else 0
            last = id(filler)
            _fillers.append(filler)
