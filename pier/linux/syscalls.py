"""System calls Python lacks. One function per call; errno becomes OSError.

The only module that imports ctypes. Names and argument order are the kernel's; so are the
constants. It is also loaded by the spawner, so it imports nothing that is not already small.
"""

import ctypes
import errno
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_FS = 0x00000200

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_UNBINDABLE = 0x20000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8
NOT_MOUNTED = (errno.EINVAL, errno.ENOENT)

FSOPEN_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
FSMOUNT_CLOEXEC = 1
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

IN_MODIFY = 0x2
IN_CLOSE_WRITE = 0x8
IN_MOVED_TO = 0x80
IN_MOVE_SELF = 0x800
IN_CREATE = 0x100
IN_DELETE_SELF = 0x400
IN_NONBLOCK = os.O_NONBLOCK
IN_CLOEXEC = os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.mount.argtypes = (*(ctypes.c_char_p,) * 3, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
_libc.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
_libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)

# The numbers of calls that came after the tables were unified are the same on every architecture.
_SYS_PIDFD_SEND_SIGNAL = 424
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_FSOPEN = 430
_SYS_FSCONFIG = 431
_SYS_FSMOUNT = 432
_SYS_OPENAT2 = 437
_SYS_MOUNT_SETATTR = 442

_PAGE = os.sysconf("SC_PAGE_SIZE")


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class _Statfs(ctypes.Structure):
    """What f_type is followed by is never looked at; no architecture's needs more room."""

    _fields_ = (("f_type", ctypes.c_long), ("rest", ctypes.c_byte * 504))


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def _check(result: int, call: str, path: str | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}", path)
    return result


def call(name: str, *arguments: object) -> int:
    """A function of the C library that takes ctypes' values and returns -1 for an error."""
    return _check(getattr(_libc, name)(*arguments), name)


def numbered(name: str, number: int, *arguments: object) -> int:
    """A call the C library has no function for; each argument a ctypes value of its width."""
    return _syscall(name, number, *arguments)


def _syscall(name: str, number: int, *arguments: object, path: str | None = None) -> int:
    return _check(_libc.syscall(ctypes.c_long(number), *arguments), name, path)


def mount(source: str, target: str, fstype: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2). Refuses options of a page or more: the kernel would cut them silently."""
    data = os.fsencode(options)
    if len(data) >= _PAGE:
        raise OSError(errno.E2BIG, "mount options exceed one page", target)
    _check(
        _libc.mount(os.fsencode(source), os.fsencode(target), fstype.encode(), flags, data),
        "mount",
        target,
    )


def umount2(target: str, flags: int = 0) -> None:
    _check(_libc.umount2(os.fsencode(target), flags), "umount2", target)


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    _check(_libc.setns(fd, kind), "setns")


def prctl(option: int, argument: int, second: int = 0) -> None:
    """prctl(2) with integer arguments."""
    _check(_libc.prctl(option, argument, second, 0, 0), "prctl")


def unlock(master_fd: int) -> None:
    """unlockpt(3): the other end of a pseudoterminal may be opened."""
    _check(_libc.unlockpt(master_fd), "unlockpt")


def pidfd_send_signal(pidfd: int, number: int) -> None:
    _syscall(
        "pidfd_send_signal",
        _SYS_PIDFD_SEND_SIGNAL,
        ctypes.c_int(pidfd),
        ctypes.c_int(number),
        None,
        ctypes.c_uint(0),
    )


def set_process_name(name: str) -> None:
    """PR_SET_NAME, what ps -o comm shows; the kernel cuts it at 15 bytes.

    By proc_pid_comm(5): a ctypes buffer costs each monitor 150 kB that are shared otherwise.
    """
    fd = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, name.encode())
    finally:
        os.close(fd)


def fsopen(fstype: str, flags: int = FSOPEN_CLOEXEC) -> int:
    return _syscall("fsopen", _SYS_FSOPEN, fstype.encode(), ctypes.c_uint(flags))


def fsconfig(fd: int, command: int, key: str | None = None, value: str | None = None) -> None:
    """fsconfig(2) with a string value, a flag or a command."""
    _syscall(
        "fsconfig",
        _SYS_FSCONFIG,
        ctypes.c_int(fd),
        ctypes.c_uint(command),
        None if key is None else key.encode(),
        None if value is None else os.fsencode(value),
        ctypes.c_int(0),
        path=value,
    )


def fsmount(fd: int, flags: int = FSMOUNT_CLOEXEC, attributes: int = 0) -> int:
    """fsmount(2): a detached mount, as an O_PATH descriptor that serves as a `dir_fd`."""
    return _syscall(
        "fsmount", _SYS_FSMOUNT, ctypes.c_int(fd), ctypes.c_uint(flags), ctypes.c_uint(attributes)
    )


def open_tree(directory_fd: int, path: str, flags: int) -> int:
    return _syscall(
        "open_tree",
        _SYS_OPEN_TREE,
        ctypes.c_int(directory_fd),
        os.fsencode(path),
        ctypes.c_uint(flags),
        path=path,
    )


def move_mount(from_fd: int, from_path: str, to_fd: int, to_path: str, flags: int) -> None:
    _syscall(
        "move_mount",
        _SYS_MOVE_MOUNT,
        ctypes.c_int(from_fd),
        os.fsencode(from_path),
        ctypes.c_int(to_fd),
        os.fsencode(to_path),
        ctypes.c_uint(flags),
        path=to_path,
    )


def mount_setattr(
    fd: int, path: str, flags: int, *, attr_set: int = 0, attr_clr: int = 0, propagation: int = 0
) -> None:
    """mount_setattr(2): change attributes or propagation, with AT_RECURSIVE of a whole tree."""
    attributes = _MountAttr(attr_set, attr_clr, propagation, 0)
    _syscall(
        "mount_setattr",
        _SYS_MOUNT_SETATTR,
        ctypes.c_int(fd),
        os.fsencode(path),
        ctypes.c_uint(flags),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
        path=path,
    )


def openat2(directory_fd: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2). EAGAIN (a rename raced with `..`) is the caller's to retry."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    return _syscall(
        "openat2",
        _SYS_OPENAT2,
        ctypes.c_int(directory_fd),
        os.fsencode(path),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
        path=path,
    )


def fstatfs_type(fd: int) -> int:
    """f_type of fstatfs(2): the magic number of the file system. An O_PATH descriptor will do."""
    found = _Statfs()
    _check(_libc.fstatfs(ctypes.c_int(fd), ctypes.byref(found)), "fstatfs")
    return int(found.f_type) & 0xFFFFFFFF


def inotify_init1(flags: int = IN_CLOEXEC | IN_NONBLOCK) -> int:
    return _check(_libc.inotify_init1(flags), "inotify_init1")


def inotify_add_watch(fd: int, path: str, mask: int) -> int:
    return _check(_libc.inotify_add_watch(fd, os.fsencode(path), mask), "inotify_add_watch", path)
