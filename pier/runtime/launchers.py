"""Which way a process is started: by an OCI runtime, or an exec without one."""

import contextlib
from typing import Protocol

from pier.runtime.launcher import OciLauncher
from pier.runtime.native_exec import NativeLauncher
from pier.runtime.orders import ExecOrder, MonitorOrder
from pier.runtime.prepared import NotPrepared
from pier.runtime.stdio import ChildFds, Directory


class Launcher(Protocol):
    """prepare → begin → (its pid ends) → finish → … the process ends … → clean_up → release.

    finish may raise NotPrepared: another launcher is to be tried then.
    """

    def prepare(self, stdio: ChildFds, console: str) -> None: ...
    def begin(self) -> int: ...
    def finish(self, status: int) -> int: ...
    def clean_up(self) -> int: ...
    def release(self) -> None: ...


def prepared_launcher(
    order: MonitorOrder | ExecOrder, directory: Directory, stdio: ChildFds, console: str
) -> Launcher:
    """One that is ready to begin, or will be. Raises NotPrepared."""
    if isinstance(order, ExecOrder) and order.native is not None:
        native = NativeLauncher(order, order.native, directory)
        with contextlib.suppress(NotPrepared):
            native.prepare(stdio, console)
            return native
    launcher = OciLauncher(order, directory)
    launcher.prepare(stdio, console)
    return launcher
