"""Opening paths inside a root without ever leaving it, whoever changes the tree meanwhile.

openat2(2) with RESOLVE_IN_ROOT: absolute links and `..` end at the root, as after chroot(2), and
magic links (/proc/*/fd) are refused. Names are bytes or str; a NUL in one is EINVAL, it would
silently cut the path.
"""

import contextlib
import errno
import os

from pier.linux import syscalls

IN_ROOT = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
STRICTLY_BELOW = (
    syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_MAGICLINKS | syscalls.RESOLVE_NO_SYMLINKS
)
"""For a walk that names what it saw: a directory swapped for a link is ELOOP, not followed."""

DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_RACES = 128
"""A rename anywhere on the machine may fail a lookup of `..` with EAGAIN; it passes."""
_MAX_LINKS = 40

StrOrBytes = str | bytes


def open_in_root(
    root_fd: int,
    path: StrOrBytes,
    flags: int,
    mode: int = 0,
    *,
    follow: bool = True,
    resolve: int = IN_ROOT,
) -> int:
    """Open `path` as seen from `root_fd`; "" and "/" are the root itself. The caller closes it.

    follow says whether a link in the last component is followed (inside the root).
    """
    text = os.fsdecode(path)
    if "\0" in text:
        raise OSError(errno.EINVAL, "NUL in path", text)
    if not follow:
        flags |= os.O_NOFOLLOW
    for _ in range(_RACES):
        with contextlib.suppress(BlockingIOError):
            return syscalls.openat2(root_fd, text or ".", flags, mode, resolve)
    raise OSError(errno.EAGAIN, "the tree is being renamed too fast to be read", text)


def makedirs_in_root(root_fd: int, path: StrOrBytes, mode: int = 0o755) -> int:
    """Make `path` and what is missing above it; return an O_PATH descriptor of it.

    Links on the way are followed inside the root, dangling ones too (what they name is made).
    """
    return _makedirs(root_fd, os.fsencode(path), mode, _MAX_LINKS)


def _makedirs(root_fd: int, path: bytes, mode: int, links_left: int) -> int:
    """Open the longest part that exists, then make the rest one by one."""
    names = [name for name in path.split(b"/") if name not in (b"", b".")]
    missing = len(names)
    while True:
        try:
            fd = open_in_root(root_fd, b"/".join(names[:missing]), DIRECTORY)
            break
        except FileNotFoundError:
            missing -= 1
            if missing < 0:
                raise
    for index in range(missing, len(names)):
        above = b"/".join(names[:index])
        fd = _step(root_fd, fd, above, names[index], mode, links_left)
    return fd


def _step(
    root_fd: int, parent_fd: int, above: bytes, name: bytes, mode: int, links_left: int
) -> int:
    """Enter `name` below `parent_fd` (closed here), making it first if it is not there."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, mode, dir_fd=parent_fd)
        try:
            return open_in_root(root_fd, above + b"/" + name, DIRECTORY)
        except FileNotFoundError:
            if links_left == 0:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fsdecode(name)) from None
            target = os.readlink(name, dir_fd=parent_fd)
            joined = target if target.startswith(b"/") else above + b"/" + target
            return _makedirs(root_fd, joined, mode, links_left - 1)
    finally:
        os.close(parent_fd)


def resolve_in_root(root_fd: int, path: StrOrBytes) -> str:
    """The path of `path` with all links followed, absolute in the root. It must exist."""
    fd = open_in_root(root_fd, path, os.O_PATH)
    try:
        root = os.readlink(f"/proc/self/fd/{root_fd}")  # noqa: PTH115 - a Path would drop "//"
        found = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115
    finally:
        os.close(fd)
    return "/" + found.removeprefix(root).strip("/")


def clean(path: bytes) -> bytes | None:
    """`path` without `.`, `..` and doubled slashes, relative; None if `..` would leave the root.

    By the letters alone, as archives mean it: links are not looked at.
    """
    if b"//" not in path and b"./" not in path and not path.endswith((b"/", b".")):
        return path.lstrip(b"/")
    names: list[bytes] = []
    for name in path.split(b"/"):
        if name == b"..":
            if not names and not path.startswith(b"/"):
                return None
            del names[-1:]
        elif name not in (b"", b"."):
            names.append(name)
    return b"/".join(names)
