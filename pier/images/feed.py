"""Bytes from the event loop to a thread, and from a thread to the event loop, in bounded memory.

What arrives over the network is awaited; what decompresses, hashes and extracts it blocks.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

from pier.threads import Bulkhead, ended

T = TypeVar("T")

_LIMIT = 1024 * 1024
"""What extracts may stall as well, on a file system that hangs, and many may at once."""


class Feed:
    """Chunks put on the loop come out of the iteration in one thread.

    `put` waits while more than `limit` bytes are on their way. Whoever puts must call `end`;
    whoever reads may stop early with `abandon`, which makes `put` return False.
    """

    def __init__(self, limit: int = _LIMIT) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._chunks: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._abandoned = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._room = asyncio.Event()

    async def put(self, chunk: bytes) -> bool:
        """Hand over `chunk`; False if nobody reads any more."""
        while not self._offer(chunk):
            await self._room.wait()
        return not self._abandoned

    def _offer(self, chunk: bytes) -> bool:
        with self._changed:
            if self._bytes > self._limit and not self._abandoned:
                self._room.clear()
                return False
            self._chunks.append(chunk)
            self._bytes += len(chunk)
            self._changed.notify()
            return True

    def end(self, error: BaseException | None = None) -> None:
        """No more chunks; with an error, the reader gets it instead of an end."""
        with self._changed:
            self._ended = True
            self._error = error
            self._changed.notify()

    def abandon(self) -> None:
        """From the reading thread: no more chunks are wanted."""
        with self._changed:
            self._abandoned = True
            self._chunks.clear()
        self._wake()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._chunks or self._ended)
                if self._error is not None:
                    raise self._error
                if not self._chunks:
                    return
                chunk = self._chunks.popleft()
                self._bytes -= len(chunk)
            self._wake()
            yield chunk

    def _wake(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._room.set)


class Interrupted(Exception):
    """The work in the thread is no longer wanted."""


async def work_on(
    chunks: AsyncIterator[bytes],
    work: Callable[[Iterator[bytes]], T],
    threads: Bulkhead,
    owner: str = "",
) -> T:
    """Run `work` in one of `threads` on what arrives; its result. However it ends, so does the
    thread. It begins when there is something to work on. Raises TooManyUnderWay.
    """
    feed = Feed()

    def run() -> T:
        try:
            return work(iter(feed))
        finally:
            feed.abandon()

    source = aiter(chunks)
    first = await anext(source, b"")
    future = threads.start(run, owner=owner)
    try:
        if first:
            await feed.put(first)
        async for chunk in source:
            if not await feed.put(chunk):
                break
        feed.end()
        return await asyncio.shield(future)
    except BaseException:
        feed.end(Interrupted())
        await ended(future)
        raise


async def from_thread(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """What a blocking iterator yields, each chunk made in a thread when it is asked for."""
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield chunk


async def sampled(work: Callable[[], T], interval_s: float, done: list[T]) -> AsyncIterator[None]:
    """Run `work` in a thread; come by every `interval_s` until it has ended. The result is in
    `done` then. Closing the iteration waits for the thread.
    """
    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        while not future.done():
            await asyncio.wait({future}, timeout=interval_s)
            if not future.done():
                yield
        done.append(future.result())
    finally:
        await ended(future)
