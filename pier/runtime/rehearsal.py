"""Monitors' code is run a few times in the spawner before any is forked; see docs/adr/0501.

CPython 3.11 rewrites code it has run eight times for what it met there, and remembers where
methods were found. Done here, every monitor shares the result; done in the monitors, each has
copies of some hundred pages of its own.
"""

import contextlib
import gc
import os
import signal

from pier.linux import cgroup
from pier.runtime import protocol
from pier.runtime.monitor import Monitor
from pier.runtime.orders import LogOrder, MonitorOrder, RuntimeInfo
from pier.runtime.stdio import remove_tree

_TIMES = 10
_FIRST_FD, _NO_FD = 3, 1 << 10


def rehearse() -> None:
    """Leaves nothing behind: to be called before there is any descriptor but 0, 1 and 2."""
    directory = f"/run/pier-rehearsal-{os.getpid()}"
    # Without it monitors work as well and take more memory: no reason to have none.
    with contextlib.suppress(OSError):
        os.mkdir(directory, mode=0o700)  # noqa: PTH102 - no pathlib in monitors
        try:
            for _ in range(_TIMES):
                _live(directory)
        finally:
            remove_tree(directory)
    cgroup.layout()
    signal.set_wakeup_fd(-1)
    gc.collect()
    os.closerange(_FIRST_FD, _NO_FD)


def _live(directory: str) -> None:
    """A short life: the "runtime" ends without having started anything, so the start fails."""
    ours, theirs = protocol.socket_pair()
    order = MonitorOrder(
        container_id="rehearsal",
        bundle=directory,
        runtime=RuntimeInfo("rehearsal", "/bin/true", directory),
        log=LogOrder("json-file", f"{directory}/log"),
        cgroup="/pier-rehearsal",
    )
    fields = protocol.from_order(order)
    fields["overlay"] = None
    with ours:
        protocol.send(ours, {"op": "start", "seq": 1})
        Monitor(protocol.to_order(fields), theirs).run()
        protocol.receive(ours)
