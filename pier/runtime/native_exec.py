"""Starts an exec's process without a runtime.

The monitor's child joins the container's namespaces, out of the container's sight, for joining a
pid namespace concerns only later children; it is confined as the program is to be (`becoming.py`)
and spawns it: the program's process is the first that is inside. The child ends then, and the
monitor, a subreaper, is the program's parent. Same seam as `launcher.OciLauncher`; docs/adr/0503
says why this is as safe as a runtime.
"""

import contextlib
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from pier.linux import privileges, syscalls
from pier.runtime import joining
from pier.runtime.becoming import BecomingFailed, Setting, become, close_all_but
from pier.runtime.failures import start_failed
from pier.runtime.launcher import PROCESS_NAME, LaunchFailed
from pier.runtime.orders import ExecOrder, NativeExec
from pier.runtime.prepared import Gate, NotPrepared, Waiting, fork_waiting
from pier.runtime.stdio import ChildFds, Directory

_OUTCOME_BYTES = 1 << 16
STARTED, FAILED, NOT_PREPARED = b"+", b"-", b"?"
"""What an outcome begins with. Then: the pid, the reason in Docker's words, the reason."""


class NotSealed(Exception):
    pass


class NativeLauncher:
    """Nobody waits for the child to be ready; `finish` hears how it went.

    `prepare` and `finish` raise NotPrepared where the runtime's own exec is to be asked instead.
    """

    def __init__(self, order: ExecOrder, native: NativeExec, directory: Directory) -> None:
        self._order = order
        self._native = native
        self._directory = directory
        self._waiting: Waiting | None = None
        self._begun = False
        self._outcome = -1

    def prepare(self, stdio: ChildFds, console: str) -> None:
        """Look up all that the host's files say, and fork a child that enters the container."""
        with contextlib.ExitStack() as undo:
            try:
                check_sealed()
                process = json.loads(self._directory.read(PROCESS_NAME))
                container = joining.find_container(self._native.pid, self._order.cgroup)
                undo.callback(os.close, container.pidfd)
                setting = self._setting(stdio, console, container, undo)
                self._outcome, writing = os.pipe()
                undo.callback(os.close, writing)
            except (OSError, NotSealed, joining.NotUnderstood) as error:
                raise NotPrepared(f"{type(error).__name__}: {error}") from error
            self._waiting = fork_waiting(_Child(process, setting, container, writing).run)

    def _setting(
        self,
        stdio: ChildFds,
        console: str,
        container: joining.Container,
        undo: contextlib.ExitStack,
    ) -> Setting:
        terminal = undo.enter_context(_connect(console)) if console else None
        groups = joining.open_groups(container.groups)
        undo.callback(joining.close_groups, groups)
        return Setting(
            stdio=stdio,
            console=terminal,
            groups=groups,
            keyring=self._native.keyring,
            filter=_read(self._native.filter) if self._native.filter else b"",
            filter_flags=self._native.filter_flags,
        )

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
        if kind == STARTED and text.isdecimal():
            return checked_pid(int(text))
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


def checked_pid(pid: int) -> int:
    """The program had the pipe that told its number for a moment: it must be a child of ours."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            parent = int(file.read().rpartition(b")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return pid  # it has ended, and was waited for
    if parent != os.getpid():
        raise LaunchFailed(start_failed("a process that is none of ours was named"))
    return pid


class _Child:
    """What happens in the child."""

    def __init__(
        self,
        process: Mapping[str, Any],  # an OCI process object: foreign JSON by nature
        setting: Setting,
        container: joining.Container,
        outcome: int,
    ) -> None:
        self._process = process
        self._setting = setting
        self._container = container
        self._outcome = outcome

    def run(self, gate: Gate) -> None:
        try:
            self._enter(gate)
        except Exception as error:  # whatever it is, the runtime may know better
            self._end(NOT_PREPARED, f"{type(error).__name__}: {error}")
        if gate.opened():
            self._start()

    def _enter(self, gate: Gate) -> None:
        """Into the container's namespaces, with nothing of the host's but what is needed."""
        close_all_but([*self._needed(), self._container.pidfd, gate.fd])
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        privileges.hide_memory()
        if "oomScoreAdj" in self._process:
            _set_oom_score_adj(self._process["oomScoreAdj"])
        # Nothing must ever be loaded from the container's files.
        sys.path, sys.meta_path, sys.path_hooks = [], [], []
        syscalls.setns(self._container.pidfd, self._container.flags)

    def _needed(self) -> list[int]:
        setting = self._setting
        console = [] if setting.console is None else [setting.console.fileno()]
        groups = [fd for pair in setting.groups for fd in pair]
        return [*setting.stdio, *console, *groups, self._outcome]

    def _start(self) -> NoReturn:
        """When the program's process begins to be, nothing of the host's is open any more."""
        close_all_but(self._needed())
        try:
            pid = become(self._process, self._setting, self._outcome)
        except NotPrepared as error:
            self._end(NOT_PREPARED, str(error))
        except BecomingFailed as error:
            self._end(FAILED, str(error))
        except BaseException as error:  # it must reach the monitor, whatever it is
            self._end(FAILED, start_failed(f"{type(error).__name__}: {error}"))
        self._end(STARTED, str(pid))

    def _end(self, kind: bytes, text: str) -> NoReturn:
        os.write(self._outcome, kind + text.encode(errors="replace")[: _OUTCOME_BYTES - 1])
        os._exit(0)


def check_sealed() -> None:
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
