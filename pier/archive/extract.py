"""Entries become files below a directory, and never outside it.

Every name is cleaned by its letters, every parent directory is opened with openat2 inside the
root, and every file is made relative to that descriptor, without following a link in the last
component. So neither a hostile archive nor a container that changes the tree at the same time
can lead a write elsewhere. Owners, modes and times of directories are set at the end.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Mapping
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Self

from pier.archive.entry import (
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    Breakout,
    Entry,
    InvalidArchive,
    show,
)
from pier.errors import Failed
from pier.linux import paths
from pier.linux.trees import remove_tree

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OPEN_PARENTS = 64
_TRIES = 8
"""A container may put something in our way again and again; we do not argue forever."""
_REPLACED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""How a directory is missed that a later entry put something else in the place of."""
_NOT_KEPT = (errno.ENOTSUP, errno.EPERM)
_TIME_LIMIT_NS = 2**62
_MAX_KEPT_XATTRS = 64 * 1024 * 1024
"""Bytes of directories' attributes that wait for the end. An ACL has some dozens."""

_CAPABILITY = b"security.capability"
_PLAIN_XATTRS = (b"user.", b"trusted.", b"system.posix_acl_")
_OVERLAY_XATTRS = (b"trusted.overlay.", b"user.overlay.")


class ExtractFailed(Failed):
    def __init__(self, name: bytes, error: OSError) -> None:
        super().__init__(f'extracting "{show(name)}": {error.strerror or error}')


def portable_xattr(name: bytes) -> bool:
    """Whether an attribute travels in archives: overlayfs's own must not, in or out."""
    if name.startswith(_OVERLAY_XATTRS) or b"\0" in name:
        return False
    return name == _CAPABILITY or name.startswith(_PLAIN_XATTRS)


