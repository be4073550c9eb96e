"""Which way a process is started: by an OCI runtime, or an exec without one."""

from typing import Protocol

from pier.runtime.launcher import OciLauncher
from pier.runtime.native_exec import NativeLauncher
from pier.runtime.orders import ExecOrder, MonitorOrder
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


def first_launcher(order: MonitorOrder | ExecOrder, directory: Directory) -> Launcher:
    if isinstance(order, ExecOrder) and order.native is not None:
        return NativeLauncher(order, order.native, directory)
    return OciLauncher(order, directory)
