"""The content of chosen files: as archive entries to be copied, and as digests for the cache.

Files are opened strictly below their tree, without following anything, and only regular files
are read: a device or a pipe in a hostile context is at most recreated, never opened.
"""

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence

from pier.archive.entry import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    Extent,
)
from pier.archive.entry import Entry as ArchiveEntry
from pier.archive.extract import portable_xattr
from pier.build.trees import Entry, Tree
from pier.linux.paths import STRICTLY_BELOW, open_in_root, open_plain

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1024 * 1024
_SPARSE_FROM = 64 * 1024 * 1024
_KINDS = {
    stat.S_IFREG: REGULAR,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK,
    stat.S_IFIFO: FIFO,
}


def archive_entries(
    tree: Tree, entries: Iterable[Entry]
) -> Iterator[tuple[ArchiveEntry, Iterable[memoryview]]]:
    """Each entry with its data, ready for an Extractor; sockets are left out.

    Names are the entries' targets. The data must be consumed before the next entry is asked for.
    """
    seen: dict[int, bytes] = {}
    for entry in entries:
        kind = _KINDS.get(stat.S_IFMT(entry.mode))
        if kind is None:
            continue
        name = os.fsencode(entry.target)
        if kind == REGULAR and entry.links > 1:
            first = seen.setdefault(entry.inode, name)
            if first != name:
                yield ArchiveEntry(HARD_LINK, name, link=first), ()
                continue
        with _opened(tree, entry) as fd:
            yield _archive_entry(kind, name, entry, fd), _pieces(fd, entry) if fd >= 0 else ()


def _archive_entry(kind: bytes, name: bytes, entry: Entry, fd: int) -> ArchiveEntry:
    extents = _extents(fd, entry) if kind == REGULAR else None
    return ArchiveEntry(
        kind=kind,
        name=name,
        mode=stat.S_IMODE(entry.mode),
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size if kind == REGULAR else 0,
        mtime_ns=entry.mtime_ns,
        link=_link(fd) if kind == SYMLINK else b"",
        device=entry.device,
        xattrs=_xattrs(fd) if kind in (REGULAR, DIRECTORY) else {},
        extents=extents,
    )


def digests(tree: Tree, entries: Sequence[Entry]) -> Iterator[tuple[str, str]]:
    """`(path, digest)` of each: kind, mode, owner, attributes and content; not times."""
    for entry in entries:
        if stat.S_IFMT(entry.mode) in _KINDS:
            yield entry.path or ".", _digest(tree, entry)


def _digest(tree: Tree, entry: Entry) -> str:
    kind = stat.S_IFMT(entry.mode)
    owner = [entry.uid, entry.gid] if tree.own_ids else [0, 0]
    with _opened(tree, entry) as fd:
        link = _link(fd).hex() if kind == stat.S_IFLNK else ""
        xattrs = _xattrs(fd) if kind in (stat.S_IFREG, stat.S_IFDIR) else {}
        told = sorted((name.hex(), value.hex()) for name, value in xattrs.items())
        head = [entry.mode, *owner, entry.device, entry.size * (kind == stat.S_IFREG), link, told]
        hasher = hashlib.sha256(json.dumps(head).encode())
        if kind == stat.S_IFREG:
            for extent in _extents(fd, entry) or ():
                hasher.update(f"{extent}".encode())
            for piece in _pieces(fd, entry):
                hasher.update(piece)
    return hasher.hexdigest()


@contextlib.contextmanager
def _opened(tree: Tree, entry: Entry) -> Iterator[int]:
    """A descriptor to read a file or directory, an O_PATH one of a link, -1 of the rest."""
    kind = stat.S_IFMT(entry.mode)
    if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        yield -1
        return
    fd = _open(tree.root_fd, entry.path, kind)
    try:
        if stat.S_IFMT(os.fstat(fd).st_mode) != kind:
            raise OSError(errno.ESTALE, "the file changed while it was copied", entry.path)
        yield fd
    finally:
        os.close(fd)


def _open(root_fd: int, path: str, kind: int) -> int:
    match kind:
        case stat.S_IFREG:
            return open_plain(root_fd, path, follow=False, resolve=STRICTLY_BELOW)
        case stat.S_IFDIR:
            return open_in_root(root_fd, path, _DIRECTORY, resolve=STRICTLY_BELOW)
        case _:
            return open_in_root(root_fd, path, os.O_PATH, follow=False, resolve=STRICTLY_BELOW)


def _link(fd: int) -> bytes:
    return os.readlink(b"", dir_fd=fd)


def _xattrs(fd: int) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    try:
        names = os.listxattr(fd)
    except OSError:
        return found
    for name in map(os.fsencode, names):
        if portable_xattr(name):
            with contextlib.suppress(OSError):
                found[name] = os.getxattr(fd, name)
    return found


def _is_sparse(fd: int, entry: Entry) -> bool:
    return entry.size >= _SPARSE_FROM and os.fstat(fd).st_blocks * 512 < entry.size // 2


def _extents(fd: int, entry: Entry) -> list[Extent] | None:
    """Where a large, mostly empty file has data; None for a file that is read as a whole."""
    if not _is_sparse(fd, entry):
        return None
    extents = []
    position = 0
    while position < entry.size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError:
            break
        position = os.lseek(fd, start, os.SEEK_HOLE)
        extents.append(Extent(start, position - start))
    os.lseek(fd, 0, os.SEEK_SET)
    return extents


def _pieces(fd: int, entry: Entry) -> Iterator[memoryview]:
    """The data, no more of it than was seen at first."""
    if not stat.S_ISREG(entry.mode):
        return
    extents = _extents(fd, entry)
    for start, length in [Extent(0, entry.size)] if extents is None else extents:
        position, end = start, start + length
        while position < end:
            data = os.pread(fd, min(_CHUNK, end - position), position)
            if not data:
                raise OSError(errno.ESTALE, "the file shrank while it was copied", entry.path)
            yield memoryview(data)
            position += len(data)
