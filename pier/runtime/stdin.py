"""The process's standard input: what clients typed and the pipe or terminal did not take yet."""

import os
from collections import deque
from collections.abc import Callable

from pier.runtime.loop import WRITABLE, Loop

_FULL_BYTES = 1 << 16


class Stdin:
    """Before `connect` input is kept; after `close` it is discarded.

    once: the end of the first client's input ends the process's.
    """

    def __init__(self, loop: Loop, *, once: bool) -> None:
        self.on_drained: Callable[[], None] = lambda: None
        self._loop = loop
        self._once = once
        self._fd = -1
        self._closing = False
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0

    @property
    def full(self) -> bool:
        return self._waiting_bytes > _FULL_BYTES

    def connect(self, fd: int) -> None:
        """Takes `fd` over: the pipe, or a duplicate of the terminal that nobody else watches."""
        self._fd = fd
        os.set_blocking(fd, False)
        self._flush()

    def write(self, data: bytes) -> None:
        if self._closing:
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._fd >= 0:
            self._flush()

    def client_ended(self) -> None:
        if self._once:
            self.close()

    def close(self) -> None:
        """End of input, after what is waiting has been written."""
        self._closing = True
        if self._fd >= 0:
            self._flush()

    def discard(self) -> None:
        """The process has ended: nobody reads any more."""
        self._closing = True
        self._drop()

    def _flush(self) -> None:
        try:
            while self._waiting:
                self._advance(os.write(self._fd, self._waiting[0]))
        except BlockingIOError:
            self._loop.watch(self._fd, WRITABLE, lambda _events: self._flush())
            return
        except OSError:
            self._closing = True
            self._drop()
            return
        self._loop.unwatch(self._fd)
        if self._closing:
            self._drop()
        self.on_drained()

    def _advance(self, written: int) -> None:
        self._waiting_bytes -= written
        head = self._waiting.popleft()
        if written < len(head):
            self._waiting.appendleft(head[written:])

    def _drop(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            os.close(self._fd)
            self._fd = -1
        self.on_drained()
