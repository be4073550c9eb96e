"""A stage of work in a thread of its own, behind a short queue.

Decompressing, hashing and writing files all release the GIL, so the stages of a layer overlap.
The queue is bounded: a fast stage waits for a slow one.
"""

import hashlib
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager

from pier.oci.digest import Digest

DEPTH = 8
_POLL_S = 0.2


class _Stage:
    """The thread that runs `chunks`, and the queue between it and whoever reads."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(DEPTH)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stage", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for chunk in self._chunks:
                if not self._put(chunk):
                    return
        except BaseException as error:
            self._put(error)
        else:
            self._put(None)

    def _put(self, item: bytes | BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False

    def __iter__(self) -> Iterator[bytes]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def stop(self) -> None:
        """Wait for the thread. A source that blocks must be ended by whoever feeds it."""
        self._stopped.set()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._thread.join()


@contextmanager
def in_thread(chunks: Iterable[bytes]) -> Iterator[Iterator[bytes]]:
    """`chunks`, produced by a thread ahead of the reader; its errors are raised in the reader."""
    stage = _Stage(chunks)
    try:
        yield iter(stage)
    finally:
        stage.stop()


class Hasher:
    """sha256 of what passes, computed in a thread beside the reader."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._queue: queue.Queue[bytes | None] = queue.Queue(DEPTH)
        self._thread = threading.Thread(target=self._run, name="hash", daemon=True)
        self.size = 0
        """Bytes that passed."""

    def _run(self) -> None:
        while (chunk := self._queue.get()) is not None:
            self._hash.update(chunk)

    def watch(self, chunks: Iterable[bytes]) -> Generator[bytes, None, None]:
        """Pass `chunks` through. However the reading ends, the thread ends with it."""
        self._thread.start()
        try:
            for chunk in chunks:
                self._queue.put(chunk)
                self.size += len(chunk)
                yield chunk
        finally:
            self._queue.put(None)
            self._thread.join()

    @property
    def digest(self) -> Digest:
        """Of all that passed; only once the reading has ended."""
        return Digest("sha256:" + self._hash.hexdigest())
