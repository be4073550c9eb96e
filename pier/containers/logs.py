"""`docker logs`: what a container wrote, and what it writes until it ends. surface.md k.1.

The monitor writes the files and never waits for readers.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

from pier.containers.log_order import log_path
from pier.containers.log_reading import follow, read_all
from pier.containers.log_records import JSON_FILE, LOCAL
from pier.containers.model import Container
from pier.containers.parts import Parts
from pier.containers.requests import LogChunk, LogQuery
from pier.containers.state import State
from pier.containers.waiting import Condition, Waiter
from pier.errors import Conflict, NotSupported


class LogsNotKept(NotSupported):
    def __init__(self) -> None:
        super().__init__("configured logging driver does not support reading")


class LogsGone(Conflict):
    def __init__(self) -> None:
        super().__init__("can not get logs from container which is dead or marked for removal")


class Logs:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def read(self, container: Container, query: LogQuery) -> AsyncIterator[LogChunk]:
        """What `query` asks for; close the iterator if it is left early.

        Raises LogsNotKept and LogsGone at once, before the first chunk.
        """
        driver = container.spec.host.log.driver or JSON_FILE
        if driver not in (JSON_FILE, LOCAL):
            raise LogsNotKept
        if container.state in (State.DEAD, State.REMOVING):
            raise LogsGone
        path = log_path(container, self._parts.directory(container.id))
        if not (query.follow and container.state in (State.RUNNING, State.PAUSED)):
            return read_all(path, driver, query)
        waiter = self._parts.live[container.id].waiters.add(Condition.NEXT_EXIT)
        now = self._parts.store.get(container.id)
        if now.state not in (State.RUNNING, State.PAUSED):
            waiter.close()
            return read_all(path, driver, query)
        return _until_exit(path, driver, query, waiter)


async def _until_exit(
    path: Path, driver: str, query: LogQuery, waiter: Waiter
) -> AsyncGenerator[LogChunk, None]:
    try:
        async with contextlib.aclosing(follow(path, driver, query, waiter.result)) as chunks:
            async for chunk in chunks:
                yield chunk
    finally:
        waiter.close()
