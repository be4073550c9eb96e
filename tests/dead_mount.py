"""A file system that never answers: FUSE whose server reads no request, as with a dead NFS."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pier.linux import syscalls


@contextmanager
def dead_mount(place: Path) -> Iterator[Path]:
    """Whoever looks below `place` waits until the end of the block, then gets an error."""
    place.mkdir()
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={fd},rootmode=40000,user_id=0,group_id=0"
        syscalls.mount("dead", str(place), "fuse", 0, options)
        yield place
    finally:
        os.close(fd)  # the kernel lets everybody go
        with suppress(OSError):
            syscalls.umount2(str(place), syscalls.MNT_DETACH)
        place.rmdir()
