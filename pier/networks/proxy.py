"""TCP from [::] of the host to a container that has IPv4 only, byte by byte.

The firewall cannot translate between the families, and `localhost` is ::1 first. A connection is
passed on from the namespace of the host, so the container sees the bridge's address.
"""

import asyncio
import contextlib
import socket

_CHUNK = 64 * 1024
_CONNECT_S = 30.0


async def serve(listening: socket.socket, address: str, port: int) -> asyncio.Server:
    """Pass on what `listening` accepts to `address`:`port`, until the server is closed."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
