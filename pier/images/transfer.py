"""What pull and push share: steps of progress, work done once for many, chunks into a thread.

Progress is what Docker's clients draw: a status, the short ID of a layer, bytes done and in all.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator, Mapping
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import TypeVar, cast

from pier.errors import Failed, PierError
from pier.images.room import disk_errors

T = TypeVar("T")
SHORT = 12
_INTERVAL_S = 0.1
_BACKLOG = 1000
_UNTAKEN = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One message of a pull or push. Field for field what the API streams."""

    stream: str = ""
    status: str = ""
    id: str = ""
    current: int = 0
    total: int = 0
    error: str = ""
    error_code: int = 0
    aux: Mapping[str, object] | None = None


Report = Callable[[Step], None]


def retrying(report: Report, id_: str) -> Callable[[int], None]:
    """Tell of a pause before another attempt, in Docker's words."""

    def waiting(seconds: int) -> None:
        report(Step(status=f"Retrying in {seconds} second{'s' * (seconds != 1)}", id=id_))

    return waiting


class _Behind:
    """Whether who watches has much to take yet."""

    def __init__(self) -> None:
        self.caught_up = asyncio.Event()
        self.caught_up.set()

    def note(self, steps: int) -> None:
        if steps >= _UNTAKEN:
            self.caught_up.clear()
        elif steps <= _UNTAKEN // 2:
            self.caught_up.set()


_behind: ContextVar[_Behind | None] = ContextVar("_behind", default=None)


async def taken() -> None:
    """Wait while who watches the work `reported` runs is behind.

    For work that may report without end: the output of a RUN is held back by a client that does
    not read, as in Docker, and not kept for it.
    """
    if behind := _behind.get():
        await behind.caught_up.wait()


async def reported(work: Callable[[Report], Awaitable[None]]) -> AsyncIterator[Step]:
    """The steps `work` reports, as they come; then its error, if any.

    Closing the iterator cancels the work and waits until it has cleaned up. No TaskGroup: one
    cannot be left by way of a `yield`.
    """
    steps: asyncio.Queue[Step | None] = asyncio.Queue()
    behind = _Behind()

    def report(step: Step) -> None:
        if not step.total or steps.qsize() < _BACKLOG:
            steps.put_nowait(step)
            behind.note(steps.qsize())

    async def run() -> None:
        try:
            with disk_errors():
                await _ungrouped(work(report))
        finally:
            steps.put_nowait(None)

    context = copy_context()
    context.run(_behind.set, behind)
    task = asyncio.get_running_loop().create_task(run(), context=context)
    try:
        while (step := await steps.get()) is not None:
            behind.note(steps.qsize())
            yield step
        await task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _ungrouped(work: Awaitable[None]) -> None:
    try:
        await work
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to tell the client of several that happened at once."""
    known = group.subgroup(PierError)
    errors: BaseExceptionGroup[BaseException] = known or group
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


class Meter:
    """Reports bytes done of one layer, not more often than a terminal can show."""

    def __init__(self, report: Report, status: str, layer: str, total: int) -> None:
        self._report = report
        self._status = status
        self._layer = layer
        self._total = total
        self._told_s = 0.0

    def __call__(self, done: int) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s < _INTERVAL_S:
            return
        self._told_s = now_s
        self._report(Step(status=self._status, id=self._layer, current=done, total=self._total))

    def waiting(self, seconds: int) -> None:
        """See `retrying`."""
        retrying(self._report, self._layer)(seconds)


@dataclass(slots=True, eq=False)
class _Running:
    outcome: asyncio.Future[object]
    watchers: list[Report] = field(default_factory=list)


class Abandoned(Failed):
    """Who did the work was cancelled: somebody else has to."""

    def __init__(self) -> None:
        super().__init__("the transfer was cancelled")


class Transfers:
    """Work that several want at once is done by the first; the others watch and share the result.

    When the first is cancelled (its client went away), one of the others takes over, and what
    can be resumed is. So there are no background tasks that nobody waits for.
    """

    def __init__(self) -> None:
        self._running: dict[Hashable, _Running] = {}

    async def once(
        self, key: Hashable, work: Callable[[Report], Awaitable[T]], report: Report
    ) -> T:
        """The result, or the error, of `work` for `key`, by whoever does it."""
        while True:
            running = self._running.get(key)
            if running is None:
                return await self._lead(key, work, report)
            running.watchers.append(report)
            try:
                # Whoever uses a key uses it for one kind of work, and so of result.
                return cast("T", await asyncio.shield(running.outcome))
            except Abandoned:
                continue
            finally:
                running.watchers.remove(report)

    async def _lead(
        self, key: Hashable, work: Callable[[Report], Awaitable[T]], report: Report
    ) -> T:
        running = _Running(asyncio.get_running_loop().create_future(), [report])
        self._running[key] = running

        def tell_all(step: Step) -> None:
            for watcher in tuple(running.watchers):
                watcher(step)

        failure: BaseException = Abandoned()
        try:
            result = await work(tell_all)
            running.outcome.set_result(result)
        except Exception as error:
            failure = error
            raise
        else:
            return result
        finally:
            del self._running[key]
            if not running.outcome.done():
                running.outcome.set_exception(failure)
                running.outcome.exception()  # marks it as seen: there may be no others


class Pipe:
    """Chunks from one thread to another, a few at a time; either end may give up.

    The writer calls `put` and `end`, or `break_off`; the reader iterates and calls `close`.
    """

    def __init__(self, depth: int = 2) -> None:
        self._depth = depth
        self._chunks: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._closed = False
        self._failure: Exception | None = None

    def put(self, chunk: bytes) -> None:
        """Wait for room; a chunk that nobody will read any more is dropped."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._chunks) < self._depth or self._closed or self._failure
            )
            if not self._closed:
                self._chunks.append(chunk)
            self._changed.notify_all()

    def end(self) -> None:
        """There is no more to come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def break_off(self, failure: Exception) -> None:
        """Raise `failure` in the reader, and let a waiting writer go."""
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def close(self) -> None:
        """The reader will not read on."""
        with self._changed:
            self._closed = True
            self._chunks.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._chunks or self._ended or self._failure)
                if self._failure:
                    raise self._failure
                if not self._chunks:
                    return
                chunk = self._chunks.popleft()
                self._changed.notify_all()
            yield chunk
