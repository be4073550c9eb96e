"""What the tests of the API's routes are given: a server and its client."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.unit.api_client import Client, Run, connected


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def running(test: Callable[[Client], Awaitable[None]]) -> None:
        async def main() -> None:
            async with connected(tmp_path) as client:
                await test(client)

        asyncio.run(main())

    return running
