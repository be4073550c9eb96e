"""Starts an exec's process without a runtime.

The monitor's child joins the container's namespaces, out of the container's sight, for joining a
pid namespace concerns only later children; it is confined as the program is to be (`becoming.py`)
and spawns it: the program's process is the first that is inside. The child ends then, and the
monitor, a subreaper, is the program's parent. Same seam as `launcher.OciLauncher`; docs/adr/0503
says why this is as safe as a runtime.
"""

import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from pier.linux import privileges, syscalls
from pier.runtime import joining
from pier.runtime.becoming import BecomingFailed, Setting, become, close_all_but
from pier.runtime.failures import start_failed
from pier.runtime.launcher import PROCESS_NAME, LaunchFailed
from pier.runtime.orders import ExecOrder, NativeExec
from pier.runtime.prepared import NotPrepared, Waiting, fork_waiting
from pier.runtime.stdio import ChildFds, Directory

_OUTCOME_BYTES = 1 << 16
STARTED, FAILED, NOT_PREPARED = b"+", b"-", b"?"
"""What an outcome begins with. Then: the pid, the reason in Docker's words, the reason."""


class NotSealed(Exception):
    pass


class NativeLauncher:
    """Nobody waits for the child to be ready; `finish` hears how it went.

    It raises NotPrepared where the runtime's own exec is to be asked instead.
    """

    def __init__(self, order: ExecOrder, native: NativeExec, directory: Directory) -> None:
        self._order = order
        self._native = native
        self._directory = directory
        self._waiting: Waiting | None = None
        self._begun = False
        self._outcome = -1

    def prepare(self, stdio: ChildFds, console: str) -> None:
        """Fork a child that enters the container, but for its pids, and waits."""
        self._outcome, writing = os.pipe()
        child = _Child(self._order, self._native, self._directory, stdio, console, writing)
        self._waiting = fork_waiting(child.run)
        os.close(writing)

    def begin(self) -> int:
        """The pid whose end says that there is an outcome."""
        assert self._waiting is not None
        self._begun = True
        self._waiting.go()
        return self._waiting.pid

    def finish(self, status: int) -> int:
        """The process's pid. Raises LaunchFailed, NotPrepared."""
        outcome = os.read(self._outcome, _OUTCOME_BYTES)
        kind, text = outcome[:1], outcome[1:].decode(errors="replace")
        if kind == STARTED:
            return int(text)
        if kind == NOT_PREPARED:
            raise NotPrepared(text)
        raise LaunchFailed(text or "the process could not be started in the container")

    def clean_up(self) -> int:
        """Nothing to do: no runtime knows of it."""
        return 0

    def release(self) -> None:
        if self._waiting is None:
            return
        if not self._begun:
            self._waiting.give_up()
        os.close(self._outcome)
        self._waiting = None


class _Child:
    """What happens in the first child."""

    def __init__(
        self,
        order: ExecOrder,
        native: NativeExec,
        directory: Directory,
        stdio: ChildFds,
        console: str,
        outcome: int,
    ) -> None:
        self._order = order
        self._native = native
        self._directory = directory
        self._stdio = stdio
        self._console = console
        self._outcome = outcome
        self._process: dict[str, Any] = {}  # an OCI process object: foreign JSON by nature
        self._setting: Setting | None = None

    def run(self, told: Callable[[], bool]) -> None:
        try:
            self._enter()
        except Exception as error:  # whatever it is, the runtime may know better
            self._end(NOT_PREPARED, f"{type(error).__name__}: {error}")
        if told():
            self._start()

    def _enter(self) -> None:
        """Everything that needs the host's files, and then out of their sight."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        privileges.hide_memory()
        _check_sealed()
        self._process = json.loads(self._directory.read(PROCESS_NAME))
        container = joining.find_container(self._native.pid, self._order.cgroup)
        self._setting = Setting(
            stdio=self._stdio,
            console=_connect(self._console) if self._console else None,
            groups=joining.open_groups(container.groups),
            keyring=self._native.keyring,
            filter=_read(self._native.filter) if self._native.filter else b"",
            filter_flags=self._native.filter_flags,
        )
        if "oomScoreAdj" in self._process:
            _set_oom_score_adj(self._process["oomScoreAdj"])
        # Nothing must ever be loaded from the container's files.
        sys.path, sys.meta_path, sys.path_hooks = [], [], []
        syscalls.setns(container.pidfd, container.flags)

    def _start(self) -> NoReturn:
        """Nothing of the host's is open any more when the program's process begins to be."""
        setting = self._setting
        assert setting is not None
        console = [] if setting.console is None else [setting.console.fileno()]
        groups = [fd for pair in setting.groups for fd in pair]
        close_all_but([*self._stdio, *console, *groups, self._outcome])
        try:
            pid = become(self._process, setting, self._outcome)
        except BecomingFailed as error:
            self._end(FAILED, str(error))
        except BaseException as error:  # it must reach the monitor, whatever it is
            self._end(FAILED, start_failed(f"{type(error).__name__}: {error}"))
        self._end(STARTED, str(pid))

    def _end(self, kind: bytes, text: str) -> NoReturn:
        os.write(self._outcome, kind + text.encode(errors="replace")[: _OUTCOME_BYTES - 1])
        os._exit(0)


def _check_sealed() -> None:
    """What we run from must not be written to, whoever gets hold of /proc/self/exe.

    See `sealed.py` and CVE-2019-5736.
    """
    try:
        os.close(os.open("/proc/self/exe", os.O_WRONLY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EROFS:
            return
    raise NotSealed("the interpreter is a file that can be written to")


def _connect(path: str) -> socket.socket:
    console = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    console.connect(path)
    return console


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _set_oom_score_adj(value: int) -> None:
    fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(value).encode())
    finally:
        os.close(fd)
