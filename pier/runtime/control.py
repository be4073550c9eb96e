"""The monitor's end of its daemon's connections: one it was born with, others by monitor.sock."""

import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pier.runtime import protocol
from pier.runtime.loop import READABLE, Loop
from pier.runtime.stdio import Directory


class Request:
    """`answer` once. Descriptors that came along are the handler's."""

    def __init__(
        self, connection: socket.socket, fields: Mapping[str, Any], fds: tuple[int, ...]
    ) -> None:
        self.fields = fields
        self.fds = fds
        self._connection = connection

    def answer(self, *, send_fds: Sequence[int] = (), **fields: object) -> None:
        _send(self._connection, {"re": self.fields.get("seq"), **fields}, send_fds)


class Control:
    """Greets whoever connects. `on_lonely()`: the last connection has closed."""

    def __init__(
        self,
        loop: Loop,
        directory: Directory,
        greeting: Callable[[], Mapping[str, object]],
        on_request: Callable[[Request], None],
    ) -> None:
        self.on_lonely: Callable[[], None] = lambda: None
        self._loop = loop
        self._directory = directory
        self._greeting = greeting
        self._on_request = on_request
        self._connections: list[socket.socket] = []
        self._kept: Sequence[int] = ()
        self._listener = directory.listen(protocol.SOCKET_NAME, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        loop.watch(self._listener.fileno(), READABLE, lambda _events: self._accept())

    def add(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connections.append(connection)
        self._loop.watch(
            connection.fileno(), READABLE, lambda _events: self._on_readable(connection)
        )

    def broadcast(self, notice: Mapping[str, object]) -> None:
        for connection in tuple(self._connections):
            _send(connection, notice)

    def keep(self, request: Request) -> None:
        """Hold the descriptors that came along, for the next daemon, in place of earlier ones."""
        self._let_go()
        self._kept = request.fds
        request.answer()

    def kept(self, request: Request) -> None:
        """Give copies of what is held."""
        request.answer(send_fds=self._kept)

    def _let_go(self) -> None:
        for fd in self._kept:
            os.close(fd)
        self._kept = ()

    def close(self) -> None:
        """The socket's name goes first: who finds it must find somebody there."""
        self._directory.remove(protocol.SOCKET_NAME)
        for sock in (self._listener, *self._connections):
            self._loop.unwatch(sock.fileno())
            sock.close()
        self._connections.clear()
        self._let_go()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            self.add(connection)
            _send(connection, self._greeting())

    def _on_readable(self, connection: socket.socket) -> None:
        try:
            message = protocol.receive(connection)
        except BlockingIOError:
            return
        if message.ended:
            self._loop.unwatch(connection.fileno())
            self._connections.remove(connection)
            connection.close()
            if not self._connections:
                self.on_lonely()
            return
        request = Request(connection, message.fields, message.fds)
        try:
            self._on_request(request)
        except (KeyError, ValueError, TypeError, IndexError, OSError) as error:
            # A daemon of another version must not bring a container down.
            for fd in message.fds:
                with contextlib.suppress(OSError):
                    os.close(fd)
            request.answer(error=f"{type(error).__name__}: {error}")


def _send(connection: socket.socket, fields: Mapping[str, object], fds: Sequence[int] = ()) -> None:
    # A daemon that does not read or has just gone misses it: the exit file has what matters.
    with contextlib.suppress(OSError):
        protocol.send(connection, fields, fds)
