"""The daemon's side of spawner and monitors (asyncio). STUB: signatures are final, bodies follow."""

from collections.abc import Callable, Sequence
from pathlib import Path
from socket import socket
from typing import NamedTuple

from pier.errors import Failed
from pier.runtime.orders import AttachOptions, ExecOrder, Exit, MonitorOrder


class RuntimeFailed(Failed):
    """The runtime could not start the process; the message is what Docker's client would read.

    exit_code: 126, 127 or 128 by Docker's rules. Nothing of the attempt is left: the monitor
    has ended, the container does not exist in the runtime.
    """

    exit_code: int


class MonitorLost(Failed):
    """The connection ended without an exit notice: the monitor died. See `read_exit`."""


class Finished(NamedTuple):
    code: int
    stdout: bytes
    stderr: bytes


class Spawner:
    """The process that forks monitors. It is started again if it died; monitors outlive it."""

    async def start(self) -> None: ...
    async def launch(self, order: MonitorOrder) -> "Monitor":
        """A monitor with stdio, log and control socket ready; nothing runs yet.

        If the returned Monitor is dropped (`disconnect`) before `start`, it ends by itself.
        """
        raise NotImplementedError

    async def launch_exec(self, order: ExecOrder) -> "Monitor":
        raise NotImplementedError

    async def run(self, argv: Sequence[str], *, hide_v2: bool, timeout_s: float) -> Finished:
        """Run a runtime's command, where asked in a namespace without the cgroup2 mount."""
        raise NotImplementedError

    async def close(self) -> None:
        """End the spawner. Monitors and containers go on."""


class Monitor:
    """A connection to one monitor. All methods raise MonitorLost when it is gone."""

    pid: int  # of the container's (or exec's) process; 0 before start
    on_oom: Callable[[], None] | None
    on_detach: Callable[[str], None] | None  # client_id of AttachOptions

    async def start(self) -> int:
        """Have the runtime run the process; its pid. Raises RuntimeFailed."""
        raise NotImplementedError

    async def attach(self, client: socket | int, options: AttachOptions) -> None:
        """Hand a client's connected socket over. The caller closes its own copy afterwards."""

    async def signal(self, number: int) -> bool:
        """Signal the process; False if it had ended."""
        raise NotImplementedError

    async def resize(self, height: int, width: int) -> None: ...
    async def close_stdin(self) -> None: ...
    async def wait(self) -> Exit:
        """How the process ended, as soon as it is known. Any number of callers, any time."""
        raise NotImplementedError

    async def ended(self) -> None:
        """Returns when the monitor has cleaned up (runtime delete) and gone.

        Wait for this before the same container ID is launched again or its bundle is removed.
        """

    async def disconnect(self) -> None:
        """Let go. A running container goes on without us; one not started ends."""


async def adopt(bundle: Path) -> Monitor | None:
    """The running monitor of a bundle (or exec directory), or None."""
    raise NotImplementedError


def read_exit(bundle: Path) -> Exit | None:
    """What a monitor that is gone left behind, or None."""
    raise NotImplementedError
