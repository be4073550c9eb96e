"""A plain HTTP client of the routes, over an engine of records."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.unit.fake_engine import FakeEngine, start

URL = "http://docker"


@dataclass
class Answer:
    status: int
    headers: Any  # aiohttp's case-insensitive mapping
    body: bytes

    @property
    def json(self) -> Any:  # JSON: its shape is what the tests are about
        assert self.headers["Content-Type"] == "application/json"
        assert self.body.endswith(b"\n")
        return json.loads(self.body)


@dataclass
class Client:
    session: aiohttp.ClientSession
    engine: FakeEngine

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        options: dict[str, Any] = {"headers": headers}
        if isinstance(body, bytes):
            options["data"] = body
        elif body is not None:
            options["json"] = body
        async with self.session.request(method, URL + path, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str) -> Answer:
        return await self.ask("GET", path)


@contextlib.asynccontextmanager
async def connected(tmp_path: Path) -> AsyncIterator[Client]:
    engine, path = FakeEngine(), str(tmp_path / "s")
    listener = await start(engine, path)
    try:
        connector = aiohttp.UnixConnector(path)
        timeout = aiohttp.ClientTimeout(10)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            yield Client(session, engine)
    finally:
        await listener.close()


Run = Callable[[Callable[[Client], Awaitable[None]]], None]
