"""Which way a process is started: by an OCI runtime, or an exec without one."""

from typing import Protocol

from pier.runtime.launcher import OciLauncher
from pier.runtime.native_exec import NativeLauncher
from pier.runtime.orders import ExecOrder, MonitorOrder
from pier.runtime.prepared import NotPrepared
from pier.runtime.stdio import ChildFds, Directory


class Launcher(Protocol):
    """begin → (its pid ends) → finish → … the process ends … → clean_up → release."""

    def begin(self) -> int: ...
    def finish(self, status: int) -> int: ...
    def clean_up(self) -> int: ...
    def release(self) -> None: ...


def prepared_launcher(
    order: MonitorOrder | ExecOrder, directory: Directory, stdio: ChildFds, console: str
) -> Launcher:
    """One that is ready to begin. Raises NotPrepared.

    Whatever keeps an exec from being prepared here, the runtime may know better.
    """
    if isinstance(order, ExecOrder) and order.native is not None:
        native = NativeLauncher(order, order.native, directory)
        try:
            native.prepare(stdio, console)
        except NotPrepared:
            pass
        else:
            return native
    launcher = OciLauncher(order, directory)
    launcher.prepare(stdio, console)
    return launcher
