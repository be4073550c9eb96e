"""A process in a container's namespaces takes on the container's confinement, and starts a program.

The order follows from what each step needs: groups while cgroup files may be written, the terminal
from the container's own devices, the directory before the user is changed (and after, where only
the user may enter), the seccomp filter last of all but the capabilities that allow it. Nothing but
stdio is open when the first path of the container is looked up, and the program's own process is
born with no more than the container has. OCI runtime spec, config.md, "process"; errors in the
words of runc and Go's os/exec, which clients read; docs/adr/0503.
"""

import contextlib
import errno
import fcntl
import os
import socket
import stat
import termios
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pier.linux import privileges
from pier.linux.syscalls import unlock
from pier.oci.capabilities import NAMES
from pier.runtime.failures import exec_failed, start_failed
from pier.runtime.first_words import NOT_EXECUTED_CODE
from pier.runtime.joining import join_groups
from pier.runtime.prepared import NotPrepared, reset_signals
from pier.runtime.stdio import ChildFds, set_size

_TIOCGPTPEER = 0x5441
_PTMX = os.makedev(5, 2)
_NULL = os.makedev(1, 3)
_NO_FD = 1 << 20

Process = Mapping[str, Any]  # an OCI process object: foreign JSON by nature


class BecomingFailed(Exception):
    """In Docker's words."""


class Setting(NamedTuple):
    """stdio: unless there is a terminal. console: where its master is sent. filter b"": none."""

    stdio: ChildFds
    console: socket.socket | None
    groups: list[tuple[int, int]]
    keyring: str
    filter: bytes
    filter_flags: int


def become(process: Process, setting: Setting, kept_fd: int) -> int:
    """Be what the program is to be, and start it; its pid, a child's. Raises BecomingFailed.

    Raises NotPrepared where there is no room for a process and the caller. Of all descriptors only
    `kept_fd` is left to the caller, who is confined too and should end.
    """
    try:
        return _become(process, setting, kept_fd)
    except OSError as error:
        raise BecomingFailed(start_failed(_why(error))) from error


def _become(process: Process, setting: Setting, kept_fd: int) -> int:
    join_groups(setting.groups)
    with contextlib.suppress(OSError):  # no keyrings in this kernel, or no quota left
        privileges.join_session_keyring(setting.keyring)
    stdio = setting.stdio if setting.console is None else _open_terminal(process, setting.console)
    _arrange(stdio, kept_fd)
    _own_stdio(process["user"]["uid"])
    entered = _enter(process["cwd"], final=False)
    held = _held(process)
    _set_limits(process)
    _change_user(process["user"], held, filtered=bool(setting.filter))
    if not entered:
        _enter(process["cwd"], final=True)
    _check_directory()
    environment = _environment(process["env"])
    path = find_program(process["args"][0], os.fsdecode(environment.get(b"PATH", b"")))
    args = [os.fsencode(arg) for arg in process["args"]]
    reset_signals()  # here, for a fresh fork pays a page for all it touches
    _confine(process, setting, held)
    try:
        return _spawn(path, args, environment, terminal=setting.console is not None)
    except BlockingIOError as error:
        # The container's limit of processes has room for one more, but not for us besides.
        raise NotPrepared(_why(error)) from error
    except OSError as error:
        return _not_executed(path, error)


def _not_executed(path: str, error: OSError) -> int:
    """As where runc finds out: the process has begun, and ends with a word on its stderr."""
    os.write(2, f"exec {path}: {_why(error).lower()}\n".encode(errors="replace"))
    pid = os.fork()
    if pid == 0:
        os._exit(NOT_EXECUTED_CODE)
    return pid


def _open_terminal(process: Process, console: socket.socket) -> ChildFds:
    """A terminal of the container's own; its master goes through `console`.

    What lies at /dev/ptmx is the container's: anything but the multiplexer is refused, if can be
    before it is opened, and the terminal itself is asked of the master, not looked for by a name.
    """
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    _check_multiplexer(os.stat("/dev/ptmx"))
    master = os.open("/dev/ptmx", flags | os.O_NONBLOCK)
    _check_multiplexer(os.fstat(master))
    os.set_blocking(master, True)
    unlock(master)
    if size := process.get("consoleSize"):
        set_size(master, size["height"], size["width"])
    slave = fcntl.ioctl(master, _TIOCGPTPEER, flags)
    socket.send_fds(console, [b"terminal"], [master])
    os.close(master)
    return ChildFds(slave, slave, slave)


def _check_multiplexer(status: os.stat_result) -> None:
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _PTMX:
        raise BecomingFailed(start_failed("open /dev/ptmx: not a terminal multiplexer"))


def _arrange(stdio: ChildFds, kept_fd: int) -> None:
    """As 0 to 2, and nothing else but the kept one."""
    for number, fd in enumerate(stdio):
        os.dup2(fd, number)
    close_all_but([kept_fd])


def close_all_but(kept: Sequence[int]) -> None:
    """0 to 2 stay too."""
    begin = 3
    for fd in sorted({fd for fd in kept if fd >= begin}):
        os.closerange(begin, fd)
        begin = fd + 1
    os.closerange(begin, _NO_FD)


