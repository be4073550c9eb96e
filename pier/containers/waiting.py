"""Who waits for a container to end: `docker wait`, `docker run`, stop and kill.

A waiter is registered before anything is awaited, so that an exit between "are you running?" and
"then I wait" cannot be missed. A future is resolved, never a callback called: settling an exit
does not depend on who watches.
"""

import asyncio
import enum
from collections.abc import Callable

from pier.containers.requests import WaitResult
from pier.errors import InvalidArgument


class Condition(enum.Enum):
    """Docker's `wait?condition=`."""

    NOT_RUNNING = "not-running"
    NEXT_EXIT = "next-exit"
    REMOVED = "removed"


class InvalidCondition(InvalidArgument):
    def __init__(self, text: str) -> None:
        super().__init__(f'invalid condition: "{text}"')


def parse_condition(text: str) -> Condition:
    """Empty means not-running. Raises InvalidCondition."""
    try:
        return Condition(text or Condition.NOT_RUNNING.value)
    except ValueError:
        raise InvalidCondition(text) from None


class Waiter:
    """One wait in progress."""

    def __init__(self, condition: Condition, close: Callable[["Waiter"], None]) -> None:
        self.condition = condition
        self._future: asyncio.Future[WaitResult] = asyncio.get_running_loop().create_future()
        self._close = close

    async def result(self) -> WaitResult:
        return await asyncio.shield(self._future)

    def resolve(self, result: WaitResult) -> None:
        if not self._future.done():
            self._future.set_result(result)
        self.close()

    def close(self) -> None:
        """Nobody waits any more."""
        self._close(self)


class Waiters:
    """All who wait for one container."""

    def __init__(self) -> None:
        self._waiters: set[Waiter] = set()

    def add(self, condition: Condition) -> Waiter:
        waiter = Waiter(condition, self._waiters.discard)
        self._waiters.add(waiter)
        return waiter

    def exited(self, result: WaitResult) -> None:
        """The process ended, whether or not it is started again."""
        for waiter in tuple(self._waiters):
            if waiter.condition is not Condition.REMOVED:
                waiter.resolve(result)

    def removed(self, result: WaitResult) -> None:
        for waiter in tuple(self._waiters):
            waiter.resolve(result)


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for `event`, for so long; whether it was set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
