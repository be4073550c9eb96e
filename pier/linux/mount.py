"""Overlay mounts without a path: made detached, used by descriptor, attached where wanted.

Built with fsopen(2) rather than mount(2): mount's one page of options cannot name hundreds of
layers, fsconfig takes them one by one ("lowerdir+", Linux 6.7). Also loaded by the spawner, so it
imports next to nothing.
"""

import contextlib
import os
from typing import NamedTuple

from pier.linux import syscalls

_STRING_LIMIT = 255
"""fsconfig(2) takes no longer string; a longer path is named by its descriptor."""

_WORDS = (("index", "off"), ("metacopy", "off"), ("redirect_dir", "off"))
"""So that an upper directory alone tells what changed, and may be mounted again after a crash."""


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
    with contextlib.ExitStack() as stack:
        context = syscalls.fsopen("overlay")
        stack.callback(os.close, context)
        _configure(context, overlay, stack)
        return syscalls.fsmount(context, attributes=_attributes(overlay))


def attach(mount_fd: int, target: str) -> None:
    """Attach a detached mount at `target` in the caller's mount namespace."""
    syscalls.move_mount(mount_fd, "", syscalls.AT_FDCWD, target, syscalls.MOVE_MOUNT_F_EMPTY_PATH)


def attach_at(mount_fd: int, target_fd: int) -> None:
    """The same where the target is known by a descriptor: no path is looked up."""
    flags = syscalls.MOVE_MOUNT_F_EMPTY_PATH | syscalls.MOVE_MOUNT_T_EMPTY_PATH
    syscalls.move_mount(mount_fd, "", target_fd, "", flags)


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
    if len(os.fsencode(path)) <= _STRING_LIMIT:
        return path
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return f"/proc/self/fd/{fd}"


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
