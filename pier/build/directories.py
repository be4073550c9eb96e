"""Removing directories that builds, and what runs in them, have written to, however deep."""

import os
from pathlib import Path

from pier.linux.trees import remove_tree
from pier.threads import blocking

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


async def removed(path: Path) -> None:
    """Returns when it is gone, also if cancelled. An empty one is not worth a thread."""
    if not _removed_if_empty(path):
        await blocking(remove_directory, path)


def _removed_if_empty(path: Path) -> bool:
    try:
        path.rmdir()
    except OSError:
        return False
    return True


def remove_directory(path: Path) -> None:
    """Blocking; nothing there is fine."""
    fd = os.open(path.parent, _DIRECTORY)
    try:
        remove_tree(path.name, dir_fd=fd)
    finally:
        os.close(fd)
