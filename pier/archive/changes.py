"""What an upper directory changed in those below it: `docker diff`.

The lower directories never change; the upper one may be a running container's.
"""

import contextlib
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from pier.archive.layer import is_opaque, is_whiteout
from pier.archive.walk import Directory, join, walk
from pier.linux import paths

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Kind(IntEnum):
    """The numbers Docker's API has."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


@dataclass(frozen=True, slots=True, order=True)
class Change:
    path: str
    """Absolute in the container."""
    kind: Kind


def list_changes(
    upper: Path, lower: Sequence[Path], *, ignore: Collection[bytes] = ()
) -> list[Change]:
    """All changes, sorted by path. lower is topmost first; for ignore see `write_layer`.

    A directory that only holds ignored paths, and has the owner and mode it had, is no change.
    """
    with contextlib.ExitStack() as stack:
        upper_fd, *lower_fds = (_open(path, stack) for path in (upper, *lower))
        return sorted(_Comparison(lower_fds, ignore).of(upper_fd))


def _open(path: Path, stack: contextlib.ExitStack) -> int:
    fd = os.open(path, _DIRECTORY)
    stack.callback(os.close, fd)
    return fd


class _Comparison:
    """visible[path] are the lower roots in which the directory `path` shows, topmost first."""

    def __init__(self, lower_fds: Sequence[int], ignore: Collection[bytes]) -> None:
        self._visible: dict[bytes, Sequence[int]] = {b"": lower_fds}
        self._ignore = ignore

    def of(self, upper_fd: int) -> Iterator[Change]:
        for directory in walk(upper_fd):
            visible = self._visible.pop(directory.path)
            if directory.path:
                yield from self._directory(directory, visible)
            if is_opaque(directory.fd):
                yield from self._hidden(directory, visible)
                visible = ()
            yield from self._files(directory, visible)
            directory.below = [n for n in directory.below if not self._ignored(directory, n)]
            for name in directory.below:
                path = join(directory.path, name)
                self._visible[path] = list(_showing(visible, path))

    def _ignored(self, directory: Directory, name: bytes) -> bool:
        return join(directory.path, name) in self._ignore

    def _directory(self, directory: Directory, visible: Sequence[int]) -> Iterator[Change]:
        names = [*(found.name for found in directory.files), *directory.below]
        only_ignored = bool(names) and all(self._ignored(directory, name) for name in names)
        old = _lstat(visible[0], directory.path) if visible else None
        if old is None:
            yield _change(directory.path, Kind.ADDED)
        elif not (only_ignored and _same_owner_and_mode(old, directory.stat)):
            yield _change(directory.path, Kind.MODIFIED)

    def _files(self, directory: Directory, visible: Sequence[int]) -> Iterator[Change]:
        for found in directory.files:
            if found.path in self._ignore:
                continue
            if is_whiteout(found.stat):
                yield _change(found.path, Kind.DELETED)
            elif _shows(visible, found.path):
                yield _change(found.path, Kind.MODIFIED)
            else:
                yield _change(found.path, Kind.ADDED)

    def _hidden(self, directory: Directory, visible: Sequence[int]) -> Iterator[Change]:
        """What an opaque directory made disappear."""
        present = {*(found.name for found in directory.files), *directory.below}
        for name in _names(visible, directory.path) - present:
            if _shows(visible, path := join(directory.path, name)):
                yield _change(path, Kind.DELETED)


def _change(path: bytes, kind: Kind) -> Change:
    return Change("/" + os.fsdecode(path), kind)


def _same_owner_and_mode(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_mode, one.st_uid, one.st_gid) == (other.st_mode, other.st_uid, other.st_gid)


def _lstat(root_fd: int, path: bytes) -> os.stat_result | None:
    try:
        fd = paths.open_in_root(
            root_fd, path, os.O_PATH, follow=False, resolve=paths.STRICTLY_BELOW
        )
    except OSError:
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _shows(visible: Sequence[int], path: bytes) -> bool:
    """Whether anything is seen at `path` of the lower directories."""
    found = next((s for fd in visible if (s := _lstat(fd, path))), None)
    return found is not None and not is_whiteout(found)


def _showing(visible: Sequence[int], path: bytes) -> Iterator[int]:
    """The lower roots of which the directory `path` is part of the merged one."""
    for fd in visible:
        found = _lstat(fd, path)
        if found is None:
            continue
        if not stat.S_ISDIR(found.st_mode):
            return
        yield fd
        if _opaque_below(fd, path):
            return


def _opaque_below(root_fd: int, path: bytes) -> bool:
    fd = paths.open_in_root(root_fd, path, _DIRECTORY, resolve=paths.STRICTLY_BELOW)
    try:
        return is_opaque(fd)
    finally:
        os.close(fd)


def _names(visible: Sequence[int], path: bytes) -> set[bytes]:
    names: set[bytes] = set()
    for root_fd in visible:
        with contextlib.suppress(OSError):
            fd = paths.open_in_root(root_fd, path, _DIRECTORY, resolve=paths.STRICTLY_BELOW)
            try:
                with os.scandir(fd) as entries:
                    names.update(os.fsencode(entry.name) for entry in entries)
            finally:
                os.close(fd)
    return names