def _own_stdio(uid: int) -> None:
    """So that the user may open /dev/stdout again."""
    for fd in range(3):
        status = os.fstat(fd)
        if status.st_uid == uid or (stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL):
            continue
        with contextlib.suppress(OSError):
            os.fchown(fd, uid, -1)


def _enter(cwd: str, *, final: bool) -> bool:
    """Whether `cwd` could be entered; the user may be the only one who may."""
    try:
        os.chdir(cwd)
    except PermissionError as error:
        if not final:
            return False
        raise BecomingFailed(_no_directory(cwd, error)) from error
    except OSError as error:
        raise BecomingFailed(_no_directory(cwd, error)) from error
    return True


def _no_directory(cwd: str, error: OSError) -> str:
    return start_failed(f'chdir to cwd ("{cwd}") set in config.json failed: {error.strerror}')


def _check_directory() -> None:
    """CVE-2024-21626: a directory outside the root has no name inside."""
    try:
        inside = os.getcwdb().startswith(b"/")  # noqa: PTH109 - no pathlib in monitors
    except OSError:
        inside = False
    if not inside:
        raise BecomingFailed(
            start_failed("current working directory is outside of container mount namespace root")
        )


class _Held(NamedTuple):
    """Capabilities, as masks."""

    bounding: int
    effective: int
    permitted: int
    inheritable: int
    ambient: int


def _held(process: Process) -> _Held:
    named = process.get("capabilities") or {}
    return _Held(*(_mask(named.get(kind) or ()) for kind in _Held._fields))


def _mask(names: Sequence[str]) -> int:
    return sum(1 << NAMES.index(name) for name in names)


def _set_limits(process: Process) -> None:
    privileges.set_limits((e["type"], e["soft"], e["hard"]) for e in process.get("rlimits") or ())


def _change_user(user: Mapping[str, Any], held: _Held, *, filtered: bool) -> None:
    """With CAP_SYS_ADMIN kept where a filter is still to be set."""
    privileges.drop_bounding(held.bounding)
    privileges.keep_capabilities()
    os.setgroups(user.get("additionalGids") or ())
    os.setresgid(*(user["gid"],) * 3)
    os.setresuid(*(user["uid"],) * 3)
    kept = 1 << privileges.CAP_SYS_ADMIN if filtered else 0
    privileges.set_capabilities(
        effective=held.effective | kept,
        permitted=held.permitted | kept,
        inheritable=held.inheritable,
    )


def _confine(process: Process, setting: Setting, held: _Held) -> None:
    """From here on the container's filter applies to us: little must be left to do."""
    bare = bool(process.get("noNewPrivileges"))
    if bare:
        _reduce(held)
        privileges.no_new_privileges()
    if setting.filter:
        privileges.set_filter(setting.filter, setting.filter_flags)
    if not bare:
        _reduce(held)


def _reduce(held: _Held) -> None:
    privileges.set_capabilities(
        effective=held.effective, permitted=held.permitted, inheritable=held.inheritable
    )
    privileges.raise_ambient(held.ambient)


def _environment(entries: Sequence[str]) -> dict[bytes, bytes]:
    pairs = (os.fsencode(entry).partition(b"=") for entry in entries)
    return {name: value for name, separator, value in pairs if separator and name}


def find_program(name: str, path: str) -> str:
    """As Go's LookPath does. Raises BecomingFailed."""
    if "/" in name:
        try:
            _check_program(name)
        except FileNotFoundError as error:
            raise BecomingFailed(exec_failed(name, f"stat {name}: {_why(error)}")) from error
        except OSError as error:
            raise BecomingFailed(exec_failed(name, _why(error))) from error
        return name
    for directory in path.split(":"):
        candidate = f"{directory or '.'}/{name}"
        try:
            _check_program(candidate)
        except OSError:
            continue
        return candidate
    raise BecomingFailed(exec_failed(name, "executable file not found in $PATH"))


def _check_program(path: str) -> None:
    if stat.S_ISDIR(os.stat(path).st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(path, os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _spawn(
    path: str, args: list[bytes], environment: Mapping[bytes, bytes], *, terminal: bool
) -> int:
    """By vfork(2) where posix_spawn(3) can do it: the child shares our memory until it executes.

    Nobody in the container can look into it, see `containers/native_exec.py`.
    """
    if not terminal:
        return os.posix_spawn(path, args, environment, setsid=True, setsigmask=())
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        number = 0
        try:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            os.execve(path, args, environment)  # noqa: S606 - as asked
        except OSError as error:
            number = error.errno or errno.EINVAL
        finally:
            os.write(writing, b"%d" % number)
            os._exit(1)
    os.close(writing)
    failure = os.read(reading, 16)
    if failure:
        os.waitpid(pid, 0)
        raise OSError(int(failure), os.strerror(int(failure)))
    return pid


def _why(error: OSError) -> str:
    return error.strerror or str(error)
