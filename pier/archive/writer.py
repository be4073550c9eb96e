"""Entries become a tar stream: PAX where ustar is too small, the same bytes for the same tree.

Hard links are found by inode, sparse files keep their holes (GNU's PAX form 1.0), attributes
travel as SCHILY.xattr. Sockets are left out: tar has no word for them.
"""

import errno
import os
import stat
from collections.abc import Callable, Sequence

from pier.archive.entry import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    Entry,
    Extent,
)
from pier.archive.extract import portable_xattr
from pier.archive.header import BLOCK_SIZE, END, format_entry, padding
from pier.archive.walk import Directory, Found, open_regular

_CHUNK = 128 * 1024
_ZEROS = bytes(64 * 1024)
_MIN_HOLES = 64 * 1024
"""Bytes that must be holes before a file is written as a sparse one."""
_MAX_EXTENTS = 10_000

_KINDS = {
    stat.S_IFREG: REGULAR,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK,
    stat.S_IFIFO: FIFO,
    stat.S_IFDIR: DIRECTORY,
}

Write = Callable[[bytes], object]


class TarWriter:
    """Writes through `write`; `close` ends the archive."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._links: dict[tuple[int, int], bytes] = {}
        self.entries = 0
        self.size = 0
        """Bytes of regular files, each inode once."""

    def close(self) -> None:
        self._write(END)

    def entry(self, entry: Entry) -> None:
        """A header; the caller sends `entry.stored` bytes with `data` afterwards."""
        self.entries += 1
        self._write(format_entry(entry))

    def small_file(self, entry: Entry, data: bytes) -> None:
        """A file made here, of `entry.size` bytes."""
        entry.stored = entry.size
        self.entry(entry)
        self._write(data + bytes(padding(len(data))))

    def directory(self, name: bytes, directory: Directory) -> None:
        """A directory itself; name without a slash at the end."""
        entry = _entry(DIRECTORY, name + b"/", directory.stat)
        entry.xattrs = _xattrs(directory.fd)
        self.entry(entry)

    def file(self, name: bytes, directory_fd: int, found: Found) -> None:
        """Anything but a directory."""
        kind = _KINDS.get(stat.S_IFMT(found.stat.st_mode))
        if kind is None:
            return
        entry = _entry(kind, name, found.stat)
        if found.stat.st_nlink > 1:
            first = self._links.setdefault((found.stat.st_dev, found.stat.st_ino), name)
            if first != name:
                entry.kind, entry.link = HARD_LINK, first
                self.entry(entry)
                return
        if kind == REGULAR:
            self._regular(entry, directory_fd, found.name)
            return
        if kind == SYMLINK:
            try:
                entry.link = os.readlink(found.name, dir_fd=directory_fd)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EINVAL):
                    raise
                return  # it went, or became something else
        elif kind in (CHARACTER, BLOCK):
            entry.device = found.stat.st_rdev
        self.entry(entry)

    def _regular(self, entry: Entry, directory_fd: int, name: bytes) -> None:
        try:
            fd = open_regular(directory_fd, name)
        except FileNotFoundError:
            return
        if fd is None:
            return
        try:
            self._open_file(entry, fd)
        finally:
            os.close(fd)

    def _open_file(self, entry: Entry, fd: int) -> None:
        found = os.fstat(fd)
        entry.size = entry.stored = found.st_size
        entry.xattrs = _xattrs(fd)
        self.size += entry.size
        if found.st_size - found.st_blocks * BLOCK_SIZE > _MIN_HOLES:
            entry.extents = _extents(fd, found.st_size)
        if entry.extents is None:
            self.entry(entry)
            self._copy(fd, 0, entry.size)
        else:
            self._sparse(entry, fd, entry.extents)
        self._write(bytes(padding(entry.stored)))

    def _sparse(self, entry: Entry, fd: int, extents: Sequence[Extent]) -> None:
        numbers = [len(extents), *(number for extent in extents for number in extent)]
        head = b"".join(b"%d\n" % number for number in numbers)
        head += bytes(padding(len(head)))
        entry.stored = len(head) + sum(extent.length for extent in extents)
        self.entry(entry)
        self._write(head)
        for extent in extents:
            self._copy(fd, extent.offset, extent.length)

    def _copy(self, fd: int, offset: int, size: int) -> None:
        """Exactly `size` bytes, whatever happens to the file: zeros where it got shorter."""
        end = offset + size
        while offset < end:
            data = os.pread(fd, min(_CHUNK, end - offset), offset)
            data = data or _ZEROS[: end - offset]
            self._write(data)
            offset += len(data)


def _entry(kind: bytes, name: bytes, found: os.stat_result) -> Entry:
    return Entry(
        kind,
        name,
        stat.S_IMODE(found.st_mode),
        found.st_uid,
        found.st_gid,
        mtime_ns=found.st_mtime_ns,
    )


def _xattrs(fd: int) -> dict[bytes, bytes]:
    try:
        names = [os.fsencode(name) for name in os.listxattr(fd)]
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise
    found: dict[bytes, bytes] = {}
    for name in names:
        if portable_xattr(name):
            try:
                found[name] = os.getxattr(fd, name)
            except OSError as error:
                if error.errno != errno.ENODATA:
                    raise
    return found


def _extents(fd: int, size: int) -> list[Extent] | None:
    """Where a file has data; None if that is too scattered to say."""
    edges = _edges(fd, size)
    if len(edges) > 2 * _MAX_EXTENTS:
        return None
    extents = [
        Extent(start, end - start) for start, end in zip(edges[::2], edges[1::2], strict=True)
    ]
    # GNU tar makes a hole at the end only if the map says so.
    return [*extents, Extent(size, 0)]


def _edges(fd: int, size: int) -> list[int]:
    """Start and end of each stretch of data, in turn."""
    edges: list[int] = []
    position = 0
    while position < size and len(edges) <= 2 * _MAX_EXTENTS:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        position = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        if start < position:
            edges += [start, position]
    return edges
