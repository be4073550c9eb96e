"""Trees of files as tar streams: build contexts, and what `cp` sends. POSIX pax format.

Reads only what it is asked for, in blocks, and never follows a symbolic link on the way.
"""

from __future__ import annotations

import os
import stat
import tarfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK = 256 * 1024
BLOCK = tarfile.BLOCKSIZE
END = b"\0" * (2 * BLOCK)


class TarStream:
    """Turns files into the bytes of an archive. `owner` None keeps who owns them."""

    def __init__(self, *, owner: int | None = None) -> None:
        self._owner = owner
        self._links: dict[tuple[int, int], str] = {}

    def tree(
        self,
        root: str,
        name: str,
        *,
        ignored: Callable[[str], bool] = lambda _path: False,
        prune: Callable[[str], bool] = lambda _path: True,
    ) -> Iterator[bytes]:
        """Yield the archive of `root` under `name`, '' for its contents only.

        `ignored` gets paths relative to `root`; `prune` whether an ignored directory may be
        passed over whole.
        """
        if name:
            yield from self.entry(root, name)
        if stat.S_ISDIR(os.lstat(root).st_mode):
            yield from self._below(root, name, "", ignored, prune)

    def _below(
        self,
        root: str,
        name: str,
        inside: str,
        ignored: Callable[[str], bool],
        prune: Callable[[str], bool],
    ) -> Iterator[bytes]:
        for child in sorted(os.listdir(f"{root}/{inside}" if inside else root)):
            path = f"{inside}/{child}" if inside else child
            full = f"{root}/{path}"
            directory = stat.S_ISDIR(os.lstat(full).st_mode)
            skipped = ignored(path)
            if not skipped:
                yield from self.entry(full, f"{name}/{path}" if name else path)
            if directory and not (skipped and prune(path)):
                yield from self._below(root, name, path, ignored, prune)

    def entry(self, path: str, name: str) -> Iterator[bytes]:
        """Yield one file, directory, link or device. Sockets are passed over."""
        status = os.lstat(path)
        if stat.S_ISSOCK(status.st_mode):
            return
        info = self._info(path, name, status)
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        if info.isreg() and info.size:
            yield from _content(path, info.size)

    def data(self, name: str, content: bytes) -> Iterator[bytes]:
        """Yield a file that exists only here."""
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), 0o600
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        yield content + b"\0" * (-len(content) % BLOCK)

    def _info(self, path: str, name: str, status: os.stat_result) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.mode = stat.S_IMODE(status.st_mode)
        info.uid = status.st_uid if self._owner is None else self._owner
        info.gid = status.st_gid if self._owner is None else self._owner
        info.mtime = status.st_mtime
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            info.type = tarfile.DIRTYPE
        elif stat.S_ISLNK(mode):
            info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
        elif stat.S_ISFIFO(mode):
            info.type = tarfile.FIFOTYPE
        elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            info.type = tarfile.CHRTYPE if stat.S_ISCHR(mode) else tarfile.BLKTYPE
            info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
        else:
            self._set_regular(info, name, status)
        return info

    def _set_regular(self, info: tarfile.TarInfo, name: str, status: os.stat_result) -> None:
        key = (status.st_dev, status.st_ino)
        first = self._links.get(key)
        if status.st_nlink > 1 and first is not None:
            info.type, info.linkname = tarfile.LNKTYPE, first
            return
        self._links[key] = name
        info.size = status.st_size


def _content(path: str, size: int) -> Iterator[bytes]:
    """Yield exactly `size` bytes and the padding, even of a file that is being written."""
    left = size
    with open(path, "rb", opener=_no_follow) as file:
        while left and (chunk := file.read(min(left, CHUNK))):
            left -= len(chunk)
            yield chunk
    while left:
        step = min(left, CHUNK)
        left -= step
        yield b"\0" * step
    if size % BLOCK:
        yield b"\0" * (BLOCK - size % BLOCK)


def _no_follow(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)
