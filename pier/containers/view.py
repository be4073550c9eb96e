"""A container's file system, opened from outside: what /proc/<pid>/root shows, running or not.

For a stopped container everything is mounted in a private mount namespace of one thread, where
it is gone with the thread; the host never sees it. All work is by descriptors opened inside the
root (pier.linux.paths), so no link and no race leads out of it. mount_namespaces(7), openat2(2).
"""

import contextlib
import os
import stat
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pier.containers.model import MountPoint
from pier.containers.mounts import open_clone, prepare, with_sources
from pier.errors import Conflict
from pier.linux import syscalls
from pier.linux.mount import Overlay, attach, attach_at, open_overlay
from pier.linux.paths import DIRECTORY, makedirs_in_root, open_in_root

T = TypeVar("T")

_KERNEL_FILE_SYSTEMS = frozenset((
    "bpf", "cgroup", "cgroup2", "debugfs", "devpts", "devtmpfs", "mqueue", "proc", "pstore",
    "securityfs", "sysfs", "tracefs",
))  # fmt: skip
_NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What to look at. pid: process 1 of a running container; 0: mount everything ourselves.

    `points` have volumes' directories as sources; `scratch` is an empty directory to mount on.
    """

    pid: int = 0
    overlay: Overlay
    points: Sequence[MountPoint] = ()
    scratch: Path
    image_overlay: Callable[[str], Overlay]


class JustEnded(Conflict):
    def __init__(self) -> None:
        super().__init__("the container ended while its files were being opened; try again")


class _Thread(threading.Thread):
    """One piece of work in a thread of its own, whose result or error is kept."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(name="view", daemon=True)
        self._work = work
        self.result: object = None
        self.error: BaseException | None = None

    def run(self) -> None:  # type: ignore[explicit-override]  # typing.override: 3.12
        try:
            self.result = self._work()
        except BaseException as error:
            self.error = error


def in_view(view: View, work: Callable[[int], T]) -> T:
    """Run `work` with the root's descriptor, with all mounts visible; return what it returns.

    Blocks. Nobody else may mount the overlay meanwhile: hold the lock of a stopped container.
    """
    if view.pid:
        fd = _open_process("root", view.pid, DIRECTORY)
        try:
            return work(fd)
        finally:
            os.close(fd)
    return _in_own_thread(lambda: _with_mounts(view, work))


def kernel_devices(view: View) -> frozenset[int]:
    """Devices (st_dev) of what a copy of the whole root shows empty, as images have it.

    That is /dev, and what are no files but the kernel's words: /proc, /sys and their like.
    """
    if not view.pid:
        return frozenset()
    found = set()
    try:
        mounts = Path(f"/proc/{view.pid}/mountinfo").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        raise JustEnded from None
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        device, place = left.split(" ")[2], left.split(" ")[4]
        if place == "/dev" or right.split(" ")[0] in _KERNEL_FILE_SYSTEMS:
            major, _, minor = device.partition(":")
            found.add(os.makedev(int(major), int(minor)))
    return frozenset(found)


def open_root_alone(pid: int) -> int:
    """The root file system of a running container without anything mounted in it, for export.

    A clone of its one mount, so it is the live file system. The caller closes it. The thread
    enters the container's namespace for a single system call and does nothing else there: what
    Python might look up meanwhile (a module, an encoding) would be the container's.
    """
    return _in_own_thread(lambda: _clone_root(pid))


def _open_process(name: str, pid: int, flags: int) -> int:
    """Of the container: a process that is none, and got its number since, has our own mounts."""
    try:
        fd = os.open(f"/proc/{pid}/{name}", flags)
        theirs, ours = Path(f"/proc/{pid}/ns/mnt").stat(), Path("/proc/self/ns/mnt").stat()
    except (FileNotFoundError, ProcessLookupError):
        raise JustEnded from None
    if os.path.samestat(theirs, ours):
        os.close(fd)
        raise JustEnded
    return fd


def _in_own_thread(work: Callable[[], T]) -> T:
    """In a thread that ends afterwards, and takes its mount namespace with it."""
    thread = _Thread(work)
    thread.start()
    thread.join()
    if thread.error is not None:
        raise thread.error
    return thread.result  # type: ignore[return-value]  # what `work` returned


def _clone_root(pid: int) -> int:
    flags = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC
    theirs = _open_process("ns/mnt", pid, os.O_RDONLY | os.O_CLOEXEC)
    ours = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.unshare(syscalls.CLONE_FS)
        syscalls.setns(theirs, syscalls.CLONE_NEWNS)
        try:
            return syscalls.open_tree(syscalls.AT_FDCWD, "/", flags)
        finally:
            syscalls.setns(ours, syscalls.CLONE_NEWNS)
    finally:
        os.close(theirs)
        os.close(ours)


def _with_mounts(view: View, work: Callable[[int], T]) -> T:
    syscalls.unshare(syscalls.CLONE_FS | syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)
    syscalls.mount("tmpfs", str(view.scratch), "tmpfs", 0, "mode=700")
    root = view.scratch / "root"
    root.mkdir()
    root_fd = open_overlay(view.overlay)
    try:
        attach(root_fd, str(root))
        _mount_points(root_fd, view)
        return work(root_fd)
    finally:
        os.close(root_fd)


def _mount_points(root_fd: int, view: View) -> None:
    """Binds, volumes and images in their places; a tmpfs is empty while nothing runs."""
    points = [point for point in view.points if point.kind != "tmpfs"]
    parts = view.scratch / "parts"
    prepare(points, parts, view.image_overlay)
    for point in with_sources(points, parts):
        source = os.open(point.source, os.O_PATH | os.O_CLOEXEC)
        try:
            _mount_point(root_fd, source, point)
        finally:
            os.close(source)


def _mount_point(root_fd: int, source: int, point: MountPoint) -> None:
    directory = stat.S_ISDIR(os.fstat(source).st_mode)
    with contextlib.ExitStack() as stack:
        tree = open_clone(source)
        stack.callback(os.close, tree)
        if not point.writable:
            flags = syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE
            syscalls.mount_setattr(tree, "", flags, attr_set=syscalls.MOUNT_ATTR_RDONLY)
        target = _target(root_fd, point.destination, directory=directory)
        stack.callback(os.close, target)
        attach_at(tree, target)


def _target(root_fd: int, path: str, *, directory: bool) -> int:
    """Where a mount goes, made as the runtime would make it at the next start."""
    if directory:
        return makedirs_in_root(root_fd, path)
    above, _, name = path.rstrip("/").rpartition("/")
    parent = makedirs_in_root(root_fd, above or "/")
    try:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(name, _NEW_FILE, 0o755, dir_fd=parent))
        return open_in_root(root_fd, path, os.O_PATH)
    finally:
        os.close(parent)
