"""One client's connection, as it may stop being HTTP: the ground under `pier.api.hijack`.

A `Connection` stands between asyncio's transport and aiohttp's protocol and passes everything
on. Only when an attach or exec start arrives does it act: it stops reading at the end of that
request, at once, so that what the client sends next (stdin, or the half-close that ends it) is
neither parsed as a further request nor lost, but stays in the socket for whoever takes it over.
aiohttp alone cannot do this: its parser knows no upgrade but websocket's, and its server closes
a half-closed connection.

A client that half-closes after an ordinary request still gets its answer, as from Docker.

    idle -> busy (a request is with aiohttp) -> idle ...
         -> held (the same, and nothing more is read; `early` is what came too soon)
            -> released -> idle            the answer was plain HTTP after all
            -> taken                       the connection belongs to a container now
"""

import asyncio
import re
import socket
from collections.abc import Callable
from enum import Enum, auto

LONGEST_HEAD = 1024 * 1024
"""Go's bound too: build arguments come in the query, credentials in headers."""
LONGEST_BODY = 1024 * 1024
"""Of a request that may take its connection over. A longer one is HTTP's to read, and to refuse."""
HEAD_S = 300.0
"""How long a client may take to ask for something, as in Docker."""
_HIJACKED = re.compile(
    rb"POST (?:/v[0-9.]+)?/(?:containers/[^ ?]+/attach|exec/[^ ?]+/start)(?:\?[^ ]*)? HTTP/1\.1\r\n"
)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,19})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_END = b"\r\n\r\n"


class Phase(Enum):
    IDLE = auto()
    BUSY = auto()
    HELD = auto()
    TAKEN = auto()


def _whole_length(data: bytes) -> int | None:
    """Bytes of the request at the start of `data`; None if its head does not tell."""
    end = data.find(_END)
    if end < 0:
        return None
    head = data[: end + len(_END)]
    if _CHUNKED.search(head):
        return None
    length = _LENGTH.search(head)
    return len(head) + (int(length[1]) if length else 0)


def request_length(data: bytes) -> int | None:
    """Bytes of the hijacking request at the start of `data`; 0: not yet known; None: it is none."""
    if not data.startswith(b"POST "[: len(data)]):
        return None
    if _END not in data:
        return 0 if len(data) < LONGEST_HEAD else None
    length = _whole_length(data) if _HIJACKED.match(data) else None
    return None if length is None or length > LONGEST_HEAD + LONGEST_BODY else length


class Connection(asyncio.Protocol):
    """The protocol given to asyncio; `inner` is aiohttp's. `worked()` is called after it ended."""

    def __init__(
        self, inner: asyncio.Protocol, worked: Callable[[], object] = lambda: None
    ) -> None:
        self._inner = inner
        self._worked = worked
        self._phase = Phase.IDLE
        self._early = b""
        self._pending = b""
        self._complete = False
        """The request under way is here to its last byte."""
        self._deadline: asyncio.TimerHandle | None = None
        """Ends a client that has not asked for anything until then."""
        self.half_closed = False
        """The client sends nothing more; the answer under way is the last."""
        self._on_lost: set[Callable[[], object]] = set()
        self.answering = False
        """The answer has begun, so an error can no longer become a status."""
        self.writable = asyncio.Event()
        self.writable.set()
        self.sink: Callable[[bytes], None] | None = None
        """Who gets the bytes of a taken TLS connection; b"" is the end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # type: ignore[explicit-override]  # typing.override: 3.12
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._wait_for_request()
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:  # type: ignore[explicit-override]  # typing.override: 3.12
        match self._phase:
            case Phase.IDLE:
                self._wait_for_request()
                self._begin(self._pending + data)
            case Phase.BUSY:
                self._complete = False
                self._inner.data_received(data)
            case Phase.HELD:
                self._early += data
            case Phase.TAKEN:
                if self.sink:
                    self.sink(data)

    def _wait_for_request(self) -> None:
        if self._deadline is None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(HEAD_S, self.transport.abort)

    def begin_request(self) -> None:
        """Its head is here whole; called by the application before every request."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _begin(self, data: bytes) -> None:
        """A request starts here, as far as `data` goes."""
        length = request_length(data)
        if length is None:
            self._phase, self._pending = Phase.BUSY, b""
            self._complete = _whole_length(data) == len(data)
            self._inner.data_received(data)
        elif length == 0 or len(data) < length:
            self._pending = data
        else:
            self._phase, self._pending, self._early = Phase.HELD, b"", data[length:]
            self.transport.pause_reading()
            self._inner.data_received(data[:length])

    def eof_received(self) -> bool | None:  # type: ignore[explicit-override]  # typing.override: 3.12
        if self._phase is Phase.TAKEN and self.sink:
            self.sink(b"")
            return True
        if self._phase is Phase.BUSY and self._complete:
            self.half_closed = True
            self._tell_lost()
            return True
        return self._inner.eof_received()

    def _tell_lost(self) -> None:
        """End what only makes sense for a client that listens; an operation goes on."""
        for callback in tuple(self._on_lost):
            callback()

    def pause_writing(self) -> None:  # type: ignore[explicit-override]  # typing.override: 3.12
        self.writable.clear()
        self._inner.pause_writing()

    def resume_writing(self) -> None:  # type: ignore[explicit-override]  # typing.override: 3.12
        self.writable.set()
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:  # type: ignore[explicit-override]  # typing.override: 3.12
        self.begin_request()
        self.writable.set()
        if self.sink:
            self.sink(b"")
        self._inner.connection_lost(exc)
        self._tell_lost()
        self._worked()

    def finish_request(self) -> None:
        """The handler is done; called by the application after every request."""
        self.answering = False
        if self._phase is Phase.BUSY:
            self._phase = Phase.IDLE
        elif self._phase is Phase.HELD:
            self._release()

    def _release(self) -> None:
        early, self._early, self._phase = self._early, b"", Phase.IDLE
        if self.transport.is_closing():
            return
        self.transport.resume_reading()
        if early:
            self.data_received(early)

    def take(self) -> bytes:
        """HTTP ends here. Returns the bytes that came after the request; reading is paused."""
        if self._phase is not Phase.HELD and not self.transport.is_closing():
            self.transport.pause_reading()
        self._phase = Phase.TAKEN
        early, self._early = self._early, b""
        return early

    def detach(self) -> socket.socket:
        """The connection's socket, now the caller's; asyncio forgets it, the client sees nothing.

        Closing the transport closes only its own descriptor: no shutdown(2) is sent. Not for TLS.
        """
        sock: socket.socket = self.transport.get_extra_info("socket").dup()
        sock.setblocking(False)
        self.transport.close()
        return sock

    def when_lost(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the client has gone. Undo with `forget`."""
        self._on_lost.add(callback)

    def forget(self, callback: Callable[[], object]) -> None:
        self._on_lost.discard(callback)
