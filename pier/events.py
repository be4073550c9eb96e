"""What happened, told to whoever watches: `docker events`, the restart of a health check.

Events are for observers only; nothing in Pier depends on having heard one. The newest
`HISTORY` are kept in memory, for `since`; Docker keeps as many.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

HISTORY = 256
BACKLOG = 4096
"""Events an observer may be behind before it is dropped: it must not hold the daemon's memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """kind: container, image, network, volume, builder or daemon. `id` is the actor's."""

    kind: str
    action: str
    id: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    time_ns: int = 0


class Subscription:
    """One observer: iterate over it. Ends when it is closed or fell too far behind."""

    def __init__(self, close: Callable[["Subscription"], None]) -> None:
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(BACKLOG)
        self._close = close

    def put(self, event: Event) -> None:
        if self._queue.full():
            self.close()
        else:
            self._queue.put_nowait(event)

    def close(self) -> None:
        self._close(self)
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[Event]:
        while (event := await self._queue.get()) is not None:
            yield event


class Events:
    """Publishes without waiting; remembers the newest."""

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._history: deque[Event] = deque(maxlen=HISTORY)
        self._subscriptions: set[Subscription] = set()

    def publish(
        self, kind: str, action: str, id_: str, attributes: Mapping[str, str] | None = None
    ) -> None:
        event = Event(
            kind=kind,
            action=action,
            id=id_,
            attributes=dict(attributes or {}),
            time_ns=self._clock_ns(),
        )
        self._history.append(event)
        for subscription in tuple(self._subscriptions):
            subscription.put(event)

    def history(self) -> Sequence[Event]:
        """What is remembered, oldest first."""
        return tuple(self._history)

    def subscribe(self) -> Subscription:
        """Everything from now on. The caller closes it."""
        subscription = Subscription(self._subscriptions.discard)
        self._subscriptions.add(subscription)
        return subscription

    @property
    def listeners(self) -> int:
        return len(self._subscriptions)
