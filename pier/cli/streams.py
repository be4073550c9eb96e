"""Both ways of a hijacked connection: the terminal's bytes in, the container's bytes out.

Engine API, "Attach to a container", stream format: without a terminal every piece of output has
a header of eight bytes, `[stream, 0, 0, 0, length big-endian]`.
"""

from __future__ import annotations

import os
import select

from pier.cli.faults import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pier.cli.terminal import DetachWatch
    from pier.cli.transport import Connection

CHUNK = 32 * 1024
HEADER = 8
STDIN, STDOUT, STDERR, SYSTEM_ERROR = 0, 1, 2, 3
_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR


class Demultiplexer:
    """Splits the framed stream into (stream, bytes), whatever the sizes of the reads."""

    def __init__(self) -> None:
        self._header = b""
        self._stream = STDOUT
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        while data:
            if not self._left:
                taken = HEADER - len(self._header)
                self._header += data[:taken]
                data = data[taken:]
                if len(self._header) == HEADER:
                    self._stream = self._header[0]
                    self._left = int.from_bytes(self._header[4:], "big")
                    self._header = b""
                    if self._stream > SYSTEM_ERROR:
                        raise Fault(f"Unrecognized input header: {self._stream}")
                continue
            payload, data = data[: self._left], data[self._left :]
            self._left -= len(payload)
            yield self._stream, payload


class Output:
    """Writes a container's output where it belongs; a terminal's is not framed."""

    def __init__(self, *, terminal: bool, stdout: bool = True, stderr: bool = True) -> None:
        self._frames = None if terminal else Demultiplexer()
        self._fds = {STDIN: 1 if stdout else -1, STDOUT: 1 if stdout else -1}
        self._fds[STDERR] = 2 if stderr else -1

    def write(self, data: bytes) -> None:
        if self._frames is None:
            write_all(self._fds[STDOUT], data)
            return
        for stream, payload in self._frames.feed(data):
            if stream == SYSTEM_ERROR:
                text = payload.decode("utf-8", "replace")
                raise Fault(f"error from daemon in stream: {text}")
            write_all(self._fds[stream], payload)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`; -1 drops it."""
    if fd < 0:
        return
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Hijacked:
    """One two-way stream, pumped by a single loop so that neither side can block the other."""

    def __init__(
        self,
        connection: Connection,
        output: Output,
        *,
        stdin: int = -1,
        watch: DetachWatch | None = None,
    ) -> None:
        self._connection = connection
        self._output = output
        self._stdin = stdin
        self._watch = watch
        self._pending = b""
        self._input_open = stdin >= 0
        self._half_closed = False
        self.detached = False

    def run(self) -> None:
        """Pump until the daemon ends the stream or the detach keys are typed."""
        sock = self._connection.socket
        if self._connection.buffer:
            self._output.write(self._connection.read_some(len(self._connection.buffer)))
        if not self._input_open:
            self.end_input()
        sock.setblocking(False)
        try:
            while not self.detached and self._turn():
                pass
        finally:
            sock.close()

    def end_input(self) -> None:
        """Tell the daemon that nothing more will come. Output goes on."""
        if self._half_closed:
            return
        self._half_closed = True
        sock = self._connection.socket
        try:
            unwrap = getattr(sock, "unwrap", None)
            if unwrap is None:
                sock.shutdown(1)
        except OSError:
            return

    def _turn(self) -> bool:
        sock = self._connection.socket
        events = _READABLE | (select.POLLOUT if self._pending else 0)
        poll = select.poll()
        poll.register(sock.fileno(), events)
        if self._input_open and not self._pending:
            poll.register(self._stdin, _READABLE)
        timeout = 0 if _buffered(sock) else None
        ready = dict(poll.poll(timeout))
        if ready.get(self._stdin, 0) & _READABLE:
            self._read_input()
        if self._pending:
            self._send()
        if timeout == 0 or ready.get(sock.fileno(), 0) & _READABLE:
            return self._receive()
        return True

    def _read_input(self) -> None:
        try:
            data = os.read(self._stdin, CHUNK)
        except OSError:
            data = b""
        if not data:
            self._input_open = False
            self.end_input()
            return
        self._pending = self._watch.pass_on(data) if self._watch else data
        self.detached = bool(self._watch and self._watch.detached)

    def _send(self) -> None:
        try:
            sent = self._connection.socket.send(self._pending)
        except OSError as error:
            if _would_block(error):
                return
            self._input_open = False
            sent = len(self._pending)
        self._pending = self._pending[sent:]

    def _receive(self) -> bool:
        try:
            data = self._connection.socket.recv(CHUNK)
        except OSError as error:
            return _would_block(error)
        if data:
            self._output.write(data)
        return bool(data)


def _would_block(error: OSError) -> bool:
    return isinstance(error, BlockingIOError) or type(error).__name__.startswith("SSLWant")


def _buffered(sock: object) -> bool:
    """Whether TLS has decrypted more than was asked for: poll cannot see that."""
    pending: Callable[[], int] | None = getattr(sock, "pending", None)
    return bool(pending and pending())
