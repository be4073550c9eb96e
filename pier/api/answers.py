"""Answers: JSON as Docker writes it, empty ones, and streams that begin before they end.

JSON has no HTML escapes (msgspec never makes any) and ends with a newline; its Content-Type is
exactly "application/json", because clients compare the string.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from aiohttp import web

from pier.api.hijack import connection_of
from pier.api.schema.encode import encode as encode

JSON = "application/json"


def json(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=encode(value) + b"\n",
        status=status,
        headers={"Content-Type": JSON, **(headers or {})},
    )


def empty(status: int = 204, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, headers=headers)


async def open_stream(
    request: web.Request, content_type: str, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Begin an answer of unknown length: status and headers are on their way when this returns."""
    response = web.StreamResponse(headers={"Content-Type": content_type, **(headers or {})})
    if connection := connection_of(request):
        connection.answering = True
    await response.prepare(request)
    return response


async def send_bytes(
    request: web.Request,
    content_type: str,
    chunks: AsyncIterator[bytes],
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Stream `chunks`. The caller has made sure that they begin well."""
    async with while_connected(request):
        response = await open_stream(request, content_type, headers)
        async with closing(chunks):
            async for chunk in chunks:
                if chunk:
                    await response.write(chunk)
        await response.write_eof()
    return response


@contextlib.asynccontextmanager
async def closing(source: AsyncIterator[object]) -> AsyncIterator[None]:
    """End a generator with the block, so that what it holds is freed now and not some day."""
    try:
        yield
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()


@contextlib.asynccontextmanager
async def while_connected(request: web.Request) -> AsyncIterator[None]:
    """Stop the block when the client goes away; a ConnectionResetError says so.

    Only for what is of no use without a reader: logs, events, pulls. A stop or a remove goes on.
    """
    connection, task = connection_of(request), asyncio.current_task()
    if connection is None or task is None:
        yield
        return
    lost = False

    def stop() -> None:
        nonlocal lost
        lost = True
        task.cancel()

    connection.when_lost(stop)
    try:
        yield
    except asyncio.CancelledError:
        if lost and task.uncancel() == 0:
            raise ConnectionResetError("the client has gone") from None
        raise
    finally:
        connection.forget(stop)
