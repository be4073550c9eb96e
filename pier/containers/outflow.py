"""What a thread writes, for the event loop to send as it comes: bounded; either side may end it."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable

from pier.threads import Bulkhead, ended, settled

_BUFFER_BYTES = 256 * 1024
_LIMIT_BYTES = 256 * 1024
"""A reader may stall for hours, and many may."""


class ReaderGone(Exception):
    """Nobody wants the rest."""


class _Outflow:
    """Between one writing thread and one reading task."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._chunks: deque[bytes] = deque()
        self._queued = 0
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._room = threading.Condition()
        self._more = asyncio.Event()
        self.stopped = False
        self.ended = False

    def write(self, data: bytes) -> None:
        """In the thread. Waits while the reader is behind; raises ReaderGone."""
        self._buffer.append(bytes(data))
        self._buffered += len(data)
        if self._buffered >= _BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        chunk = b"".join(self._buffer)
        self._buffer, self._buffered = [], 0
        with self._room:
            self._room.wait_for(lambda: self._queued < _LIMIT_BYTES or self.stopped)
            if self.stopped:
                raise ReaderGone
            if chunk:
                self._chunks.append(chunk)
                self._queued += len(chunk)
        self._wake()

    def end(self) -> None:
        """In the thread, as its last act."""
        self.ended = True
        self._wake()

    def stop(self) -> None:
        """On the loop: the thread shall end."""
        with self._room:
            self.stopped = True
            self._room.notify()

    async def next_chunk(self) -> bytes:
        """b"" at the end."""
        while True:
            with self._room:
                if self._chunks:
                    self._room.notify()
                    chunk = self._chunks.popleft()
                    self._queued -= len(chunk)
                    return chunk
                if self.ended:
                    return b""
                self._more.clear()
            await self._more.wait()

    def _wake(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._more.set)


async def written_by(
    work: Callable[[Callable[[bytes], object]], object], threads: Bulkhead, owner: str = ""
) -> AsyncGenerator[bytes, None]:
    """The chunks that `work`, run in one of `threads`, writes. Its error is raised at the end.

    If the iteration is closed early, `work` gets ReaderGone at its next write, and has ended
    when this has. Raises TooManyUnderWay before anything else.
    """
    flow = _Outflow()

    def run() -> None:
        try:
            work(flow.write)
            flow.flush()
        except ReaderGone:
            pass
        finally:
            flow.end()

    thread = threads.start(run, owner=owner)
    try:
        while chunk := await flow.next_chunk():
            yield chunk
        await settled(thread)
    finally:
        flow.stop()
        await ended(thread)
