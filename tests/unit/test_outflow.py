"""Bytes from a thread to the event loop."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from pier.containers.outflow import ReaderGone, written_by

Write = Callable[[bytes], object]


def test_everything_arrives_in_order() -> None:
    def work(write: Write) -> None:
        for number in range(50_000):
            write(b"%06d," % number * 20)

    async def life() -> bytes:
        return b"".join([chunk async for chunk in written_by(work)])

    assert asyncio.run(life()) == b"".join(b"%06d," % n * 20 for n in range(50_000))


def test_an_error_comes_after_what_was_written() -> None:
    def work(write: Write) -> None:
        write(b"x" * 300_000)
        raise ValueError("broken")

    seen = []

    async def life() -> None:
        async for chunk in written_by(work):
            seen.append(chunk)

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(life())
    assert b"".join(seen) == b"x" * 300_000


def test_a_reader_that_leaves_ends_the_thread() -> None:
    gone = threading.Event()

    def work(write: Write) -> None:
        try:
            while True:
                write(b"x" * 100_000)
        except ReaderGone:
            gone.set()
            raise

    async def life() -> None:
        chunks = written_by(work)
        await anext(chunks)
        await chunks.aclose()

    asyncio.run(life())
    assert gone.is_set()
