"""The daemon itself: ping, version, info, disk usage."""

from collections import Counter

from aiohttp import web

from pier.api import answers
from pier.api.call import Call, settled
from pier.api.dispatch import Route
from pier.api.schema.system import Counts, info_json, version_json
from pier.api.schema.words import rfc3339
from pier.api.usage import usage_report
from pier.api.versions import FLOOR_VERSION, parse_version
from pier.containers.state import State
from pier.errors import InvalidArgument

PING_HEADERS = {
    "Content-Type": "text/plain; charset=utf-8",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Builder-Version": "1",
    "Swarm": "inactive",
}
_KINDS = ("container", "image", "volume", "build-cache")


async def ping(call: Call) -> web.StreamResponse:
    if call.request.method == "HEAD":
        return web.Response(headers=PING_HEADERS | {"Content-Length": "0"})
    return web.Response(body=b"OK", headers=PING_HEADERS)


async def version(call: Call) -> web.StreamResponse:
    text = getattr(getattr(call.engine, "settings", None), "min_api_version", "")
    minimum = parse_version(text) if text else FLOOR_VERSION
    return answers.json(version_json(await settled(call.engine.facts()), minimum))


async def info(call: Call) -> web.StreamResponse:
    counts = counted(
        Counter(container.state for container in call.engine.containers.list_()),
        images=len(await settled(call.engine.images.list_())),
        listeners=call.engine.events.listeners,
    )
    facts = await settled(call.engine.facts())
    return answers.json(info_json(facts, counts, rfc3339(call.now_ns), call.version))


def counted(states: Counter[State], *, images: int, listeners: int) -> Counts:
    running = states[State.RUNNING] + states[State.RESTARTING]
    return Counts(
        running=running,
        paused=states[State.PAUSED],
        stopped=states.total() - running - states[State.PAUSED],
        images=images,
        listeners=listeners,
    )


async def disk_usage(call: Call) -> web.StreamResponse:
    kinds = call.texts("type") if call.version.at_least(42) else ()
    for kind in kinds:
        if kind not in _KINDS:
            raise InvalidArgument(f"unknown object type: {kind}")
    return answers.json(await usage_report(call, kinds or _KINDS))


ROUTES = (
    Route("GET", "/_ping", ping),
    Route("HEAD", "/_ping", ping),
    Route("GET", "/version", version),
    Route("GET", "/info", info),
    Route("GET", "/system/df", disk_usage),
)
