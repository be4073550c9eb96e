"""pier.events: observers hear what happened, and cannot hold the daemon up."""

import asyncio

from pier.events import BACKLOG, HISTORY, Event, Events


def test_an_observer_hears_what_happens_after_it_came() -> None:
    async def watch() -> list[Event]:
        events = Events(clock_ns=lambda: 7)
        events.publish("container", "create", "a")
        subscription = events.subscribe()
        events.publish("container", "start", "a", {"name": "web"})
        subscription.close()
        return [event async for event in subscription]

    heard = asyncio.run(watch())
    assert [(e.action, e.time_ns, e.attributes) for e in heard] == [("start", 7, {"name": "web"})]


def test_only_the_newest_are_remembered() -> None:
    events = Events()
    for number in range(HISTORY + 3):
        events.publish("container", "start", str(number))
    assert events.history()[0].id == "3"
    assert len(events.history()) == HISTORY


def test_an_observer_that_does_not_listen_is_dropped() -> None:
    async def neglect() -> int:
        events = Events()
        events.subscribe()
        for _ in range(BACKLOG + 1):
            events.publish("container", "start", "a")
        return events.listeners

    assert asyncio.run(neglect()) == 0
