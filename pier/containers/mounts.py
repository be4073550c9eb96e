"""Making ready what a container mounts, and filling its new volumes from the image.

Most mount points are host paths as they stand. What is not (a path inside a volume, an image) is
mounted on <directory>/<number>, where no link inside the volume can lead elsewhere any more; the
number is the point's place among the container's. mount_namespaces(7), open_tree(2), h.2.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pier.containers.model import MountPoint
from pier.errors import Failed, InvalidArgument, NotFound
from pier.linux import syscalls
from pier.linux.copying import copy_tree
from pier.linux.mount import Overlay, attach, open_overlay, unmount_all
from pier.linux.paths import open_in_root

_BELOW = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_MAGICLINKS
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG)


class BindSourceMissing(InvalidArgument):
    def __init__(self, path: str) -> None:
        super().__init__(
            f'invalid mount config for type "bind": bind source path does not exist: {path}'
        )


class BindSourceNotMade(Failed):
    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"error while creating mount source path '{path}': mkdir {path}: {reason}")


class NotPropagated(Failed):
    def __init__(self, path: str, mount: str, needed: str) -> None:
        super().__init__(f"path {path} is mounted on {mount} but it is not a {needed} mount")


class SubpathNotFound(NotFound):
    def __init__(self, source: str, subpath: str, reason: str) -> None:
        path = f"{source}/{subpath}"
        super().__init__(f"cannot access path {path}: lstat {path}: {reason}")


class SubpathEscapes(InvalidArgument):
    def __init__(self, source: str, subpath: str) -> None:
        super().__init__(
            f"path concatenation escapes the base directory, base: {source}, subpath: {subpath}"
        )


class CannotMountOverFile(InvalidArgument):
    def __init__(self, path: str) -> None:
        super().__init__(f"cannot mount volume over existing file, file exists {path}")


class NotCopiedUp(Failed):
    def __init__(self, point: MountPoint, error: OSError) -> None:
        super().__init__(
            f"failed to copy {point.destination} of the image into volume {point.name}: "
            f"{error.strerror}"
        )


def with_sources(points: Sequence[MountPoint], directory: Path) -> tuple[MountPoint, ...]:
    """`points` with the host paths they have once `prepare` has run. Pure."""
    return tuple(
        replace(point, source=str(directory / str(number))) if _is_prepared(point) else point
        for number, point in enumerate(points)
    )


def prepare(
    points: Sequence[MountPoint], directory: Path, image_overlay: Callable[[str], Overlay]
) -> None:
    """Make every source exist. Blocks. What was done is undone by `release`, twice if need be.

    The sources of volumes are their mounted directories. image_overlay: the layers of an image
    by the ID in `source`. Raises BindSourceMissing, BindSourceNotMade, NotPropagated,
    SubpathNotFound, SubpathEscapes.
    """
    for number, point in enumerate(points):
        if point.kind == "bind":
            _prepare_bind(point)
        elif _is_prepared(point):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            _prepare_below(point, directory / str(number), image_overlay)


def release(directory: Path) -> None:
    """Unmount everything below `directory` and remove it; nothing there is fine. Blocks."""
    if not directory.exists():
        return
    for path in sorted(directory.iterdir(), reverse=True):
        unmount_all(path)
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    directory.rmdir()


def copy_up(root_fd: int, points: Sequence[MountPoint]) -> None:
    """Fill the empty ones among the volumes `points` with what the image has in their place.

    root_fd: the container's root file system, before anything is mounted in it. Blocks. Raises
    CannotMountOverFile, NotCopiedUp, SubpathEscapes.
    """
    for point in points:
        # An image's own /dev is no start for one: its links would be taken for devices.
        wanted = not point.no_copy and point.destination != "/dev"
        if point.kind == "volume" and wanted:
            _copy_up_one(root_fd, point)


def _copy_up_one(root_fd: int, point: MountPoint) -> None:
    with _directory_in(root_fd, point.destination) as source_fd:
        if source_fd is None:
            return
        try:
            target_fd = _open_target(point)
        except SubpathNotFound:
            return  # it is missed at the start, if it still is
        try:
            if not os.listdir(target_fd):  # noqa: PTH208 - a descriptor, not a path
                copy_tree(source_fd, target_fd)
        except OSError as error:
            raise NotCopiedUp(point, error) from error
        finally:
            os.close(target_fd)


def _open_target(point: MountPoint) -> int:
    """The directory of a volume that is mounted. Raises SubpathNotFound, SubpathEscapes."""
    whole_fd = os.open(point.source, _DIRECTORY | os.O_NOFOLLOW)
    if not point.subpath:
        return whole_fd
    try:
        return _open_below(whole_fd, point, _DIRECTORY)
    finally:
        os.close(whole_fd)


@contextlib.contextmanager
def _directory_in(root_fd: int, path: str) -> Iterator[int | None]:
    """The directory `path` of the root, or None if there is nothing."""
    try:
        fd = open_in_root(root_fd, path, _DIRECTORY)
    except NotADirectoryError:
        raise CannotMountOverFile(path) from None
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _is_prepared(point: MountPoint) -> bool:
    return point.kind == "image" or bool(point.subpath)


def _prepare_bind(point: MountPoint) -> None:
    source = Path(point.source)
    if not source.exists():
        if not point.create_source:
            raise BindSourceMissing(point.source)
        try:
            source.mkdir(parents=True, exist_ok=True, mode=0o755)
        except OSError as error:
            raise BindSourceNotMade(point.source, error.strerror or str(error)) from error
    check_propagation(point)


def check_propagation(point: MountPoint) -> None:
    """A mount only travels from or to where the source's own mount lets it. NotPropagated."""
    kind = point.propagation.removeprefix("r")
    if kind not in ("shared", "slave"):
        return
    source = os.path.realpath(point.source)
    holder = _mount_of(source, Path("/proc/self/mountinfo").read_text())
    if kind == "shared" and not holder.shared:
        raise NotPropagated(point.source, holder.path, "shared")
    if kind == "slave" and not (holder.shared or holder.slave):
        raise NotPropagated(point.source, holder.path, "shared or slave")


