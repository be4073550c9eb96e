"""The process's output, read as fast as log and clients take it.

A pipe begins with the kernel's 64 KiB and grows to 1 MiB when its writer fills it: pages of all
pipes count against root's soft limit, so an idle container must not reserve any.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable

from pier.runtime.loop import READABLE, Loop

READ_BYTES = 1 << 17
_PIPE_BYTES = 1 << 16
_GROWN_BYTES = 1 << 20


class Outputs:
    """`on_data(stream, data)` for what comes. Nothing is read before `open` of a stream."""

    def __init__(self, loop: Loop, on_data: Callable[[str, bytes], None]) -> None:
        self._loop = loop
        self._on_data = on_data
        self._streams: dict[int, str] = {}
        self._grown: set[int] = set()
        self._held = False
        self._on_end: Callable[[], None] | None = None

    def open(self, stream: str, fd: int) -> None:
        os.set_blocking(fd, False)
        self._streams[fd] = stream
        if not self._held:
            self._watch(fd)

    def hold(self, *, held: bool) -> None:
        """Back-pressure: the process waits in its write(2) while held."""
        if held == self._held:
            return
        self._held = held
        for fd in self._streams:
            if held:
                self._loop.unwatch(fd)
            else:
                self._watch(fd)

    def finish(self, grace_s: float, on_end: Callable[[], None]) -> None:
        """The process has ended: read the rest, then `on_end()`, once.

        What the pipes hold is read at once, back-pressure or not. Children it left may keep them
        open for ever: they get `grace_s`.
        """
        self.hold(held=False)
        self._on_end = on_end
        for fd in tuple(self._streams):
            self._drain(fd)
        if self._streams:
            self._loop.after(grace_s, self.close)
        else:
            self._end()

    def close(self) -> None:
        for fd in tuple(self._streams):
            self._close(fd)
        self._end()

    def _watch(self, fd: int) -> None:
        self._loop.watch(fd, READABLE, lambda _events: self._on_readable(fd))

    def _on_readable(self, fd: int) -> None:
        self._read(fd)
        if not self._streams and self._on_end is not None:
            self._end()

    def _drain(self, fd: int) -> None:
        """At most what a pipe can hold: a child may be writing without end."""
        for _ in range(2 * _GROWN_BYTES // READ_BYTES):
            if not self._read(fd):
                return

    def _read(self, fd: int) -> bool:
        """One read; False if there was nothing now."""
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            # EIO: nobody has the terminal open any more.
            data = b""
        if not data:
            self._close(fd)
            return False
        if len(data) >= _PIPE_BYTES and fd not in self._grown:
            self._grow(fd)
        self._on_data(self._streams[fd], data)
        return True

    def _grow(self, fd: int) -> None:
        self._grown.add(fd)
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _GROWN_BYTES)

    def _close(self, fd: int) -> None:
        self._loop.unwatch(fd)
        del self._streams[fd]
        self._grown.discard(fd)
        os.close(fd)

    def _end(self) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end()
