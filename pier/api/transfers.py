"""Archives on their way in and out: a body as it comes, an answer as it is made.

Who moves nothing for `IDLE_S` is cut off, so that what a transfer holds (a thread, a stopped
container's lock, a lease) is not held by a client that was forgotten. Streams that may well be
silent (logs, events, attach, exec, the progress of a build) are not transfers.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from pier.api import answers
from pier.api.call import Call
from pier.api.hijack import connection_of
from pier.errors import Failed

TAR = "application/x-tar"
IDLE_S = 600.0
_CHUNK = 256 * 1024


class NothingSent(Failed):
    def __init__(self) -> None:
        super().__init__(f"the client sent nothing for {IDLE_S:.0f} seconds: given up")


async def body_chunks(call: Call) -> AsyncIterator[bytes]:
    """The request's body as it comes; it may be endless. Raises NothingSent."""
    content = call.request.content
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                chunk = await content.read(_CHUNK)
        except TimeoutError:
            raise NothingSent from None
        if not chunk:
            return
        yield chunk


async def send_archive(
    request: web.Request,
    content_type: str,
    chunks: AsyncIterator[bytes],
    headers: dict[str, str] | None = None,
) -> web.StreamResponse:
    """Stream `chunks`. An error before the first is raised while it can still be a status."""
    async with answers.while_connected(request), answers.closing(chunks):
        chunk = await anext(chunks, None)
        response = await answers.open_stream(request, content_type, headers)
        while chunk is not None:  # an empty one is no end: padding may be nothing
            async with reading(request):
                await response.write(chunk)
            chunk = await anext(chunks, None)
        await response.write_eof()
    return response


@asynccontextmanager
async def reading(request: web.Request) -> AsyncIterator[None]:
    """Hang up, and raise ConnectionResetError, if the client takes nothing for too long."""
    try:
        async with asyncio.timeout(IDLE_S):
            yield
    except TimeoutError:
        if connection := connection_of(request):
            connection.transport.abort()
        raise ConnectionResetError("the client reads nothing") from None
