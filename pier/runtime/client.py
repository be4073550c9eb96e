"""One attached client: its own socket, its own queue, its own pace.

Partial writes, EPIPE and resets are normal here. A half-closed client (shutdown(SHUT_WR)) has
ended its input and still gets its output.
"""

import contextlib
import socket
from collections import deque
from typing import Protocol

from pier.runtime.detach import DetachKeys
from pier.runtime.loop import HANGUP, READABLE, WRITABLE, Loop
from pier.runtime.orders import AttachOptions

QUEUE_LIMIT = 1 << 20
READ_BYTES = 1 << 16
CLOSING_S = 5.0


class Owner(Protocol):
    def client_input(self, data: bytes) -> None: ...
    def client_input_ended(self) -> None: ...
    def client_detached(self, client: "Client") -> None: ...
    def client_progress(self) -> None: ...
    def client_gone(self, client: "Client") -> None: ...


class Client:
    """Takes `fd` over. patient: attached before the start, so output waits for it."""

    def __init__(
        self, loop: Loop, fd: int, options: AttachOptions, owner: Owner, *, patient: bool
    ) -> None:
        self.options = options
        self.patient = patient
        self.closed = False
        self._loop = loop
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._owner = owner
        self._keys = DetachKeys(options.detach_keys)
        self._queue: deque[memoryview] = deque()
        self._queued = 0
        self._head_begun = False
        self._reading = options.stdin
        self._paused = False
        self._finishing = False

    def open(self) -> None:
        self._watch()
        if self._reading and self.options.early:
            self._take_input(self.options.early)

    @property
    def full(self) -> bool:
        return self._queued > QUEUE_LIMIT and not self._finishing and not self.closed

    def pause_input(self, *, paused: bool) -> None:
        if self._paused != paused and not self.closed:
            self._paused = paused
            self._watch()

    def send(self, frame: bytes) -> None:
        if self._finishing or self.closed:
            return
        self._queue.append(memoryview(frame))
        self._queued += len(frame)
        if len(self._queue) == 1:
            self._flush()

    def finish(self) -> None:
        """Deliver what is queued, then close; no more input, no more output."""
        if self.closed:
            return
        self._finishing = True
        self._reading = False
        self._flush()

    def drop(self, reason: bytes) -> None:
        """Discard the queue, all but the frame under way; deliver `reason`, close soon."""
        if self.closed:
            return
        kept = [self._queue[0]] if self._head_begun else []
        self._queue = deque([*kept, memoryview(reason)])
        self._queued = sum(map(len, self._queue))
        self._loop.after(CLOSING_S, self.close)
        self.finish()

    def close(self, *, shut: bool = True) -> None:
        """shut=False leaves the connection usable by others who hold the same socket."""
        if self.closed:
            return
        self.closed = True
        self._loop.unwatch(self._socket.fileno())
        if shut:
            self._shut()
        self._socket.close()
        self._queue.clear()
        self._owner.client_gone(self)

    def _shut(self) -> None:
        # Bytes nobody read turn an orderly end into a reset, which may overtake the output still
        # on its way: take them out first.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            while self._socket.recv(READ_BYTES):
                pass
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _flush(self) -> None:
        try:
            while self._queue:
                self._advance(self._socket.send(self._queue[0], socket.MSG_NOSIGNAL))
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up()
            return
        if self._finishing and not self._queue:
            self.close()
            return
        self._watch()

    def _advance(self, sent: int) -> None:
        self._queued -= sent
        self._head_begun = sent < len(self._queue[0])
        if self._head_begun:
            self._queue[0] = self._queue[0][sent:]
        else:
            self._queue.popleft()

    def _watch(self) -> None:
        events = READABLE if self._reading and not self._paused else 0
        if self._queue:
            events |= WRITABLE
        self._loop.watch(self._socket.fileno(), events, self._on_ready)

    def _on_ready(self, events: int) -> None:
        if events & READABLE and self._reading:
            self._read()
        elif events & HANGUP:
            self._hang_up()
        if events & WRITABLE and not self.closed:
            was_full = self.full
            self._flush()
            if was_full and not self.full:
                self._owner.client_progress()

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take_input(data)
            return
        self._end_input()
        if not self.closed:
            self._watch()

    def _take_input(self, data: bytes) -> None:
        forward, detached = self._keys.feed(data)
        if forward:
            self._owner.client_input(forward)
        if detached:
            self._owner.client_detached(self)
            self._loop.after(CLOSING_S, self.close)
            self.finish()

    def _hang_up(self) -> None:
        self._end_input()
        self.close()

    def _end_input(self) -> None:
        if not self._reading:
            return
        self._reading = False
        held = self._keys.end()
        if held:
            self._owner.client_input(held)
        self._owner.client_input_ended()
