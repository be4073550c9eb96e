"""A file system of the bench's own, with a journal, whatever the machine's is.

ext4 without a journal does not use an inode again for minutes after its file was deleted, and
every new file looks at all of those first (`recently_deleted` in fs/ext4/ialloc.c). An image of
20,000 files, unpacked after another was removed, then takes ten seconds longer with any engine.
"""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_SIZE = 12 * 1024**3
"""Bytes; the file is sparse."""


@contextlib.contextmanager
def own_disk() -> Iterator[Path]:
    """A directory to work in, gone afterwards; a plain one where no loop device can be had."""
    with tempfile.TemporaryDirectory(prefix="pb", dir="/var/tmp") as directory:
        image, root = Path(directory, "disk"), Path(directory, "r")
        root.mkdir()
        with image.open("wb") as file:
            file.truncate(_SIZE)
        made = _run("mkfs.ext4", "-q", "-F", str(image)) and _run(
            "mount", "-o", "loop", str(image), str(root)
        )
        if not made:
            sys.stderr.write("no file system of its own: times depend on what was deleted before\n")
        try:
            yield root
        finally:
            if made:
                # An engine that has ended may have left somebody who waits for the disk.
                subprocess.run(["sync", "--file-system", str(root)], check=True)
                subprocess.run(["umount", "--recursive", str(root)], check=True)


def _run(*argv: str) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
