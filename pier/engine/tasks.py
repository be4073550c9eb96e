"""Long-lived tasks of the daemon: one that fails is logged and ends nothing else."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger("pier.engine")


class Tasks:
    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> object:  # a coroutine's other types
        task = self._group.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            log.exception("a task failed")

    def cancel(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
