"""A program that cannot be written to by those it starts: CVE-2019-5736.

A container's "program" may be a link or a script that leads to /proc/self/exe: then the host's
interpreter runs inside, and could be opened for writing once it has ended. Run from an overlay
without an upper layer there is nothing to write to, for anybody; its pages are those of the file
itself, so it costs no memory (a sealed copy would).
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pier.linux.mount import Overlay, open_overlay


@contextlib.contextmanager
def sealed_program(program: Path) -> Iterator[int]:
    """A descriptor of `program` on a mount nobody else has; OSError if there can be none."""
    path = program.resolve(strict=True)
    # The kernel wants two layers for an overlay without an upper one.
    with tempfile.TemporaryDirectory(prefix="pier-sealed-") as empty:
        mount_fd = open_overlay(Overlay((str(path.parent), empty)))
        try:
            fd = os.open(path.name, os.O_PATH | os.O_CLOEXEC, dir_fd=mount_fd)
        finally:
            os.close(mount_fd)
    try:
        yield fd
    finally:
        os.close(fd)
