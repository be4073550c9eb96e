"""Image layers become directories that overlayfs stacks (OCI image spec, layer.md).

A layer says what is gone by names, `.wh.<name>` and `.wh..wh..opq`; overlayfs by a character
device 0:0 and by the attribute trusted.overlay.opaque. The translation happens as the entries
come, in one pass. What a layer deletes is in the layers below: entries of its own survive,
before and after.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pier.archive.compression import decompressed
from pier.archive.entry import DIRECTORY, Entry, InvalidArchive, show
from pier.archive.extract import Extractor
from pier.archive.pipeline import Hasher, in_thread
from pier.archive.reader import TarReader
from pier.linux import paths
from pier.oci.digest import Digest

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
AUFS = b".wh..wh."
"""Other names that begin like this are AUFS's own records, and mean nothing."""
OPAQUE_XATTR = "trusted.overlay.opaque"
_WHITEOUT_DEVICE = os.makedev(0, 0)
_MAX_IMPLIED = 10_000


@dataclass(frozen=True, slots=True)
class Extracted:
    """What came out of a layer. size counts the bytes of its regular files."""

    diff_id: Digest
    size: int
    implied: tuple[bytes, ...]
    """Directories without an entry of their own, b"" for the root; see `inherit`."""


def is_whiteout(found: os.stat_result) -> bool:
    """Whether a file is overlayfs's mark for "deleted"."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == _WHITEOUT_DEVICE


def is_opaque(directory: int | Path) -> bool:
    """Whether a directory (a descriptor or a path) hides what is below it.

    The kernel does not look at the root directories of layers: see `Snapshotter.chain`.
    """
    try:
        return os.getxattr(directory, OPAQUE_XATTR) == b"y"
    except OSError:
        return False


class LayerExtractor(Extractor):
    """Extracts into an empty directory that nobody else knows yet."""

    def __init__(self, root_fd: int) -> None:
        super().__init__(root_fd)
        self.implied: dict[bytes, None] = {b"": None}

    def place(self, path: bytes, entry: Entry, pieces: Iterable[memoryview]) -> None:  # type: ignore[explicit-override]  # typing.override: 3.12
        directory, _, name = path.rpartition(b"/")
        if not name.startswith(WHITEOUT):
            super().place(path, entry, pieces)
            if entry.kind == DIRECTORY:
                self.implied.pop(path, None)
        elif name == OPAQUE:
            self._hide_below(directory)
        elif not name.startswith(AUFS):
            self._delete(directory, name[len(WHITEOUT) :])

    def _hide_below(self, directory: bytes) -> None:
        os.setxattr(f"/proc/self/fd/{self.parent(directory)}", OPAQUE_XATTR, b"y")

    def _delete(self, directory: bytes, name: bytes) -> None:
        """Hide `name` of the layers below, not one of this layer."""
        if name in (b"", b".", b".."):
            raise InvalidArchive(f'invalid tar archive: whiteout of "{show(name)}"')
        parent = self.parent(directory)
        try:
            os.mknod(name, stat.S_IFCHR, _WHITEOUT_DEVICE, dir_fd=parent)
        except FileExistsError:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                self._mark_opaque(parent, name)

    def replace(self, parent: int, path: bytes, name: bytes, entry: Entry) -> bool:  # type: ignore[explicit-override]
        """A directory in place of anything else starts empty: it hides those below."""
        again = super().replace(parent, path, name, entry)
        if again and entry.kind == DIRECTORY:
            os.mkdir(name, 0o700, dir_fd=parent)
            self._mark_opaque(parent, name)
        return again

    def make_implied(self, parent: int, path: bytes, name: bytes) -> int:  # type: ignore[explicit-override]
        if len(self.implied) < _MAX_IMPLIED:
            self.implied[path] = None
        with contextlib.suppress(FileNotFoundError):
            if is_whiteout(os.stat(name, dir_fd=parent, follow_symlinks=False)):
                os.unlink(name, dir_fd=parent)
                os.mkdir(name, 0o755, dir_fd=parent)
                self._mark_opaque(parent, name)
                return self.open(path, paths.DIRECTORY)
        return super().make_implied(parent, path, name)

    def inherits(self) -> bool:  # type: ignore[explicit-override]
        return False

    def _mark_opaque(self, parent: int, name: bytes) -> None:
        where = b"/proc/self/fd/%d/%b" % (parent, name)
        os.setxattr(where, OPAQUE_XATTR, b"y", follow_symlinks=False)


def extract_layer(
    chunks: Iterable[bytes], directory: Path, check: Callable[[int], None] | None = None
) -> Extracted:
    """Extract a layer, compressed or not, into the empty `directory`.

    check is told the size of each piece of the plain archive, and may raise: no room for more.

    Decompressing, hashing and extracting overlap in threads that end with the call; `chunks` is
    read in one of them. Raises InvalidArchive, BrokenStream, ExtractFailed; the directory is of
    no use then. The caller compares the diff ID.
    """
    hasher = Hasher()
    root_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with (
            in_thread(decompressed(chunks)) as plain,
            contextlib.closing(hasher.watch(_checked(plain, check))) as watched,
            LayerExtractor(root_fd) as extractor,
        ):
            reader = TarReader(watched)
            for entry in reader:
                extractor.add(entry, reader.pieces())
            extractor.finish()
    finally:
        os.close(root_fd)
    return Extracted(hasher.digest, extractor.size, tuple(extractor.implied))


def _checked(chunks: Iterator[bytes], check: Callable[[int], None] | None) -> Iterator[bytes]:
    if check is None:
        return chunks
    return (chunk for chunk in chunks if check(len(chunk)) is None)


def inherit(directory: Path, lower: Sequence[Path], implied: Sequence[bytes]) -> None:
    """Give directories that had no entry the owner, mode and times of those they cover.

    lower is what the layer stands on, topmost first. A tar that leaves out `usr/` must not
    change it; overlayfs shows the topmost directory's owner and mode.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.ExitStack() as stack:
        target_fd, *lower_fds = (_opened(path, flags, stack) for path in (directory, *lower))
        for path in implied:
            _inherit_one(target_fd, lower_fds, path, flags)


def _opened(path: Path, flags: int, stack: contextlib.ExitStack) -> int:
    fd = os.open(path, flags)
    stack.callback(os.close, fd)
    return fd


def _inherit_one(target_fd: int, lower_fds: Sequence[int], path: bytes, flags: int) -> None:
    found = next((s for fd in lower_fds if (s := _stat_below(fd, path, flags))), None)
    if found is None:
        return
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        fd = paths.open_in_root(target_fd, path, flags, resolve=paths.STRICTLY_BELOW)
        try:
            os.fchown(fd, found.st_uid, found.st_gid)
            os.fchmod(fd, stat.S_IMODE(found.st_mode))
            os.utime(fd, ns=(found.st_mtime_ns, found.st_mtime_ns))
        finally:
            os.close(fd)


def _stat_below(root_fd: int, path: bytes, flags: int) -> os.stat_result | None:
    try:
        fd = paths.open_in_root(root_fd, path, flags, resolve=paths.STRICTLY_BELOW)
    except OSError:
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)