class _Holder(NamedTuple):
    path: str
    shared: bool
    slave: bool


def _mount_of(path: str, mountinfo: str) -> _Holder:
    """The mount that `path` (no links in it) is on; proc_pid_mountinfo(5)."""
    found = _Holder("/", shared=False, slave=False)
    for line in mountinfo.splitlines():
        fields = line.partition(" - ")[0].split(" ")
        point = fields[4].replace("\\040", " ")
        holds = path == point or path.startswith(point.rstrip("/") + "/")
        if holds and len(point) >= len(found.path):
            marks = [field.partition(":")[0] for field in fields[6:]]
            found = _Holder(point, "shared" in marks, "master" in marks)
    return found


def _prepare_below(
    point: MountPoint, target: Path, image_overlay: Callable[[str], Overlay]
) -> None:
    """Mount the part of a volume or an image that is asked for on `target`."""
    unmount_all(target)
    if point.kind == "volume":
        source_fd = os.open(point.source, _DIRECTORY)
        try:
            _mount_subpath(source_fd, point, target)
        finally:
            os.close(source_fd)
        return
    whole = target.with_name(f"{target.name}.image") if point.subpath else target
    unmount_all(whole)
    whole.mkdir(exist_ok=True)
    image_fd = open_overlay(image_overlay(point.source))
    try:
        attach(image_fd, str(whole))
        if point.subpath:
            _mount_subpath(image_fd, point, target)
    finally:
        os.close(image_fd)


def _mount_subpath(root_fd: int, point: MountPoint, target: Path) -> None:
    """By descriptor: what is mounted is what was looked up, whoever renames things meanwhile."""
    fd = _open_below(root_fd, point, os.O_PATH)
    try:
        _make_target(target, directory=stat.S_ISDIR(os.fstat(fd).st_mode))
        tree = open_clone(fd)
        try:
            attach(tree, str(target))
        finally:
            os.close(tree)
    finally:
        os.close(fd)


def open_clone(fd: int) -> int:
    """What `fd` is, and what is mounted below it, as a detached mount; the caller closes it."""
    flags = (
        syscalls.OPEN_TREE_CLONE
        | syscalls.OPEN_TREE_CLOEXEC
        | syscalls.AT_EMPTY_PATH
        | syscalls.AT_RECURSIVE
    )
    return syscalls.open_tree(fd, "", flags)


def _open_below(root_fd: int, point: MountPoint, flags: int) -> int:
    """The subpath of the volume or image `root_fd`. Raises SubpathNotFound, SubpathEscapes."""
    source = point.name if point.kind == "image" else point.source
    try:
        return open_in_root(root_fd, point.subpath, flags, resolve=_BELOW)
    except OSError as error:
        if error.errno == errno.EXDEV:  # by a link
            raise SubpathEscapes(source, point.subpath) from error
        reason = os.strerror(error.errno or errno.EIO).lower()
        raise SubpathNotFound(source, point.subpath, reason) from error


def _make_target(target: Path, *, directory: bool) -> None:
    if directory:
        target.mkdir(exist_ok=True)
    else:
        target.touch(exist_ok=True)
