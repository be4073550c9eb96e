"""Taking a connection over: from HTTP to the two-way stream of a container.

The order is what clients depend on: the exact header block first, in a write of its own (docker-py
loses bytes glued to it), then the container's bytes, with the client's half-close passed on. On a
plain connection the engine gets the client's own socket, so that a monitor can serve it after
this daemon is gone. TLS ends here, so there the engine gets one end of a socketpair.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web

from pier.api import streams
from pier.api.connection import Connection
from pier.api.faults import in_words
from pier.errors import InvalidArgument, PierError

Serve = Callable[[socket.socket, bytes], Awaitable[None]]
"""Given the connection's socket (non-blocking) and what the client already sent."""

_CHUNK = 64 * 1024
_log = logging.getLogger("pier.api")


class BodyTooLarge(InvalidArgument):
    """Where its end is not yet here, nobody can tell it from the stream that follows."""

    def __init__(self) -> None:
        super().__init__("request body too large")


class Taken(web.StreamResponse):
    """What a handler returns when there is nothing left to answer."""

    def __init__(self) -> None:
        super().__init__()
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> None:  # type: ignore[explicit-override]  # typing.override: 3.12
        return None

    async def write_eof(self, data: bytes = b"") -> None:  # type: ignore[explicit-override]  # typing.override: 3.12
        return None


def connection_of(request: web.BaseRequest) -> Connection | None:
    """The connection a request came by; None if it is gone, or the server is not ours."""
    if request.transport is None:
        return None
    protocol = request.transport.get_protocol()
    return protocol if isinstance(protocol, Connection) else None


def wants_upgrade(request: web.BaseRequest) -> bool:
    """Any `Upgrade` header counts: Docker looks for its presence only."""
    return "Upgrade" in request.headers


async def hijack(request: web.BaseRequest, head: bytes, serve: Serve, *, mux: bool) -> Taken:
    """Send `head`, then let `serve` have the connection until it returns. Raises BodyTooLarge."""
    connection = connection_of(request)
    if connection is None:
        raise ConnectionResetError("the client has gone")
    if not request.content.is_eof():
        raise BodyTooLarge
    early = connection.take()
    if connection.transport.get_extra_info("sslcontext") is None:
        await _serve_socket(connection.detach(), head, early, serve, mux=mux)
    else:
        await _serve_relayed(connection, head, early, serve, mux=mux)
    return Taken()


async def _serve_socket(
    sock: socket.socket, head: bytes, early: bytes, serve: Serve, *, mux: bool
) -> None:
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(sock, head)
        await _serve(sock, early, serve, mux=mux)
    except ConnectionError:
        pass  # The client has gone: nobody is left to tell.
    finally:
        sock.close()


async def _serve(sock: socket.socket, early: bytes, serve: Serve, *, mux: bool) -> None:
    """After the header block, an error can only be text in the stream."""
    try:
        await serve(sock, early)
    except ConnectionError:
        raise
    except Exception as error:
        if not isinstance(error, PierError):
            _log.exception("serving a connection failed")
        text = streams.error_text(in_words(error), mux=mux)
        await asyncio.get_running_loop().sock_sendall(sock, text)


async def _serve_relayed(
    connection: Connection, head: bytes, early: bytes, serve: Serve, *, mux: bool
) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        connection.transport.write(head)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_from_client(connection, writer))
            tasks.create_task(_to_client(reader, connection))
            try:
                await _serve(theirs, early, serve, mux=mux)
            except ConnectionError:
                pass
            finally:
                theirs.close()
    finally:
        writer.close()
        connection.sink = None
        connection.transport.close()


async def _from_client(connection: Connection, writer: asyncio.StreamWriter) -> None:
    """Copy what the client sends; its end becomes the pair's half-close."""
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    def receive(data: bytes) -> None:
        arrived.put_nowait(data)
        if not connection.transport.is_closing():
            connection.transport.pause_reading()

    connection.sink = receive
    connection.transport.resume_reading()
    try:
        while data := await arrived.get():
            writer.write(data)
            await writer.drain()
            if not connection.transport.is_closing():
                connection.transport.resume_reading()
        writer.write_eof()
    except ConnectionError:
        pass  # The container's side has closed: what the client still sends goes nowhere.


async def _to_client(reader: asyncio.StreamReader, connection: Connection) -> None:
    while data := await reader.read(_CHUNK):
        await connection.writable.wait()
        if connection.transport.is_closing():
            return
        connection.transport.write(data)
    connection.transport.close()
