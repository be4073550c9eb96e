"""Trees inside a root as tar streams, and back: export, cp, ADD.

Whiteouts mean nothing here. The tree may be a running container's: nothing is read or written
outside of the root, whatever it does meanwhile.
"""

import os
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pier.archive.compression import decompressed
from pier.archive.entry import DIRECTORY, Entry, show
from pier.archive.extract import Extractor
from pier.archive.reader import TarReader
from pier.archive.walk import Found, join, walk
from pier.archive.writer import TarWriter, Write
from pier.errors import InvalidArgument
from pier.linux import paths


class OverwriteRefused(InvalidArgument):
    def __init__(self, path: bytes, *, directory: bool) -> None:
        old, new = ("directory", "non-directory") if directory else ("non-directory", "directory")
        super().__init__(f'cannot overwrite {old} "{show(path)}" with {new}')


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractOptions:
    """How an archive goes into an existing tree."""

    owner: tuple[int, int] | None = None
    """User and group ID for everything, instead of the archive's."""
    keep_kinds: bool = False
    """Refuse to replace a directory by something else, or the other way round."""


def write_tree(
    root_fd: int,
    path: bytes,
    write: Write,
    *,
    name: bytes | None = None,
    empty: Collection[int] = (),
) -> int:
    """Write what is at `path` in the root: a file, or a directory with everything in it.

    A link in the last component is written as a link. Members are named `name` and below (b"."
    for the contents, b"/" for those of the root); None names them by their path below `path` and
    leaves out the directory itself, as export does. empty: devices (st_dev) whose directories are
    written without what is in them. Returns the bytes of regular files. Raises OSError if it is
    not there.
    """
    writer = TarWriter(write)
    fd = paths.open_in_root(root_fd, path, os.O_PATH, follow=False)
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            _write_directories(writer, fd, name, empty)
        else:
            _write_single(writer, root_fd, path, name)
    finally:
        os.close(fd)
    writer.close()
    return writer.size


def _write_directories(
    writer: TarWriter, fd: int, name: bytes | None, empty: Collection[int]
) -> None:
    root = name == b"/"
    prefix = b"" if root else name or b""
    for directory in walk(fd):
        if directory.stat.st_dev in empty:
            directory.files.clear()
            directory.below.clear()
        path = _named(prefix, directory.path, root=root) if directory.path else prefix
        if path or root:
            writer.directory(path, directory)
        for found in directory.files:
            writer.file(_named(prefix, found.path, root=root), directory.fd, found)


def _named(prefix: bytes, path: bytes, *, root: bool) -> bytes:
    return b"/" + path if root else join(prefix, path)


def _write_single(writer: TarWriter, root_fd: int, path: bytes, name: bytes | None) -> None:
    above, _, last = path.rstrip(b"/").rpartition(b"/")
    parent = paths.open_in_root(root_fd, above, paths.DIRECTORY)
    try:
        found = os.stat(last, dir_fd=parent, follow_symlinks=False)
        writer.file(name or last, parent, Found(path, last, found))
    finally:
        os.close(parent)


class _TreeExtractor(Extractor):
    def __init__(self, root_fd: int, base: bytes, options: ExtractOptions) -> None:
        super().__init__(root_fd, base)
        self._options = options

    def place_root(self, entry: Entry) -> None:  # type: ignore[explicit-override]  # typing.override: 3.12
        """The place it goes to is left as it is."""

    def replace(self, parent: int, path: bytes, name: bytes, entry: Entry) -> bool:  # type: ignore[explicit-override]
        if self._options.keep_kinds:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode) != (entry.kind == DIRECTORY):
                raise OverwriteRefused(path, directory=stat.S_ISDIR(found.st_mode))
        return super().replace(parent, path, name, entry)

    def owner(self, entry: Entry) -> tuple[int, int]:  # type: ignore[explicit-override]
        return self._options.owner or super().owner(entry)


def extract_tree(
    chunks: Iterable[bytes],
    root_fd: int,
    path: bytes = b"",
    options: ExtractOptions = ExtractOptions(),
) -> int:
    """Extract an archive, compressed or not, into the directory `path` of the root.

    Links in `path` and in the tree are followed inside the root. Returns the bytes of regular
    files. Raises OSError if `path` is no directory, otherwise InvalidArchive, BrokenStream,
    ExtractFailed or OverwriteRefused; what was extracted before stays.
    """
    os.close(paths.open_in_root(root_fd, path, paths.DIRECTORY))
    with _TreeExtractor(root_fd, path, options) as extractor:
        reader = TarReader(decompressed(chunks))
        for entry in reader:
            extractor.add(entry, reader.pieces())
        extractor.finish()
        return extractor.size
