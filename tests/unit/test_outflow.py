"""Bytes from a thread to the event loop."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from pier.containers.outflow import ReaderGone, written_by
from pier.threads import Bulkhead

THREADS = Bulkhead("tests", most=2)
Write = Callable[[bytes], object]


def test_everything_arrives_in_order() -> None:
    def work(write: Write) -> None:
        for number in range(50_000):
            write(b"%06d," % number * 20)

    async def life() -> bytes:
        return b"".join([chunk async for chunk in written_by(work, THREADS)])

    assert asyncio.run(life()) == b"".join(b"%06d," % n * 20 for n in range(50_000))


def test_an_error_comes_after_what_was_written() -> None:
    def work(write: Write) -> None:
        write(b"x" * 300_000)
        raise ValueError("broken")

    seen = []

    async def life() -> None:
        async for chunk in written_by(work, THREADS):
            seen.append(chunk)

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(life())
    assert b"".join(seen) == b"x" * 300_000


def test_what_a_stalled_reader_costs_is_bounded() -> None:
    """However large the pieces are."""
    written: list[int] = []

    def work(write: Write) -> None:
        for _ in range(100):
            written.append(len(written))
            write(bytes(1_000_000))

    async def life() -> None:
        chunks = written_by(work, THREADS)
        await anext(chunks)
        await asyncio.sleep(0.2)  # to be wrong in
        assert len(written) <= 3
        await chunks.aclose()

    asyncio.run(life())


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
        chunks = written_by(work, THREADS)
        await anext(chunks)
        await chunks.aclose()

    asyncio.run(life())
    assert gone.is_set()
