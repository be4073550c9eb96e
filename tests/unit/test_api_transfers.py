"""Who moves nothing is cut off: half a request, an upload that stops, a download nobody reads."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from pier.api import call, connection, transfers
from pier.api.call import Call
from pier.api.dispatch import ENGINE, HIJACKED, Dispatcher, Route, Table
from pier.api.listen import Endpoint, Listener
from pier.api.versions import FLOOR_VERSION

QUICK_S = 0.2


async def upload(call: Call) -> web.StreamResponse:
    size = sum([len(chunk) async for chunk in transfers.body_chunks(call)])
    return web.Response(text=str(size))


async def download(call: Call) -> web.StreamResponse:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(256 * 1024)

    return await transfers.send_archive(call.request, transfers.TAR, endless())


async def document(call: Call) -> web.StreamResponse:
    return web.json_response(await call.optional_body(dict))


ROUTES = (
    Route("POST", "/upload", upload),
    Route("GET", "/download", download),
    Route("POST", "/document", document),
)


@contextlib.asynccontextmanager
async def serving(path: Path) -> AsyncIterator[None]:
    app = web.Application()
    app[ENGINE], app[HIJACKED] = None, set()
    app.router.add_route("*", "/{path:.*}", Dispatcher(Table(ROUTES), FLOOR_VERSION).handle)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    listener = Listener(app)
    await listener.open([Endpoint(sock)])
    try:
        yield
    finally:
        await listener.close()


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def served(tmp_path: Path, talk: Talk) -> None:
    async def life() -> None:
        async with serving(tmp_path / "s"), asyncio.timeout(20):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
            try:
                await talk(reader, writer)
            finally:
                writer.close()

    asyncio.run(life())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", QUICK_S)
    monkeypatch.setattr(call, "BODY_S", QUICK_S)
    monkeypatch.setattr(transfers, "IDLE_S", QUICK_S)


def test_half_a_request_is_hung_up_on(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /download HTTP/1.1\r\nHost:")
        assert await reader.read() == b""

    served(tmp_path, talk)


def test_an_upload_that_stops_is_given_up_with_a_reason(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST /upload HTTP/1.1\r\nHost: d\r\nContent-Length: 100\r\n\r\nbegin")
        await reader.readuntil(b"the client sent nothing for")

    served(tmp_path, talk)


def test_an_upload_that_is_slow_is_not(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST /upload HTTP/1.1\r\nHost: d\r\nContent-Length: 6\r\n\r\n")
        for _ in range(6):
            await asyncio.sleep(QUICK_S / 3)
            writer.write(b"x")
        assert (await reader.readuntil(b"\r\n\r\n6")).startswith(b"HTTP/1.1 200")

    served(tmp_path, talk)


def test_a_download_that_nobody_reads_is_hung_up_on(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /download HTTP/1.1\r\nHost: d\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of a socket
        await asyncio.sleep(3 * QUICK_S)
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        with contextlib.suppress(ConnectionError):
            await reader.read()  # it ends

    served(tmp_path, talk)


def test_half_a_document_is_given_up(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST /document HTTP/1.1\r\nHost: d\r\nContent-Length: 9\r\n\r\n{")
        await reader.readuntil(b"body was not there after")

    served(tmp_path, talk)
