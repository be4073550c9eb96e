"""A process that is ready to become a program: forked, in its own mount namespace, waiting.

What a start needs once (the mount table, the overlay, file actions) happens in this child and
ends with its exec. The monitor, which stays as long as the container, never touches the memory
that takes, so it goes on sharing it with the spawner; see docs/adr/0501.
"""

import contextlib
import os
import signal
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from pier.linux import syscalls
from pier.runtime.stdio import ChildFds

# Python ignores some signals and the monitor others: the container must find all as they were.
DEFAULT_SIGNALS = (
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGCHLD,
)
_EXEC_FAILED = 127
_REPORT_BYTES = 65536


class NotPrepared(Exception):
    """The child could not get ready; the text says why."""


class Waiting(NamedTuple):
    """A child of the caller that waits to be told."""

    pid: int
    gate_fd: int

    def go(self) -> None:
        """Have it go on; its end is a child's end like any other."""
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            os.write(self.gate_fd, b"!")
        os.close(self.gate_fd)

    def give_up(self) -> None:
        """Instead of `go`: returns once it has ended. As it does if its parent dies."""
        os.close(self.gate_fd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


class Prepared(NamedTuple):
    """namespace_fd: the child's mount namespace, the caller's to close."""

    child: Waiting
    namespace_fd: int


def prepare(argv: list[str], stdio: ChildFds, before: Callable[[], None]) -> Prepared:
    """Fork a child that runs `before` and then waits to exec `argv`. Raises NotPrepared."""
    report_out, report_in = os.pipe()

    def run(gate: Gate) -> None:
        try:
            before()
        except BaseException as error:  # it must reach the parent, whatever it is
            os.write(report_in, f"{type(error).__name__}: {error}".encode()[:_REPORT_BYTES])
            raise
        os.close(report_in)  # with nothing said: ready
        if gate.opened():
            _exec(argv, stdio)

    child = fork_waiting(run)
    os.close(report_in)
    report = os.read(report_out, _REPORT_BYTES)
    os.close(report_out)
    if report:
        child.give_up()
        raise NotPrepared(report.decode(errors="replace"))
    namespace = os.open(f"/proc/{child.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    return Prepared(child, namespace)


class Gate(NamedTuple):
    """Where a child waits."""

    fd: int

    def opened(self) -> bool:
        """Waits for `go`; False if that will never be."""
        return bool(os.read(self.fd, 1))


def fork_waiting(run: Callable[[Gate], None]) -> Waiting:
    """Fork a child that does `run(gate)`, and ends."""
    gate_out, gate_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(gate_in)
            run(Gate(gate_out))
        finally:
            os._exit(_EXEC_FAILED)
    os.close(gate_out)
    return Waiting(pid, gate_in)


def run_in(namespace_fd: int, argv: list[str], stdio: ChildFds) -> int:
    """Run `argv` in that mount namespace; the child's pid. 127 if it cannot be executed."""
    pid = os.fork()
    if pid:
        return pid
    with contextlib.suppress(BaseException):
        syscalls.setns(namespace_fd, syscalls.CLONE_NEWNS)
        _exec(argv, stdio)
    os._exit(_EXEC_FAILED)


def _exec(argv: list[str], stdio: ChildFds) -> NoReturn:
    """execve(2): every descriptor but `stdio`, which are none of 0 to 2, is close-on-exec."""
    for number, fd in enumerate(stdio):
        os.dup2(fd, number)
    reset_signals()
    os.execve(argv[0], argv, environment())  # noqa: S606 - no shell wanted


def reset_signals() -> None:
    for number in DEFAULT_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def environment() -> dict[str, str]:
    """What a runtime is given of ours."""
    return {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")}
