"""COPY and ADD: chosen files are put into a root, and never anywhere else.

The root is a mounted snapshot, a hostile tree in which nothing runs at the time. Links on the way
to the destination are followed inside it, as a process of the image would see them; a link in the
place of a file that is copied is replaced. Blocking functions; callers use threads.
"""

import contextlib
import errno
import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pier.archive.compression import BrokenStream, decompressed
from pier.archive.entry import DIRECTORY, REGULAR, SYMLINK, Entry, InvalidArchive
from pier.archive.extract import Extractor
from pier.archive.reader import TarReader
from pier.build.chmod import ModeChange
from pier.build.content import archive_entries
from pier.build.owners import Owner
from pier.build.trees import Entry as Chosen
from pier.build.trees import Tree
from pier.errors import InvalidArgument
from pier.linux.paths import DIRECTORY as OPEN_DIRECTORY
from pier.linux.paths import makedirs_in_root, open_in_root, resolve_in_root

_READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_HEAD_BYTES = 64 * 1024


class CannotCopy(InvalidArgument):
    def __init__(self, what: str, path: str) -> None:
        super().__init__(f"cannot copy to {what}: {path}")


class ArchiveBomb(InvalidArgument):
    def __init__(self, entries: int, size: int) -> None:
        super().__init__(
            f"more than {entries} files or {size} bytes: this looks like an archive bomb"
        )


@dataclass(frozen=True, slots=True)
class Placing:
    """How copied files look: owner and mode where given, and the time of directories made."""

    owner: Owner | None = None
    mode: ModeChange | None = None
    now_ns: int = 0
    max_bytes: int = 1 << 40
    max_entries: int = 4_000_000


@dataclass(frozen=True, slots=True)
class Destination:
    """Where it goes: an existing directory in the root, and a new name for a single file."""

    directory: str
    name: str = ""
    is_new: bool = False


class Placer(Extractor):
    """Extracts into a directory that has files already, by COPY's rules of replacing."""

    def __init__(self, root_fd: int, directory: str, placing: Placing) -> None:
        super().__init__(root_fd, os.fsencode(directory.strip("/")))
        self._root = root_fd
        self._where = directory
        self._placing = placing
        self._entries = 0

    def add(self, entry: Entry, pieces: Iterable[memoryview]) -> None:  # type: ignore[explicit-override]  # typing.override: 3.12
        """Count, give owner and mode, make."""
        self._entries += 1
        size = self.size + entry.size
        if self._entries > self._placing.max_entries or size > self._placing.max_bytes:
            raise ArchiveBomb(self._placing.max_entries, self._placing.max_bytes)
        super().add(self._placed(entry), pieces)

    def _placed(self, entry: Entry) -> Entry:
        owner, mode = self._placing.owner, self._placing.mode
        if owner is not None:
            entry.uid, entry.gid = owner.uid, owner.gid
        if mode is not None and entry.kind != SYMLINK:
            entry.mode = mode.applied(entry.mode, directory=entry.kind == DIRECTORY)
        return entry

    def replace(self, parent: int, path: bytes, name: bytes, entry: Entry) -> bool:  # type: ignore[explicit-override]
        """A file replaces a file, a directory joins a directory (or a link to one)."""
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        shown = posixpath.join(self._where, os.fsdecode(path))
        if entry.kind == DIRECTORY:
            if stat.S_ISLNK(found.st_mode) and self._leads_to_directory(path):
                return False
            if not stat.S_ISDIR(found.st_mode):
                raise CannotCopy("non-directory", shown)
        elif stat.S_ISDIR(found.st_mode):
            raise CannotCopy("directory", shown)
        return super().replace(parent, path, name, entry)

    def _leads_to_directory(self, path: bytes) -> bool:
        try:
            os.close(self.open(path, OPEN_DIRECTORY))
        except OSError:
            return False
        return True


class _Unpacker(Placer):
    """ADD's archives: what is in them replaces what is there, whatever it is."""

    def replace(self, parent: int, path: bytes, name: bytes, entry: Entry) -> bool:  # type: ignore[explicit-override]
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        linked = stat.S_ISLNK(found.st_mode) and entry.kind == DIRECTORY
        if linked and self._leads_to_directory(path):
            return False
        return Extractor.replace(self, parent, path, name, entry)


def open_destination(root_fd: int, path: str, *, directory: bool, placing: Placing) -> Destination:
    """Make what is missing above (and, for a directory, at) `path`; say where a file goes.

    A single file without a trailing slash goes into `path` if that is a directory already.
    """
    if directory or _is_directory(root_fd, path):
        return Destination(path, is_new=make_directories(root_fd, path, placing))
    real = _followed(root_fd, path)
    parent, name = posixpath.split(real)
    make_directories(root_fd, parent, placing)
    return Destination(parent, name)