def umask() -> int:
    """The process's file mode creation mask, without changing it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o777


class Extractor:
    """Writes entries into the directory `base` of the root `root_fd` (borrowed).

    Use it as a context manager; `finish` completes the work. Subclasses say what is allowed to
    replace what. size counts the bytes of the regular files.
    """

    def __init__(self, root_fd: int, base: bytes = b"") -> None:
        self._root_fd = root_fd
        self._base = base
        self._parents: dict[bytes, int] = {}
        self._directories: dict[bytes, Entry] = {}
        self._kept = 0
        self._masked = umask() | 0o7000
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._forget_parents()

    def add(self, entry: Entry, pieces: Iterable[memoryview]) -> None:
        """Make what `entry` describes. pieces is a regular file's stored data."""
        name = paths.clean(entry.name)
        if name is None:
            raise Breakout(entry.name)
        if b"\0" in name or b"\0" in entry.link:
            raise InvalidArchive("invalid tar archive: NUL in a name")
        try:
            self.place(name, entry, pieces)
        except OSError as error:
            raise ExtractFailed(entry.name, error) from error

    def place(self, path: bytes, entry: Entry, pieces: Iterable[memoryview]) -> None:
        """Make `entry` at the cleaned `path`."""
        if not path:
            self.place_root(entry)
            return
        directory, _, name = path.rpartition(b"/")
        parent = self.parent(directory)
        for _ in range(_TRIES):
            try:
                self._make(parent, path, name, entry, pieces)
            except FileExistsError:
                with contextlib.suppress(FileNotFoundError):  # another was quicker to remove it
                    if not self.replace(parent, path, name, entry):
                        return
            else:
                return
        raise OSError(errno.EBUSY, "something else keeps taking its place")

    def place_root(self, entry: Entry) -> None:
        """What an entry for the root itself does: gives it owner, mode and times."""
        if entry.kind != DIRECTORY:
            raise InvalidArchive("invalid tar archive: the root is not a directory")
        self._keep(b"", entry)

    def _keep(self, path: bytes, entry: Entry) -> None:
        """Remember what a directory shall look like in the end; a bomb must not fill the memory."""
        entry.link = b""
        self._kept += sum(map(len, entry.xattrs.values()))
        if self._kept > _MAX_KEPT_XATTRS:
            raise InvalidArchive("invalid tar archive: too many attributes of directories")
        self._directories[path] = entry

    def replace(self, parent: int, path: bytes, name: bytes, entry: Entry) -> bool:
        """Remove what is at `name`, and say so; False if `entry` is the same directory or file."""
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode) and entry.kind == DIRECTORY:
            self._keep(path, entry)
            return False
        if entry.kind == HARD_LINK and self._is_link_to(found, entry):
            return False
        self.displace(parent, name, found)
        return True

    def displace(self, parent: int, name: bytes, found: os.stat_result) -> None:
        """Remove what is at `name`: a file, or a whole directory."""
        if stat.S_ISDIR(found.st_mode):
            self._forget_parents(keep=parent)
            remove_tree(name, dir_fd=parent)
            return
        if stat.S_ISLNK(found.st_mode):
            self._forget_parents(keep=parent)
        os.unlink(name, dir_fd=parent)

    def _is_link_to(self, found: os.stat_result, entry: Entry) -> bool:
        directory, name = self._split_link(entry)
        target = os.stat(name, dir_fd=self.parent(directory), follow_symlinks=False)
        return os.path.samestat(found, target)

    def _make(
        self, parent: int, path: bytes, name: bytes, entry: Entry, pieces: Iterable[memoryview]
    ) -> None:
        """Make it where nothing is; FileExistsError where something is."""
        match entry.kind:
            case b"0":
                self._file(parent, name, entry, pieces)
            case b"5":
                os.mkdir(name, 0o700, dir_fd=parent)
                self._keep(path, entry)
            case b"2":
                os.symlink(entry.link, name, dir_fd=parent)
                self._finish_by_name(parent, name, entry)
            case b"1":
                self._link(parent, name, entry)
            case _:
                self._special(parent, name, entry)

    def _file(self, parent: int, name: bytes, entry: Entry, pieces: Iterable[memoryview]) -> None:
        fd = os.open(name, _CREATE, entry.mode & 0o777, dir_fd=parent)
        try:
            if entry.extents is None:
                for piece in pieces:
                    write_all(fd, piece)
            else:
                _write_extents(fd, entry, pieces)
            self.size += entry.size
            self._finish(fd, entry)
        finally:
            os.close(fd)

    def _link(self, parent: int, name: bytes, entry: Entry) -> None:
        directory, target = self._split_link(entry)
        os.link(
            target,
            name,
            src_dir_fd=self.parent(directory),
            dst_dir_fd=parent,
            follow_symlinks=False,
        )

    def _split_link(self, entry: Entry) -> tuple[bytes, bytes]:
        target = paths.clean(entry.link)
        if target is None:
            raise Breakout(entry.link)
        directory, _, name = target.rpartition(b"/")
        if not name:
            raise InvalidArchive("invalid tar archive: a hard link to nothing")
        return directory, name

    def _special(self, parent: int, name: bytes, entry: Entry) -> None:
        if entry.kind == FIFO:
            os.mkfifo(name, 0o600, dir_fd=parent)
        else:
            kind = stat.S_IFCHR if entry.kind == CHARACTER else stat.S_IFBLK
            os.mknod(name, kind | 0o600, entry.device, dir_fd=parent)
        self._finish_by_name(parent, name, entry)
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{fd}", entry.mode)  # noqa: PTH101 - the inode, not a name
        finally:
            os.close(fd)

    def owner(self, entry: Entry) -> tuple[int, int]:
        """Whom it belongs to, whatever the archive says."""
        return entry.uid, entry.gid

    def inherits(self) -> bool:
        """Whether directories here may give new files a group, or modes by ACL."""
        return True

    def _finish(self, fd: int, entry: Entry) -> None:
        uid, gid = self.owner(entry)
        if uid or gid or self.inherits():
            os.fchown(fd, uid, gid)
        if entry.mode & self._masked or self.inherits():
            os.fchmod(fd, entry.mode)
        if entry.xattrs:
            set_xattrs(fd, entry.xattrs)
        times = _bounded(entry.mtime_ns)
        os.utime(fd, ns=(times, times))

    def _finish_by_name(self, parent: int, name: bytes, entry: Entry) -> None:
        uid, gid = self.owner(entry)
        if uid or gid or self.inherits():
            os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
        times = _bounded(entry.mtime_ns)
        os.utime(name, ns=(times, times), dir_fd=parent, follow_symlinks=False)

    def parent(self, directory: bytes) -> int:
        """A descriptor of a directory, made if it is missing. Valid for the next few calls."""
        fd = self._parents.pop(directory, None)
        if fd is None:
            try:
                fd = self.open(directory, paths.DIRECTORY)
            except (FileNotFoundError, NotADirectoryError):
                fd = self._make_parents(directory)
            if len(self._parents) >= _OPEN_PARENTS:
                os.close(self._parents.pop(next(iter(self._parents))))
        self._parents[directory] = fd
        return fd

    def open(self, path: bytes, flags: int, *, follow: bool = True) -> int:
        """Open a path of the archive inside the root."""
        where = self._base + b"/" + path if self._base else path
        return paths.open_in_root(self._root_fd, where, flags, follow=follow)

    def _make_parents(self, directory: bytes) -> int:
        """Go down from the root, making what is missing."""
        fd = self.open(b"", paths.DIRECTORY)
        names = directory.split(b"/")
        for path, name in zip(accumulate(names, _join), names, strict=True):
            try:
                below = self.open(path, paths.DIRECTORY)
            except (FileNotFoundError, NotADirectoryError):
                below = self.make_implied(fd, path, name)
            finally:
                os.close(fd)
            fd = below
        return fd

    def make_implied(self, parent: int, path: bytes, name: bytes) -> int:
        """Make a directory that has no entry (yet); return a descriptor of it."""
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            where = self._base + b"/" + path if self._base else path
            return paths.makedirs_in_root(self._root_fd, where)
        return self.open(path, paths.DIRECTORY)

    def _forget_parents(self, keep: int = -1) -> None:
        """Names may mean something else from now on."""
        for path, fd in tuple(self._parents.items()):
            if fd != keep:
                os.close(self._parents.pop(path))

    def finish(self) -> None:
        """Give the directories what their entries said, the deepest first."""
        for path, entry in reversed(self._directories.items()):
            try:
                fd = self.open(path, _READ_DIRECTORY, follow=False)
            except OSError as error:
                if error.errno in _REPLACED:
                    continue
                raise ExtractFailed(entry.name, error) from error
            try:
                self._finish(fd, entry)
                os.fchmod(fd, entry.mode)
            except OSError as error:
                raise ExtractFailed(entry.name, error) from error
            finally:
                os.close(fd)
        self._directories.clear()


def _join(above: bytes, name: bytes) -> bytes:
    return above + b"/" + name


def write_all(fd: int, data: memoryview) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


def _write_extents(fd: int, entry: Entry, pieces: Iterable[memoryview]) -> None:
    """Write a sparse file's data where it belongs; the rest stays a hole."""
    source = iter(pieces)
    piece = memoryview(b"")
    for offset, length in entry.extents or ():
        os.lseek(fd, offset, os.SEEK_SET)
        left = length
        while left:
            piece = piece or next(source)
            write_all(fd, piece[:left])
            left, piece = left - len(piece[:left]), piece[left:]
    os.ftruncate(fd, entry.size)


def set_xattrs(fd: int, xattrs: Mapping[bytes, bytes]) -> None:
    """Set what travels, as far as the file system takes it (Docker warns at most)."""
    for name, value in xattrs.items():
        if portable_xattr(name):
            try:
                os.setxattr(fd, name, value)
            except OSError as error:
                if error.errno not in _NOT_KEPT:
                    raise


def _bounded(time_ns: int) -> int:
    return min(max(time_ns, -_TIME_LIMIT_NS), _TIME_LIMIT_NS)
