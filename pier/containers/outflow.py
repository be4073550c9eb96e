"""What a thread writes, for the event loop to send as it comes: bounded; either side may end it."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable

_BUFFER_BYTES = 256 * 1024
_DEPTH = 16


class ReaderGone(Exception):
    """Nobody wants the rest."""


class _Outflow:
    """Between one writing thread and one reading task."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._chunks: deque[bytes] = deque()
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._room = threading.Condition()
        self._more = asyncio.Event()
        self.stopped = False
        self.ended = False
        self.error: BaseException | None = None

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
            self._room.wait_for(lambda: len(self._chunks) < _DEPTH or self.stopped)
            if self.stopped:
                raise ReaderGone
            if chunk:
                self._chunks.append(chunk)
        self._wake()

    def end(self, error: BaseException | None = None) -> None:
        """In the thread, as its last act."""
        self.error = error
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
                    return self._chunks.popleft()
                if self.ended:
                    return b""
                self._more.clear()
            await self._more.wait()

    async def wait_for_end(self) -> None:
        while not self.ended:
            await self._more.wait()
            self._more.clear()

    def _wake(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._more.set)


async def written_by(
    work: Callable[[Callable[[bytes], object]], object],
) -> AsyncGenerator[bytes, None]:
    """The chunks that `work`, run in a thread, writes. Its error is raised at the end.

    If the iteration is closed early, `work` gets ReaderGone at its next write, and has ended
    when this has.
    """
    flow = _Outflow()

    def run() -> None:
        try:
            work(flow.write)
            flow.flush()
        except ReaderGone:
            flow.end()
        except BaseException as error:
            flow.end(error)
        else:
            flow.end()

    # A thread of its own: a reader may be slow for hours, and the executor has few threads.
    thread = threading.Thread(target=run, name="outflow", daemon=True)
    thread.start()
    try:
        while chunk := await flow.next_chunk():
            yield chunk
        if flow.error is not None:
            raise flow.error
    finally:
        flow.stop()
        await flow.wait_for_end()
