"""Opening paths inside a root without ever leaving it, whoever changes the tree meanwhile.

openat2(2) with RESOLVE_IN_ROOT: absolute links and `..` end at the root, as after chroot(2), and
magic links (/proc/*/fd) are refused. Names are bytes or str; a NUL in one is EINVAL, it would
silently cut the path.
"""

import contextlib
import errno
import os
import stat

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

_KERNELS_OWN = frozenset(
    (
        0x9FA0,  # proc
        0x9FA1,  # openprom
        0x9FA2,  # usbdevfs
        0x1CD1,  # devpts
        0x27E0EB,  # cgroup
        0x7655821,  # resctrl
        0x9041934,  # anonymous inodes
        0x19800202,  # mqueue
        0x42494E4D,  # binfmt_misc
        0x43415D53,  # smack
        0x50494446,  # pidfds
        0x50495045,  # pipes
        0x534F434B,  # sockets
        0x5A3C69F0,  # apparmor
        0x6165676C,  # pstore
        0x62646576,  # block devices
        0x62656570,  # configfs
        0x62656572,  # sysfs
        0x63677270,  # cgroup2
        0x64626720,  # debugfs
        0x65735543,  # fusectl
        0x67596969,  # rpc_pipefs
        0x6C6F6F70,  # binder
        0x6E667364,  # nfsd
        0x6E736673,  # namespaces
        0x73636673,  # securityfs
        0x74726163,  # tracefs
        0xABBA1974,  # xenfs
        0xCAFE4A11,  # bpf
        0xDE5E81E4,  # efivarfs
        0xF97CFF8C,  # selinux
    )
)
"""f_type of file systems whose "files" are the kernel's words: reading one may take something away
(/proc/kmsg), wait for ever, or act. statfs(2), linux/magic.h."""

StrOrBytes = str | bytes


class NotAPlainFile(OSError):
    """It is no regular file, or one of the kernel's own file systems: it was not opened."""

    def __init__(self, path: StrOrBytes) -> None:
        super().__init__(errno.EINVAL, "not a regular file", os.fsdecode(path))


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


def exists_in_root(root_fd: int, path: StrOrBytes) -> bool:
    """Whether there is anything at `path`; a link at its end counts as itself."""
    try:
        os.close(open_in_root(root_fd, path, os.O_PATH, follow=False))
    except OSError:
        return False
    return True


def open_plain(
    root_fd: int,
    path: StrOrBytes,
    flags: int = os.O_RDONLY,
    *,
    follow: bool = True,
    resolve: int = IN_ROOT,
) -> int:
    """Open a file somebody else put there, once it is known to be one. The caller closes it.

    Whoever opens a device, a pipe or a file of /proc has already done something, with rights a
    container has not: so the path is looked up without opening it first. Raises NotAPlainFile.
    """
    handle = open_in_root(root_fd, path, os.O_PATH, follow=follow, resolve=resolve)
    try:
        return reopen_plain(handle, path, flags)
    finally:
        os.close(handle)


def reopen_plain(handle: int, path: StrOrBytes, flags: int = os.O_RDONLY) -> int:
    """The same for an O_PATH descriptor; `path` is only named in the error."""
    if not stat.S_ISREG(os.fstat(handle).st_mode) or is_kernels_own(handle):
        raise NotAPlainFile(path)
    return os.open(f"/proc/self/fd/{handle}", flags | os.O_NONBLOCK | os.O_CLOEXEC)


def is_kernels_own(fd: int) -> bool:
    """Whether it lies in a file system such as proc, sysfs or cgroup2."""
    return syscalls.fstatfs_type(fd) in _KERNELS_OWN


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
