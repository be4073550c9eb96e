"""Work shared by several; steps of progress; chunks between threads."""

import asyncio
import threading

import pytest

from pier.errors import Failed
from pier.images.transfer import Pipe, Report, Step, Transfers, reported, taken
from pier.registry.credentials import ANONYMOUS, Credentials, credentials_for


def test_work_is_done_once_and_everybody_gets_result_and_steps() -> None:
    async def scenario() -> None:
        transfers = Transfers()
        begun: list[int] = []
        seen: list[list[Step]] = [[], [], []]

        async def work(tell: Report) -> int:
            begun.append(1)
            await asyncio.sleep(0.01)
            tell(Step(status="half"))
            await asyncio.sleep(0.01)
            return 42

        jobs = (transfers.once("key", work, steps.append) for steps in seen)
        assert await asyncio.gather(*jobs) == [42, 42, 42]
        assert len(begun) == 1
        assert [[step.status for step in steps] for steps in seen] == [["half"]] * 3
        assert await transfers.once("key", work, seen[0].append) == 42
        assert len(begun) == 2

    asyncio.run(scenario())


def test_an_error_is_everybody_s_and_the_next_one_tries_again() -> None:
    async def scenario() -> None:
        transfers = Transfers()

        async def work(_: Report) -> None:
            await asyncio.sleep(0.01)
            raise Failed("no")

        jobs = [transfers.once("key", work, lambda _: None) for _ in range(3)]
        results = await asyncio.gather(*jobs, return_exceptions=True)
        assert [str(result) for result in results] == ["no"] * 3

    asyncio.run(scenario())


def test_when_the_first_is_cancelled_another_takes_over() -> None:
    async def scenario() -> None:
        transfers = Transfers()
        begun: list[int] = []

        async def work(_: Report) -> int:
            begun.append(1)
            await asyncio.sleep(0.05)
            return len(begun)

        async with asyncio.TaskGroup() as group:
            first = group.create_task(transfers.once("key", work, lambda _: None))
            await asyncio.sleep(0)
            others = [
                group.create_task(transfers.once("key", work, lambda _: None)) for _ in range(3)
            ]
            await asyncio.sleep(0.01)
            first.cancel()
        assert [task.result() for task in others] == [2, 2, 2]
        assert first.cancelled()

    asyncio.run(scenario())


def test_steps_come_before_the_error_and_groups_are_opened() -> None:
    async def scenario() -> None:
        async def work(report: Report) -> None:
            report(Step(status="one"))
            raise ExceptionGroup("several", [ValueError(), Failed("the reason")])

        steps = reported(work)
        assert (await anext(steps)).status == "one"
        with pytest.raises(Failed, match="the reason"):
            await anext(steps)

    asyncio.run(scenario())


def test_leaving_the_steps_cancels_the_work_and_waits_for_its_end() -> None:
    async def scenario() -> None:
        ended = []

        async def work(report: Report) -> None:
            report(Step(status="one"))
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.01)
                ended.append(1)

        steps = reported(work)
        assert (await anext(steps)).status == "one"
        await steps.aclose()  # type: ignore[attr-defined]  # it is an async generator
        assert ended == [1]

    asyncio.run(scenario())


def test_a_pipe_is_bounded_and_either_end_may_give_up() -> None:
    pipe = Pipe(depth=2)
    chunks = [bytes([number]) for number in range(50)]

    def write() -> None:
        for chunk in chunks:
            pipe.put(chunk)
            assert len(pipe._chunks) <= 2
        pipe.end()

    writer = threading.Thread(target=write)
    writer.start()
    assert list(pipe) == chunks
    writer.join(5)
    closed = Pipe(depth=1)
    closed.close()
    for chunk in chunks:
        closed.put(chunk)
    broken = Pipe()
    broken.put(b"x")
    broken.break_off(ValueError("gone"))
    with pytest.raises(ValueError, match="gone"):
        list(broken)


class _Auth:
    def __init__(self, server: str) -> None:
        self.username, self.password, self.server = "ann", "secret", server
        self.identity_token = self.registry_token = ""


def test_credentials_for_another_registry_are_not_used() -> None:
    ann = Credentials("ann", "secret")
    assert credentials_for("r.example", _Auth("https://r.example/v2/")) == ann
    assert credentials_for("r.example", _Auth("")) == ann
    assert credentials_for("docker.io", _Auth("https://index.docker.io/v1/")) == ann
    assert credentials_for("evil.example", _Auth("r.example")) == ANONYMOUS
    assert credentials_for("r.example", None) == ANONYMOUS


def test_who_does_not_take_the_steps_holds_back_the_work_that_waits() -> None:
    reports = 0

    async def work(report: Report) -> None:
        nonlocal reports
        for reports in range(1, 10_001):  # noqa: B007 - read below
            report(Step(stream="output"))
            await taken()

    async def life() -> None:
        steps = reported(work)
        await anext(steps)
        for _ in range(1000):  # turns of the loop in which it could go on
            await asyncio.sleep(0)
        assert reports < 200
        assert sum([1 async for _ in steps]) == 9_999

    asyncio.run(life())