def make_directories(root_fd: int, path: str, placing: Placing) -> bool:
    """Mkdir -p in the root, new ones with the wanted owner; whether the last one is new."""
    made = False
    walked = ""
    for name in path.strip("/").split("/"):
        walked = posixpath.join(walked, name)
        made = not _is_directory(root_fd, walked)
        if made:
            _make_directory(root_fd, walked, placing)
    return made


def _make_directory(root_fd: int, path: str, placing: Placing) -> None:
    try:
        os.close(makedirs_in_root(root_fd, path))
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise CannotCopy("non-directory", "/" + path) from error
        raise
    fd = open_in_root(root_fd, path, _READ_DIRECTORY)
    try:
        os.fchmod(fd, 0o755)
        if placing.owner is not None:
            os.fchown(fd, placing.owner.uid, placing.owner.gid)
        if placing.now_ns:
            os.utime(fd, ns=(placing.now_ns, placing.now_ns))
    finally:
        os.close(fd)


def copy_directory(tree: Tree, chosen: Sequence[Chosen], root_fd: int, to: Destination,
                   placing: Placing) -> None:  # fmt: skip
    """The content of a directory; the destination takes its mode and time only if it is new."""
    below = chosen if to.is_new else [entry for entry in chosen if entry.target]
    _place(_owned(tree, archive_entries(tree, below)), root_fd, to.directory, placing)


def copy_file(tree: Tree, chosen: Chosen, name: str, root_fd: int, to: Destination,
              placing: Placing) -> None:  # fmt: skip
    """One file, under its destination's name or its own."""
    entry = replace(chosen, target=to.name or name, links=1)
    _place(_owned(tree, archive_entries(tree, [entry])), root_fd, to.directory, placing)


def write_file(content: bytes, name: str, root_fd: int, to: Destination, placing: Placing,
               *, mode: int = 0o644) -> None:  # fmt: skip
    """A file given as bytes: a heredoc."""
    if not name or "/" in name or name in (".", ".."):
        raise InvalidArgument(f"invalid file name {name!r}")
    entry = Entry(
        REGULAR, os.fsencode(to.name or name), mode, size=len(content), mtime_ns=placing.now_ns
    )
    _place([(entry, [memoryview(content)])], root_fd, to.directory, placing)


def unpack(chunks: Iterable[bytes], root_fd: int, directory: str, placing: Placing) -> None:
    """An archive, compressed or not, into a directory of the root."""
    with _Unpacker(root_fd, directory, placing) as extractor:
        reader = TarReader(decompressed(chunks))
        for entry in reader:
            extractor.add(entry, reader.pieces())
        extractor.finish()


def is_archive(read: Callable[[], Iterator[bytes]]) -> bool:
    """Whether the bytes begin as a tar archive, compressed or not."""
    try:
        chunks = decompressed(read())
        head = _start_of(chunks)
        if len(head) < 512 or not head[:512].strip(b"\0"):
            return False
        return next(iter(TarReader(iter([head, bytes(1024)]))), None) is not None
    except (InvalidArchive, BrokenStream, StopIteration, OSError):
        return False


def _start_of(chunks: Iterable[bytes]) -> bytes:
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _HEAD_BYTES:
            break
    return head[:_HEAD_BYTES]


def _place(entries: Iterable[tuple[Entry, Iterable[memoryview]]], root_fd: int, directory: str,
           placing: Placing) -> None:  # fmt: skip
    with Placer(root_fd, directory, placing) as placer:
        for entry, pieces in entries:
            placer.add(entry, pieces)
        placer.finish()


def _owned(
    tree: Tree, entries: Iterable[tuple[Entry, Iterable[memoryview]]]
) -> Iterator[tuple[Entry, Iterable[memoryview]]]:
    """Files of a context belong to root, whoever they belonged to where they came from."""
    for entry, pieces in entries:
        if not tree.own_ids:
            entry.uid = entry.gid = 0
        yield entry, pieces


def _is_directory(root_fd: int, path: str) -> bool:
    try:
        os.close(open_in_root(root_fd, path, OPEN_DIRECTORY))
    except OSError:
        return False
    return True


def _followed(root_fd: int, path: str) -> str:
    """`path` with a link in its place followed, inside the root, if it leads anywhere."""
    with contextlib.suppress(OSError):
        return resolve_in_root(root_fd, path)
    return path
