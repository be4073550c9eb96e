"""Overlay mounts without a path: made detached, used by descriptor, attached where wanted.

Built with fsopen(2) rather than mount(2): mount's one page of options cannot name hundreds of
layers, fsconfig takes them one by one ("lowerdir+", Linux 6.7). Where the kernel is older, with
mount(2) all the same: in a mount namespace that lasts for a moment, with names short enough. Also
loaded by the spawner, so it imports next to nothing.
"""

import _thread
import contextlib
import errno
import os
from collections.abc import Callable
from typing import NamedTuple

from pier.linux import syscalls

_STRING_LIMIT = 255
"""fsconfig(2) takes no longer string; a longer path is named by its descriptor."""

_WORDS = (("index", "off"), ("metacopy", "off"), ("redirect_dir", "off"))
"""So that an upper directory alone tells what changed, and may be mounted again after a crash."""


class _Kernel:
    adds_layers = True
    """Whether it takes layers one by one; False once it has shown that it does not."""


class Overlay(NamedTuple):
    """What a root file system is stacked from. Paths are absolute."""

    lower: tuple[str, ...]
    """Topmost first; may be empty (an image without layers)."""
    upper: str = ""
    """"" : read-only."""
    work: str = ""
    volatile: bool = False
    """Never sync: only for an upper directory that nobody wants after a crash of the machine."""


def open_overlay(overlay: Overlay) -> int:
    """A detached mount of `overlay`, as an O_PATH descriptor that serves as a `dir_fd`.

    The caller closes it; unless attached before, the mount is gone then. The kernel wants two
    layers for an overlay: a single directory is cloned as it is, read-only without an upper.
    """
    if not overlay.lower and not overlay.upper:
        raise ValueError("an overlay needs a directory")
    if not overlay.lower:
        return _open_clone(overlay.upper, readonly=False)
    if not overlay.upper and len(overlay.lower) == 1:
        return _open_clone(overlay.lower[0], readonly=True)
    if not _Kernel.adds_layers:
        return _in_own_namespace(lambda: _mount_by_options(overlay))
    try:
        return _mount_by_configuration(overlay)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    # An unknown word (6.5, 6.6), or words kept unread until the creation (before 6.5): or an
    # overlay that cannot be, which fails again here, and tells nothing about the kernel.
    mount_fd = _in_own_namespace(lambda: _mount_by_options(overlay))
    _Kernel.adds_layers = False
    return mount_fd


def attach(mount_fd: int, target: str) -> None:
    """Attach a detached mount at `target` in the caller's mount namespace."""
    syscalls.move_mount(mount_fd, "", syscalls.AT_FDCWD, target, syscalls.MOVE_MOUNT_F_EMPTY_PATH)


def attach_at(mount_fd: int, target_fd: int) -> None:
    """The same where the target is known by a descriptor: no path is looked up."""
    flags = syscalls.MOVE_MOUNT_F_EMPTY_PATH | syscalls.MOVE_MOUNT_T_EMPTY_PATH
    syscalls.move_mount(mount_fd, "", target_fd, "", flags)


def unmount_all(path: str | os.PathLike[str]) -> None:
    """Whatever is mounted on `path`, one above the other; nothing is fine."""
    while True:
        try:
            syscalls.umount2(os.fspath(path), syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno in syscalls.NOT_MOUNTED:
                return
            raise


def _mount_by_configuration(overlay: Overlay) -> int:
    with contextlib.ExitStack() as stack:
        context = syscalls.fsopen("overlay")
        stack.callback(os.close, context)
        _configure(context, overlay, stack)
        return syscalls.fsmount(context, attributes=_attributes(overlay))


def _attributes(overlay: Overlay) -> int:
    return 0 if overlay.upper else syscalls.MOUNT_ATTR_RDONLY


def _configure(context: int, overlay: Overlay, stack: contextlib.ExitStack) -> None:
    """Say everything. `stack` keeps open what is named by descriptor."""
    words: list[tuple[str, str]] = [("source", "overlay"), *_WORDS]
    words += [("lowerdir+", _short(path, stack)) for path in overlay.lower]
    if overlay.upper:
        words.append(("upperdir", _short(overlay.upper, stack)))
        words.append(("workdir", _short(overlay.work, stack)))
    for key, value in words:
        syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, key, value)
    if overlay.upper:
        _forget_volatile(overlay.work)
    if overlay.volatile and overlay.upper:
        syscalls.fsconfig(context, syscalls.FSCONFIG_SET_FLAG, "volatile")
    syscalls.fsconfig(context, syscalls.FSCONFIG_CMD_CREATE)


def _short(path: str, stack: contextlib.ExitStack) -> str:
    """The kernel takes a backslash for an escape, in some of its words and versions."""
    if len(os.fsencode(path)) <= _STRING_LIMIT and "\\" not in path:
        return path
    return f"/proc/self/fd/{_named(path, stack)}"


def _mount_by_options(overlay: Overlay) -> int:
    """The same with mount(2), over one of its own directories, in a namespace made for it.

    Directories are named by their descriptors, relative to /proc/thread-self/fd: a few bytes
    each, so that 500 (the kernel's limit) fit into a page, and no colon or comma to escape.
    """
    target = overlay.upper or overlay.lower[0]
    with contextlib.ExitStack() as stack:
        words = [f"{key}={value}" for key, value in _WORDS]
        words.append("lowerdir=" + ":".join(_named(path, stack) for path in overlay.lower))
        if overlay.upper:
            _forget_volatile(overlay.work)
            words.append(f"upperdir={_named(overlay.upper, stack)}")
            words.append(f"workdir={_named(overlay.work, stack)}")
        if overlay.volatile and overlay.upper:
            words.append("volatile")
        os.chdir("/proc/thread-self/fd")
        flags = 0 if overlay.upper else syscalls.MS_RDONLY
        syscalls.mount("overlay", target, "overlay", flags, ",".join(words))
    clone = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC
    return syscalls.open_tree(syscalls.AT_FDCWD, target, clone)


def _named(path: str, stack: contextlib.ExitStack) -> str:
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return str(fd)


def _in_own_namespace(work: Callable[[], int]) -> int:
    """Run `work` in a thread that has mounts and a working directory of its own.

    Both are gone with it. Not `threading`: it would be the spawner's largest module.
    """
    results: list[int] = []
    errors: list[BaseException] = []
    ended = _thread.allocate_lock()

    def run() -> None:
        try:
            syscalls.unshare(syscalls.CLONE_FS | syscalls.CLONE_NEWNS)
            syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            ended.release()

    ended.acquire()
    _thread.start_new_thread(run, ())
    ended.acquire()
    if errors:
        raise errors[0]
    return results[0]


def _forget_volatile(work: str) -> None:
    """A volatile mount leaves a mark that refuses any next one: a crash may have cost data.

    Whoever asked for `volatile` said that this does not matter.
    """
    mark = f"{work}/work/incompat/volatile"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{mark}/dirty")  # noqa: PTH108 - the spawner has no pathlib
        os.rmdir(mark)  # noqa: PTH106


def _open_clone(directory: str, *, readonly: bool) -> int:
    flags = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC
    fd = syscalls.open_tree(syscalls.AT_FDCWD, directory, flags)
    if not readonly:
        return fd
    try:
        syscalls.mount_setattr(fd, "", syscalls.AT_EMPTY_PATH, attr_set=syscalls.MOUNT_ATTR_RDONLY)
    except OSError:
        os.close(fd)
        raise
    return fd
