"""Threads of their own for what may never end: as many as may be, and the next refused at once."""

import asyncio
import threading
import time

import pytest

from pier.threads import Bulkhead, TooManyUnderWay


async def until_free(bulkhead: Bulkhead, owner: str = "") -> None:
    """A place is free again a moment after its work has ended."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            return await bulkhead.run(lambda: None, owner=owner)
        except TooManyUnderWay:
            await asyncio.sleep(0.01)
    raise AssertionError("no place is free")


def test_the_one_too_many_is_refused_at_once_and_the_next_is_not() -> None:
    async def life() -> None:
        bulkhead, go = Bulkhead("copies", most=2), threading.Event()
        begun = [bulkhead.start(go.wait) for _ in range(2)]
        with pytest.raises(TooManyUnderWay, match="2 copies are under way"):
            await bulkhead.run(lambda: None)
        go.set()
        await asyncio.gather(*begun)
        await until_free(bulkhead)

    asyncio.run(life())


def test_one_owner_cannot_take_every_place() -> None:
    async def life() -> None:
        bulkhead, go = Bulkhead("copies", most=4, of_one=1), threading.Event()
        begun = bulkhead.start(go.wait, owner="a")
        with pytest.raises(TooManyUnderWay, match="1 copies of a are"):
            await bulkhead.run(lambda: None, owner="a")
        assert await bulkhead.run(lambda: 7, owner="b") == 7
        go.set()
        await begun
        await until_free(bulkhead, "a")

    asyncio.run(life())


def test_an_error_is_the_callers_and_frees_the_place() -> None:
    def work() -> None:
        raise ValueError("broken")

    async def life() -> None:
        bulkhead = Bulkhead("copies", most=1)
        with pytest.raises(ValueError, match="broken"):
            await bulkhead.run(work)
        await until_free(bulkhead)

    asyncio.run(life())


def test_work_whose_caller_was_cancelled_keeps_its_place_until_it_ends() -> None:
    async def life() -> None:
        bulkhead, go = Bulkhead("copies", most=1), threading.Event()
        async with asyncio.TaskGroup() as group:
            caller = group.create_task(bulkhead.run(go.wait))
            await asyncio.sleep(0)
            caller.cancel()
            await asyncio.sleep(0)
            with pytest.raises(TooManyUnderWay):
                await bulkhead.run(lambda: None)
            go.set()
        await until_free(bulkhead)

    asyncio.run(life())
