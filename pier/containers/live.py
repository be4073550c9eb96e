"""What the daemon holds in memory for each container; none of it outlives the daemon.

The lock serialises changes of one container's state. Nothing waits for another object while
holding it, least of all for the container's own exit: settling that needs the lock.
"""

import asyncio
from dataclasses import dataclass, field

from pier.containers.attach import Queue
from pier.containers.waiting import Waiters
from pier.runtime.monitors import Monitor

DEPARTED = 1024
"""Of how many containers that were removed the exit codes are remembered."""


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
    adopted: bool = False
    """An earlier daemon started it: who waited for its end may come to ask again."""
    execs: set[str] = field(default_factory=set)
    health: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: stop probing."""


class LiveContainers:
    """By container ID; made when first asked for."""

    def __init__(self) -> None:
        self._live: dict[str, Live] = {}
        self._departed: dict[str, int] = {}

    def __getitem__(self, container_id: str) -> Live:
        return self._live.setdefault(container_id, Live())

    def depart(self, container_id: str, exit_code: int) -> None:
        """Its record goes now. Of an adopted container the exit code is remembered."""
        live = self._live.get(container_id)
        if live is None or not live.adopted:
            return
        self._departed[container_id] = exit_code
        while len(self._departed) > DEPARTED:
            del self._departed[next(iter(self._departed))]

    def drop(self, container_id: str) -> None:
        """The container was removed."""
        self._live.pop(container_id, None)

    def find_departed(self, container_id: str) -> int | None:
        """The exit code of an adopted container that was removed."""
        return self._departed.get(container_id)
