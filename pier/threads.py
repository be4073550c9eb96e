"""Blocking work in threads, whose end is waited for whatever happens to the one who asked.

Such a thread uses a descriptor, a directory or a kernel object that the caller is about to close,
remove or use again; `asyncio.to_thread` lets go of it when the caller is cancelled.

There are few shared threads (the loop's executor), for short work on the daemon's own files. Work
that a client, a container or a foreign file system can hold up for ever gets threads of its own,
in a `Bulkhead`: as many as may be, and the next is refused at once (docs/adr/0720).
"""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from pier.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")


async def blocking(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Run `work` in a thread and wait for its end, even when cancelled meanwhile."""
    loop = asyncio.get_running_loop()
    return await settled(loop.run_in_executor(None, partial(work, *arguments, **named)))


async def settled(future: "asyncio.Future[T]") -> T:
    """The result of a thread's work; like `blocking` for one that was started before."""
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await ended(future)
        raise


async def ended(future: "asyncio.Future[T]") -> None:
    """Wait for a thread's end, and take note of its error: another one is on its way."""
    await asyncio.wait({future})
    if not future.cancelled():
        future.exception()


class TooManyUnderWay(Unavailable):
    """What it is refused for is not this request's fault, and passes."""

    def __init__(self, kind: str, most: int, whose: str) -> None:
        super().__init__(
            f"{most} {kind}{whose} are under way, as many as may be: wait until one ends, or end "
            "one that does not move"
        )


class Bulkhead:
    """Threads for one kind of work, each begun for one piece of it and ended with it.

    kind: in the plural, for the error. most: at once. of_one: those of one owner (a container,
    a volume). For the event loop's thread only. Daemon threads: one that never ends does not
    keep the process.
    """

    def __init__(self, kind: str, *, most: int, of_one: int = 0) -> None:
        self._kind = kind
        self._most = most
        self._of_one = of_one or most
        self._owners: Counter[str] = Counter()

    async def run(self, work: Callable[[], T], *, owner: str = "") -> T:
        """As `blocking`. Raises TooManyUnderWay."""
        return await settled(self.start(work, owner=owner))

    def start(self, work: Callable[[], T], *, owner: str = "") -> "asyncio.Future[T]":
        """Begin `work`; its outcome is the future's. Raises TooManyUnderWay."""
        self._enter(owner)
        loop = asyncio.get_running_loop()
        outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
        outcome.set_running_or_notify_cancel()

        def carry_out() -> None:
            try:
                result = work()
            except BaseException as error:
                outcome.set_exception(error)
            else:
                outcome.set_result(result)
            finally:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody counts
                    loop.call_soon_threadsafe(self._leave, owner)

        try:
            threading.Thread(target=carry_out, name=self._kind, daemon=True).start()
        except BaseException:
            self._leave(owner)
            raise
        return asyncio.wrap_future(outcome)

    def _enter(self, owner: str) -> None:
        if self._owners[owner] >= self._of_one:
            raise TooManyUnderWay(self._kind, self._of_one, f" of {owner}" if owner else "")
        if self._owners.total() >= self._most:
            raise TooManyUnderWay(self._kind, self._most, "")
        self._owners[owner] += 1

    def _leave(self, owner: str) -> None:
        self._owners[owner] -= 1
        if not self._owners[owner]:
            del self._owners[owner]
