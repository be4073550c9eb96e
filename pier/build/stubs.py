"""Mount points that a RUN needs and the image does not have: they must not stay in it.

The runtime makes whatever is missing at a mount's target. Before the RUN we note what is not
there; after it, when nothing runs any more, we remove what appeared and is still empty. The tree
is hostile by then, so every step is by descriptor, inside the root, and nothing is followed.
"""

import contextlib
import errno
import os
import posixpath
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from pier.linux.paths import DIRECTORY, STRICTLY_BELOW, exists_in_root, open_in_root

_READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def missing_paths(root_fd: int, targets: Iterable[str]) -> tuple[str, ...]:
    """Those of `targets`, and of the directories above them, that the root does not have."""
    missing: set[str] = set()
    for target in targets:
        path = posixpath.normpath("/" + target.strip("/"))
        while path != "/" and not exists_in_root(root_fd, path):
            missing.add(path)
            path = posixpath.dirname(path)
    return tuple(sorted(missing))


def remove_stubs(root_fd: int, missing: Iterable[str]) -> None:
    """Remove what is at the `missing` paths now if it is an empty file or directory."""
    for path in sorted(missing, reverse=True):
        with contextlib.suppress(OSError):
            _remove_one(root_fd, path)


def _remove_one(root_fd: int, path: str) -> None:
    parent, name = posixpath.split(path)
    fd = open_in_root(root_fd, parent, _READ_DIRECTORY & ~os.O_NOFOLLOW)
    try:
        before = os.fstat(fd)
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            os.rmdir(name, dir_fd=fd)
        elif stat.S_ISREG(found.st_mode) and found.st_size == 0 and found.st_nlink == 1:
            os.unlink(name, dir_fd=fd)
        else:
            return
        os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
    finally:
        os.close(fd)


def forget_untouched(upper: Path, lower: Sequence[Path], stubs: Iterable[str]) -> None:
    """Drop directories of the upper layer that only making and removing stubs put there.

    Such a one is empty, not opaque, and says nothing that the one it covers does not say.
    """
    parents = {parent for stub in stubs for parent in _above(stub)}
    upper_fd = os.open(upper, _READ_DIRECTORY)
    try:
        for path in sorted(parents, key=len, reverse=True):
            with contextlib.suppress(OSError):
                _forget_one(upper_fd, lower, path)
    finally:
        os.close(upper_fd)


def _above(path: str) -> Iterable[str]:
    directory = posixpath.dirname(path)
    while directory != "/":
        yield directory.lstrip("/")
        directory = posixpath.dirname(directory)


def _forget_one(upper_fd: int, lower: Sequence[Path], path: str) -> None:
    covered = _covered(lower, path)
    if covered is None:
        return
    fd = open_in_root(upper_fd, path, _READ_DIRECTORY, resolve=STRICTLY_BELOW)
    try:
        own = os.fstat(fd)
        opaque = any(name.endswith("overlay.opaque") for name in os.listxattr(fd))
    finally:
        os.close(fd)
    if opaque or _says(own) != _says(covered):
        return
    parent, name = posixpath.split(path)
    parent_fd = open_in_root(upper_fd, parent, DIRECTORY, resolve=STRICTLY_BELOW)
    try:
        os.rmdir(name, dir_fd=parent_fd)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
    finally:
        os.close(parent_fd)


def _says(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid


def _covered(lower: Sequence[Path], path: str) -> os.stat_result | None:
    for layer in lower:
        layer_fd = os.open(layer, _READ_DIRECTORY)
        try:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                fd = open_in_root(layer_fd, path, _READ_DIRECTORY, resolve=STRICTLY_BELOW)
                try:
                    return os.fstat(fd)
                finally:
                    os.close(fd)
        finally:
            os.close(layer_fd)
    return None
