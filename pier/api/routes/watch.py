"""What is watched as it happens: logs, stats, events."""

import asyncio
import json
from collections.abc import AsyncIterator

from aiohttp import web

from pier.api import answers, streams
from pier.api.call import Call
from pier.api.dispatch import Route
from pier.api.events import event_json, wanted
from pier.api.schema.filters import Filters
from pier.api.schema.stats import StatsJson, stats_json
from pier.api.schema.words import SECOND_NS, InvalidTime, parse_moment
from pier.containers.model import Container
from pier.containers.requests import LogChunk, LogQuery, Stats
from pier.errors import InvalidArgument, NotFound, PierError
from pier.events import Event

_SAMPLE_S = 1.0
_JSON_SEQ, _NDJSON, _JSONL = "application/json-seq", "application/x-ndjson", "application/jsonl"


class NoStreamChosen(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("Bad parameters: you must choose at least one stream")


class NoTimestamp(InvalidArgument):
    def __init__(self, text: str) -> None:
        super().__init__(f"strconv.ParseInt: parsing {json.dumps(text)}: invalid syntax")


class SinceAfterUntil(InvalidArgument):
    def __init__(self, since: str, until: str) -> None:
        super().__init__(f"`since` time ({since}) cannot be after `until` time ({until})")


def _moment(call: Call, name: str) -> int:
    """Unix time in nanoseconds. Clients send seconds here; what else is a moment will do, too."""
    try:
        return parse_moment(call.text(name), call.now_ns)
    except InvalidTime:
        raise NoTimestamp(call.text(name)) from None


def log_query(call: Call) -> LogQuery:
    """Raises NoStreamChosen. A tail that is no number means everything, as in Docker."""
    if not (call.flag("stdout") or call.flag("stderr")):
        raise NoStreamChosen
    tail = call.text("tail")
    return LogQuery(
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        follow=call.flag("follow"),
        since_ns=_moment(call, "since"),
        until_ns=_moment(call, "until"),
        tail=int(tail) if tail.isdecimal() else None,
        timestamps=call.flag("timestamps"),
        details=call.flag("details"),
    )


async def logs(call: Call) -> web.StreamResponse:
    query = log_query(call)
    tty = call.engine.containers.get(call.name).spec.tty
    chunks = await call.engine.containers.logs(call.name, query)
    multiplexed = not tty and call.version.at_least(42)
    kind = streams.MULTIPLEXED if multiplexed else streams.RAW
    return await answers.send_bytes(call.request, kind, _framed(chunks, tty=tty))


async def _framed(chunks: AsyncIterator[LogChunk], *, tty: bool) -> AsyncIterator[bytes]:
    """An error on the way is told in the stream: the headers are gone."""
    try:
        async with answers.closing(chunks):
            async for chunk in chunks:
                number = streams.STREAM_NUMBERS[chunk.stream]
                yield chunk.data if tty else streams.frames(number, chunk.lines)
    except PierError as error:
        text = f"Error grabbing logs: {error}\n".encode()
        yield text if tty else streams.frame(streams.SYSTEM_ERROR, text)


async def stats(call: Call) -> web.StreamResponse:
    container = call.engine.containers.get(call.name)
    if call.flag("stream", default=True):
        return await _stream_stats(call, container)
    return answers.json(await _single_stats(call, container))


async def _single_stats(call: Call, container: Container) -> StatsJson:
    """Two samples, unless `one-shot`, so that rates can be computed."""
    first: Stats | None = await call.engine.containers.stats(container.id)
    if first is None or call.flag("one-shot"):
        return stats_json(container.id, container.name, first)
    async with answers.while_connected(call.request):
        await asyncio.sleep(_SAMPLE_S)
    second = await call.engine.containers.stats(container.id)
    return stats_json(container.id, container.name, second, first)


async def _stream_stats(call: Call, container: Container) -> web.StreamResponse:
    """One object a second, until the container is removed or the client leaves."""
    async with answers.while_connected(call.request):
        response = await answers.open_stream(call.request, answers.JSON)
        before: Stats | None = None
        while True:
            try:
                now = await call.engine.containers.stats(container.id)
            except NotFound:
                break
            sample = stats_json(container.id, container.name, now, before)
            await response.write(answers.encode(sample) + b"\n")
            before = now
            await asyncio.sleep(_SAMPLE_S)
        await response.write_eof()
    return response


def _events_type(call: Call) -> str:
    accept = call.request.headers.get("Accept", "")
    for kind in (_JSON_SEQ, _NDJSON, _JSONL):
        if kind in accept:
            return kind
    return answers.JSON


async def events(call: Call) -> web.StreamResponse:
    """Subscribed before the past is read, so nothing falls between the two."""
    filters = call.filters(None)  # Docker ignores keys it does not know, here only
    since_ns, until_ns = _moment(call, "since"), _moment(call, "until")
    if since_ns and until_ns and since_ns > until_ns:
        raise SinceAfterUntil(call.text("since"), call.text("until"))
    kind = _events_type(call)
    subscription = call.engine.events.subscribe()
    past = [event for event in call.engine.events.history() if event.time_ns >= since_ns]
    try:
        async with answers.while_connected(call.request):
            response = await answers.open_stream(call.request, kind)
            for event in past if since_ns or until_ns else ():
                if not until_ns or event.time_ns <= until_ns:
                    await _send_event(response, call, filters, event)
            await _follow(response, call, filters, subscription, until_ns)
            await response.write_eof()
    finally:
        subscription.close()
    return response


async def _follow(
    response: web.StreamResponse,
    call: Call,
    filters: Filters,
    subscription: AsyncIterator[Event],
    until_ns: int,
) -> None:
    left_s = (until_ns - call.now_ns) / SECOND_NS if until_ns else None
    if left_s is not None and left_s <= 0:
        return
    try:
        async with asyncio.timeout(left_s):
            async for event in subscription:
                await _send_event(response, call, filters, event)
    except TimeoutError:
        return


async def _send_event(
    response: web.StreamResponse, call: Call, filters: Filters, event: Event
) -> None:
    if wanted(event, filters, call.version):
        start = b"\x1e" if response.content_type == _JSON_SEQ else b""
        line = answers.encode(event_json(event))
        await response.write(start + line + b"\n")


ROUTES = (
    Route("GET", "/containers/{name}/logs", logs),
    Route("GET", "/containers/{name}/stats", stats),
    Route("GET", "/events", events),
)
