"""Reading a log to its end, or following it: threads read, inotify tells when there is more."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

from pier.containers.log_files import LogFiles
from pier.containers.log_records import Filter
from pier.containers.requests import LogChunk, LogQuery
from pier.linux.inotify import DirectoryWatch

_SECOND_NS = 1_000_000_000


async def read_all(path: Path, driver: str, query: LogQuery) -> AsyncGenerator[LogChunk, None]:
    """What was written until now: a container that never stops writing does not hold us."""
    shown = Filter(query)
    files = await asyncio.to_thread(LogFiles, path, driver, query.tail, bounded=True)
    try:
        async for chunk in _rest(files, shown):
            yield chunk
    finally:
        files.close()


async def follow(
    path: Path, driver: str, query: LogQuery, ended: Callable[[], Awaitable[object]]
) -> AsyncGenerator[LogChunk, None]:
    """What is there, and what comes until `ended` returns or `until` has passed."""
    shown = Filter(query)
    watch = DirectoryWatch(path.parent)
    try:
        files = await asyncio.to_thread(LogFiles, path, driver, query.tail)
        try:
            over = False
            while not shown.ended:
                async for chunk in _rest(files, shown):
                    yield chunk
                if over:
                    break
                over = await _ended_before_change(watch, ended, query)
        finally:
            files.close()
    finally:
        watch.close()


async def _rest(files: LogFiles, shown: Filter) -> AsyncGenerator[LogChunk, None]:
    while not shown.ended:
        records = await asyncio.to_thread(files.read)
        if files.missed_bytes:
            yield shown.missed(files.missed_bytes)
            files.missed_bytes = 0
        if records is None:
            return
        for chunk in shown.chunks(records):
            yield chunk


async def _ended_before_change(
    watch: DirectoryWatch, ended: Callable[[], Awaitable[object]], query: LogQuery
) -> bool:
    """Wait for more to read. True: there is one last time to look."""

    async def end() -> None:
        await ended()

    async with asyncio.TaskGroup() as group:
        changed, over = group.create_task(watch.changed()), group.create_task(end())
        done, pending = await asyncio.wait(
            (changed, over), timeout=_seconds_left(query), return_when=asyncio.FIRST_COMPLETED
        )
        for task in pending:
            task.cancel()
    return over in done or not done


def _seconds_left(query: LogQuery) -> float | None:
    if query.until_ns <= 0:
        return None
    return max(0.0, (query.until_ns - time.time_ns()) / _SECOND_NS)
