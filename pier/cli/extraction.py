"""Unpacking a tar stream of a container into a directory of this machine, and nowhere else.

The archive was made by a container and is not to be trusted: no name, symbolic link or hard link
in it may touch anything outside the destination. So every step is relative to a descriptor of
the directory before it, and no link is followed on the way (openat(2), O_NOFOLLOW).
"""

from __future__ import annotations

import os
import tarfile

from pier.cli.faults import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, BinaryIO

CHUNK = 256 * 1024
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class UnsafeName(Fault):
    def __init__(self, name: str) -> None:
        super().__init__(f"refusing to unpack {name!r}: it leads out of the destination")


def extract(stream: BinaryIO, directory: str, rename: Callable[[str], str]) -> None:
    """Unpack the archive in `stream` into `directory`, an existing one.

    `rename` turns a name of the archive into one below `directory`. Owners are not restored;
    modes and times are.
    """
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    late: list[tuple[list[str], tarfile.TarInfo]] = []
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as archive:
            for member in archive:
                parts = _parts(rename(member.name))
                if member.isdir():
                    late.append((parts, member))
                _extract_one(archive, member, root, parts, rename)
        for parts, member in reversed(late):
            _finish_directory(root, parts, member)
    except tarfile.TarError as error:  # the daemon broke off
        raise Fault(str(error)) from error
    finally:
        os.close(root)


def _parts(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise UnsafeName(name)
    return parts


def _open_parent(root: int, parts: list[str]) -> int:
    """Return a descriptor of the directory above the last of `parts`, made where missing."""
    here = os.dup(root)
    for part in parts[:-1]:
        try:
            below = os.open(part, _DIRECTORY, dir_fd=here)
        except FileNotFoundError:
            os.mkdir(part, 0o755, dir_fd=here)
            below = os.open(part, _DIRECTORY, dir_fd=here)
        except OSError as error:
            os.close(here)
            raise UnsafeName("/".join(parts)) from error
        os.close(here)
        here = below
    return here


def _extract_one(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    root: int,
    parts: list[str],
    rename: Callable[[str], str],
) -> None:
    if not parts:
        return
    parent, name = _open_parent(root, parts), parts[-1]
    try:
        if member.isdir():
            _make_directory(parent, name)
            return
        _make_room(parent, name)
        if member.issym():
            os.symlink(member.linkname, name, dir_fd=parent)
        elif member.islnk():
            _link(root, _parts(rename(member.linkname)), parent, name)
        elif member.isreg():
            _write(archive.extractfile(member), member, parent, name)
        elif member.isfifo():
            os.mkfifo(name, 0o600, dir_fd=parent)
            os.chmod(name, member.mode & 0o7777, dir_fd=parent)
        elif member.isdev():
            _make_device(member, parent, name)
    finally:
        os.close(parent)


def _make_directory(parent: int, name: str) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        if not _is_directory(parent, name):
            message = f'cannot overwrite non-directory "{name}" with directory "{name}"'
            raise Fault(message) from None


def _is_directory(parent: int, name: str) -> bool:
    import stat

    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _make_room(parent: int, name: str) -> None:
    """Remove the file that is in the way; a directory is not removed."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        if _is_directory(parent, name):
            message = f'cannot overwrite directory "{name}" with non-directory "{name}"'
            raise Fault(message) from None
        raise


def _link(root: int, target: list[str], parent: int, name: str) -> None:
    if not target:
        raise UnsafeName(name)
    above = _open_parent(root, target)
    try:
        os.link(target[-1], name, src_dir_fd=above, dst_dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(above)


def _write(source: IO[bytes] | None, member: tarfile.TarInfo, parent: int, name: str) -> None:
    fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
    with open(fd, "wb", closefd=True) as file:
        while source and (chunk := source.read(CHUNK)):
            file.write(chunk)
        file.flush()
        os.fchmod(fd, member.mode & 0o7777)
        os.utime(fd, (member.mtime, member.mtime))


def _make_device(member: tarfile.TarInfo, parent: int, name: str) -> None:
    import stat

    kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
    number = os.makedev(member.devmajor, member.devminor)
    os.mknod(name, kind | 0o600, number, dir_fd=parent)
    os.chmod(name, member.mode & 0o7777, dir_fd=parent)  # the umask is not the archive's


def _finish_directory(root: int, parts: list[str], member: tarfile.TarInfo) -> None:
    """Give a directory its mode and time once nothing more is written into it."""
    if not parts:
        return
    parent = _open_parent(root, parts)
    try:
        fd = os.open(parts[-1], _DIRECTORY, dir_fd=parent)
        os.fchmod(fd, member.mode & 0o7777)
        os.utime(fd, (member.mtime, member.mtime))
        os.close(fd)
    finally:
        os.close(parent)
