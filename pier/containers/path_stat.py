"""What is at a path in a container, as `docker cp` asks: k.8. By descriptors inside the root."""

import os
import posixpath
import stat

from pier.containers.model import MountPoint
from pier.containers.requests import PathStat
from pier.errors import Failed, InvalidArgument, NotFound, PierError
from pier.linux.paths import is_kernels_own, open_in_root, resolve_in_root


class PathNotFound(NotFound):
    def __init__(self, path: str, container: str) -> None:
        super().__init__(f"Could not find the file {path} in container {container}")


class NotADirectory(Failed):
    """A slash after a file, or a path that goes on below it."""

    def __init__(self, path: str) -> None:
        super().__init__(f"lstat {path}: not a directory")


class NotADirectoryPoint(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("extraction point is not a directory")


class MountReadOnly(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("mounted volume is marked read-only")


class RootReadOnly(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("container rootfs is marked read-only")


def absolute(path: str) -> str:
    """From the root, without `..`; a slash or `/.` at the end stays, as it means the contents."""
    cleaned = posixpath.normpath("/" + path).strip("/")
    if posixpath.basename(path.rstrip("/")) == ".":
        return f"/{cleaned}/.".replace("//", "/")
    return f"/{cleaned}/" if cleaned and path.endswith("/") else f"/{cleaned}"


def base_name(path: str) -> str:
    """The last part of an absolute path: "." for contents, "/" for the root."""
    return posixpath.basename(path.rstrip("/")) or "/"


def stat_path(root_fd: int, path: str, container: str) -> PathStat:
    """`path` is absolute. A link at its end is not followed.

    What the kernel shows below /proc and the like is no file of the container, as for Docker.
    Raises PathNotFound, NotADirectory.
    """
    try:
        fd = open_in_root(root_fd, path, os.O_PATH, follow=False)
        try:
            found = os.fstat(fd)
            kernels_own = not stat.S_ISDIR(found.st_mode) and is_kernels_own(fd)
        finally:
            os.close(fd)
        target = link_target(root_fd, path) if stat.S_ISLNK(found.st_mode) else ""
    except OSError as error:
        raise _missing(path, container, error) from error
    if kernels_own:
        raise PathNotFound(path, container)
    return PathStat(
        name=base_name(path),
        size=found.st_size,
        mode=found.st_mode,
        mtime_ns=found.st_mtime_ns,
        link_target=target,
    )


def _missing(path: str, container: str, error: OSError) -> PierError:
    if isinstance(error, NotADirectoryError):
        return NotADirectory(path)
    return PathNotFound(path, container)


def link_target(root_fd: int, path: str) -> str:
    """Where the link at `path` leads in the end, absolute; by its letters if nothing is there."""
    try:
        return resolve_in_root(root_fd, path)
    except OSError:
        fd = open_in_root(root_fd, path, os.O_PATH, follow=False)
        try:
            target = os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)
        return absolute(posixpath.join(posixpath.dirname(path), target)).rstrip("/") or "/"


def resolve_directory(root_fd: int, path: str, container: str) -> str:
    """Where an archive goes: links followed.

    Raises PathNotFound, NotADirectory, NotADirectoryPoint.
    """
    try:
        resolved = resolve_in_root(root_fd, path)
        fd = open_in_root(root_fd, resolved, os.O_PATH)
    except OSError as error:
        raise _missing(path, container, error) from error
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            raise NotADirectoryPoint
        if is_kernels_own(fd):
            raise PathNotFound(path, container)
    finally:
        os.close(fd)
    return resolved


def check_writable(path: str, points: tuple[MountPoint, ...], *, readonly_rootfs: bool) -> None:
    """`path` is absolute and resolved. Raises MountReadOnly, RootReadOnly."""
    holders = [point for point in points if _holds(point.destination, path)]
    if not holders:
        if readonly_rootfs:
            raise RootReadOnly
        return
    if not max(holders, key=lambda point: len(point.destination)).writable:
        raise MountReadOnly


def _holds(destination: str, path: str) -> bool:
    return path == destination or path.startswith(destination.rstrip("/") + "/")
