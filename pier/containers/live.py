"""What the daemon holds in memory for each container; none of it outlives the daemon.

The lock serialises changes of one container's state. Nothing waits for another object while
holding it, least of all for the container's own exit: settling that needs the lock.
"""

import asyncio
from dataclasses import dataclass, field

from pier.containers.attach import Queue
from pier.containers.waiting import Waiters
from pier.runtime.monitors import Monitor


@dataclass(slots=True)
class Live:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiters: Waiters = field(default_factory=Waiters)
    clients: Queue = field(default_factory=Queue)
    """Attached before the start."""
    monitor: Monitor | None = None
    retry: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: the pending restart shall not happen."""
    exit_on_next: bool = False
    """Whatever the policy says, the next exit is the last (stop, or kill by SIGKILL)."""
    restarting_by_user: bool = False
    """`restart`: the exit between stop and start must not remove an --rm container."""
    oom: bool = False
    execs: set[str] = field(default_factory=set)
    health: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: stop probing."""


class LiveContainers:
    """By container ID; made when first asked for."""

    def __init__(self) -> None:
        self._live: dict[str, Live] = {}

    def __getitem__(self, container_id: str) -> Live:
        return self._live.setdefault(container_id, Live())

    def drop(self, container_id: str) -> None:
        self._live.pop(container_id, None)
