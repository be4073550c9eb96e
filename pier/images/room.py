"""When the disk has no room, or fails.

While a layer is unpacked the disk is looked at: a bomb ends before the disk is full (ADR 0302).
What the disk itself refuses is an error for the client to read.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from pier.errors import Failed

_STEP = 16 * 1024 * 1024
"""Plain bytes between two looks, unless less has to stay free."""
_RESERVE = 256 * 1024 * 1024
_RESERVE_PART = 20


class DiskWouldFill(Failed):
    """A layer, honest or a bomb, that needs more room than there is."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"layer {name} does not fit: unpacking it leaves less than the disk needs to work; "
            "free some space (docker system prune), or do not trust this image"
        )


_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


class DiskRefused(Failed):
    """In the words of Go's os package, as Docker has them."""

    def __init__(self, error: OSError) -> None:
        place = f"write {error.filename}: " if error.filename else ""
        super().__init__(f"{place}{(error.strerror or str(error)).lower()}")


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Raise DiskRefused for what the disk refuses in the block."""
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        raise DiskRefused(error) from error


class Room:
    """Call it with the size of each piece before it is written; raises DiskWouldFill.

    reserve_bytes: what has to stay free; None for a twentieth of the disk, 256 MiB at most.
    """

    def __init__(self, directory: Path, name: str, reserve_bytes: int | None = None) -> None:
        self._directory = directory
        self._name = name
        self._reserve = reserve_bytes
        self._left = 0

    def __call__(self, size: int) -> None:
        self._left -= size
        if self._left > 0:
            return
        found = os.statvfs(self._directory)
        if self._reserve is None:
            self._reserve = min(_RESERVE, found.f_blocks * found.f_frsize // _RESERVE_PART)
        if found.f_bavail * found.f_frsize < self._reserve:
            raise DiskWouldFill(self._name)
        self._left = min(_STEP, self._reserve // 2)
