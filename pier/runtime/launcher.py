"""Starts a process through an OCI runtime's command line (OCI runtime spec; crun(1), runc(8)).

The seam for a runtime of our own: another class with prepare, begin, finish, clean_up and
release serves the monitor as well. Runtimes fork the process and end; the monitor, a subreaper,
becomes its parent.
"""

import contextlib
import json
import os
import signal
from collections.abc import Iterator

from pier.runtime import mounts
from pier.runtime.failures import in_dockers_words, last_error
from pier.runtime.orders import ExecOrder, MonitorOrder
from pier.runtime.prepared import DEFAULT_SIGNALS, Prepared, environment, prepare, run_in
from pier.runtime.stdio import ChildFds, Directory, remove_tree

PROCESS_NAME = "process.json"
_LOG = "runtime.log"
_PID = "pid"


class LaunchFailed(Exception):
    """The runtime failed; the text is in Docker's words, without the daemon's introduction."""


class OciLauncher:
    """prepare → begin → (the runtime ends) → finish → … the process ends … → clean_up → release.

    The mount namespace with the overlay is the prepared runtime's; here it is but a descriptor.
    """

    def __init__(self, order: MonitorOrder | ExecOrder, directory: Directory) -> None:
        self._order = order
        self._directory = directory
        self._prepared: Prepared | None = None
        self._begun = False

    def prepare(self, stdio: ChildFds, console: str) -> None:
        """Everything up to the runtime's exec: old records forgotten, the overlay mounted.

        console: the socket that wants the terminal, or "". Raises NotPrepared.
        """
        argv = [*self._command(), *self._arguments()]
        if console:
            argv += ["--console-socket", console]
        argv.append(self._order.container_id)
        self._prepared = prepare(argv, stdio, self._before)

    def _before(self) -> None:
        """In the child."""
        order = self._order
        signal.set_wakeup_fd(-1)
        overlay = None
        if isinstance(order, MonitorOrder):
            self._forget_old()
            overlay = order.overlay
        os.makedirs(order.runtime.root, exist_ok=True)  # noqa: PTH103 - no pathlib in monitors
        self._directory.remove(_LOG)
        self._directory.remove(_PID)
        mounts.enter_namespace(self._directory.path, overlay, hide_v2=order.runtime.hide_v2)

    def _forget_old(self) -> None:
        """A container whose monitor was killed left the runtime's record, maybe processes.

        Before the overlay is mounted: they may still use the same upper directory.
        """
        if self._known():
            with _null() as null:
                os.waitpid(spawn(self._delete_command(), ChildFds(null, null, null)), 0)
        if self._known():
            remove_tree(f"{self._order.runtime.root}/{self._order.container_id}")

    def begin(self) -> int:
        """Start the runtime; its pid."""
        assert self._prepared is not None
        self._begun = True
        self._prepared.child.go()
        return self._prepared.child.pid

    def finish(self, status: int) -> int:
        """The runtime has ended: the pid of the process it started."""
        pid = self._directory.read(_PID).strip()
        if status == 0 and pid.isdigit():
            return int(pid)
        text = last_error(self._directory.read(_LOG))
        raise LaunchFailed(in_dockers_words(text, self._executable()))

    def clean_up(self) -> int:
        """Have the runtime forget the container and remove its cgroup; a pid, 0: nothing to do."""
        if self._prepared is None or not self._begun:
            return 0
        if isinstance(self._order, ExecOrder) or not self._known():
            return 0
        with _null() as null:
            stdio = ChildFds(null, null, null)
            return run_in(self._prepared.namespace_fd, self._delete_command(), stdio)

    def release(self) -> None:
        """Let the mount namespace go, and the overlay with it."""
        if self._prepared is None:
            return
        if not self._begun:
            self._prepared.child.give_up()
        os.close(self._prepared.namespace_fd)
        self._prepared = None

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

    def _delete_command(self) -> list[str]:
        return [*self._command(), "delete", "--force", self._order.container_id]


@contextlib.contextmanager
def _null() -> Iterator[int]:
    null = os.open(os.devnull, os.O_RDWR)
    try:
        yield null
    finally:
        os.close(null)


def spawn(argv: list[str], stdio: ChildFds) -> int:
    """posix_spawn(3): every other descriptor is close-on-exec."""
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(stdio)]
    return os.posix_spawn(
        argv[0],
        argv,
        environment(),
        file_actions=actions,
        setsigmask=[],
        setsigdef=DEFAULT_SIGNALS,
    )
