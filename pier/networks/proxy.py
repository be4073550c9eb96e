"""TCP from [::] of the host to a container that has IPv4 only, byte by byte.

The firewall cannot translate between the families, and `localhost` is ::1 first. A connection is
passed on from the namespace of the host, so the container sees the bridge's address. Whoever
reaches the host may connect, and each connection takes two descriptors of the daemon: so there
are never more than some.
"""

import asyncio
import contextlib
import resource
import socket

_CHUNK = 64 * 1024
_CONNECT_S = 30.0
_OF_ONE_PORT = 512
_OF_ALL = 2048
_SHARE = 8
"""Of the daemon's descriptors, one in so many may be taken by connections."""


class _Open:
    """Connections that are passed on now, of all ports."""

    count = 0

    @classmethod
    def full(cls) -> bool:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return cls.count >= min(_OF_ALL, limit // _SHARE)


async def serve(listening: socket.socket, address: str, port: int) -> asyncio.Server:
    """Pass on what `listening` accepts to `address`:`port`, until the server is closed."""
    present: set[asyncio.StreamWriter] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(present) >= _OF_ONE_PORT or _Open.full():
            writer.transport.abort()
            return
        present.add(writer)
        _Open.count += 1
        try:
            await pass_on(reader, writer)
        finally:
            present.discard(writer)
            _Open.count -= 1

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_CONNECT_S):
                there = await asyncio.open_connection(address, port)
        except (OSError, TimeoutError):
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass(reader, there[1]))
                both.create_task(_pass(there[0], writer))
        except* OSError:
            pass  # one side is gone; so is, below, the other
        finally:
            there[1].transport.abort()
            writer.transport.abort()

    return await asyncio.start_server(converse, sock=listening, limit=_CHUNK)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side has said everything; then tell the other so."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
    await writer.drain()
