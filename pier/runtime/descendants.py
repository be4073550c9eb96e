"""The processes below one of ours that is starting a program, and their end. proc_pid_stat(5).

What is to become a container's program is in the container before it is the program: who is in
there may stop it, and who waits for it would wait for ever.
"""

import contextlib
import os
import signal
from typing import NamedTuple

_STOPPED = ("T", "t")


class _Process(NamedTuple):
    parent: int
    state: str


def kill_stopped(root: int) -> bool:
    """SIGKILL to every process below `root` that is stopped; whether there was one."""
    stopped = [pid for pid in _below(root) if _read(pid).state in _STOPPED]
    for pid in stopped:
        _signal(pid, signal.SIGKILL)
    return bool(stopped)


def kill_all(root: int) -> None:
    """SIGKILL to `root`, a child of the caller that was not waited for, and to all below it."""
    # It must not go on forking. (Where it waits for a child to execute, in vfork(2), it does not.)
    _signal(root, signal.SIGSTOP)
    for pid in (*_below(root), root):
        _signal(pid, signal.SIGKILL)


def _below(root: int) -> list[int]:
    parents = {int(name): _read(int(name)).parent for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 - no pathlib in monitors
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def _read(pid: int) -> _Process:
    """Of a process that has ended: no parent, no state."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, parent = file.read().rpartition(b")")[2].split()[:2]
    except (OSError, ValueError):
        return _Process(0, "")
    return _Process(int(parent), state.decode())


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
