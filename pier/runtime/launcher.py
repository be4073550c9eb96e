"""Starts a process through an OCI runtime's command line (OCI runtime spec; crun(1), runc(8)).

The seam for a runtime of our own: another class with begin, finish and clean_up serves the
monitor as well. Runtimes fork the process and end; the monitor, a subreaper, becomes its parent.
"""

import contextlib
import json
import os
import shutil
import signal

from pier.runtime.failures import in_dockers_words, last_error
from pier.runtime.orders import ExecOrder, MonitorOrder
from pier.runtime.stdio import ChildFds, Directory

PROCESS_NAME = "process.json"
_LOG = "runtime.log"
_PID = "pid"
# Python ignores some signals and the monitor others: the container must find all as they were.
_DEFAULT_SIGNALS = (
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGCHLD,
)


class LaunchFailed(Exception):
    """The runtime failed; the text is in Docker's words, without the daemon's introduction."""


class OciLauncher:
    """forget_old → begin → (the runtime ends) → finish → … the process ends … → clean_up."""

    def __init__(self, order: MonitorOrder | ExecOrder, directory: Directory) -> None:
        self._order = order
        self._directory = directory

    def forget_old(self) -> None:
        """A container whose monitor was killed left the runtime's record, maybe processes.

        Before the overlay is mounted: they may still use the same upper directory.
        """
        if isinstance(self._order, ExecOrder):
            return
        if self._known():
            os.waitpid(self._spawn_delete(), 0)
        if self._known():
            shutil.rmtree(f"{self._order.runtime.root}/{self._order.container_id}")

    def begin(self, stdio: ChildFds, console: str) -> int:
        """Start the runtime; its pid. console: the socket that wants the terminal, or ""."""
        runtime = self._order.runtime
        os.makedirs(runtime.root, exist_ok=True)  # noqa: PTH103 - no pathlib in monitors
        self._directory.remove(_LOG)
        self._directory.remove(_PID)
        argv = [*self._command(), *self._arguments()]
        if console:
            argv += ["--console-socket", console]
        argv.append(self._order.container_id)
        return spawn(argv, stdio)

    def finish(self, status: int) -> int:
        """The runtime has ended: the pid of the process it started."""
        pid = self._directory.read(_PID).strip()
        if status == 0 and pid.isdigit():
            return int(pid)
        text = last_error(self._directory.read(_LOG))
        raise LaunchFailed(in_dockers_words(text, self._executable()))

    def clean_up(self) -> int:
        """Have the runtime forget the container and remove its cgroup; a pid, 0: nothing to do."""
        if isinstance(self._order, ExecOrder) or not self._known():
            return 0
        return self._spawn_delete()

    def _arguments(self) -> list[str]:
        order, path = self._order, self._directory.path
        pid_file = ["--pid-file", f"{path}/{_PID}"]
        if isinstance(order, ExecOrder):
            return ["exec", "--detach", "--process", f"{path}/{PROCESS_NAME}", *pid_file]
        return ["run", "--detach", "--bundle", path, *pid_file]

    def _command(self) -> list[str]:
        runtime = self._order.runtime
        log = ["--log", f"{self._directory.path}/{_LOG}", "--log-format", "json"]
        return [runtime.path, *runtime.arguments, "--root", runtime.root, *log]

    def _executable(self) -> str:
        """args[0], for the error's text."""
        name = PROCESS_NAME if isinstance(self._order, ExecOrder) else "config.json"
        with contextlib.suppress(ValueError, KeyError, IndexError, TypeError):
            config = json.loads(self._directory.read(name))
            return str(config.get("process", config)["args"][0])
        return ""

    def _known(self) -> bool:
        return os.path.isdir(f"{self._order.runtime.root}/{self._order.container_id}")  # noqa: PTH112

    def _spawn_delete(self) -> int:
        null = os.open(os.devnull, os.O_RDWR)
        argv = [*self._command(), "delete", "--force", self._order.container_id]
        try:
            return spawn(argv, ChildFds(null, null, null))
        finally:
            os.close(null)


def spawn(argv: list[str], stdio: ChildFds) -> int:
    """posix_spawn(3): every other descriptor is close-on-exec."""
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(stdio)]
    environment = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")}
    return os.posix_spawn(
        argv[0],
        argv,
        environment,
        file_actions=actions,
        setsigmask=[],
        setsigdef=_DEFAULT_SIGNALS,
    )
