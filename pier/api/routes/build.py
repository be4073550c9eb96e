"""`POST /build`, the classic builder, and its cache."""

from aiohttp import web

from pier.api import answers
from pier.api.build_request import build_request
from pier.api.build_stream import Manner, build_stream, check_stream
from pier.api.call import Call
from pier.api.dispatch import Route
from pier.api.progress import send_progress
from pier.api.routes.archive import body_chunks
from pier.api.schema.prune import prune_until
from pier.build.cache_store import PruneRequest
from pier.errors import InvalidArgument, NotSupported

_CACHE_FILTERS = (
    "id", "parent", "type", "description", "inuse", "shared", "private", "until", "unused-for",
)  # fmt: skip


async def build(call: Call) -> web.StreamResponse:
    """The context is read while the answer is written."""
    if call.text("version") == "2":
        raise NotSupported("BuildKit is not supported by Pier; set DOCKER_BUILDKIT=0")
    manner = Manner(
        quiet=call.flag("q"),
        explain=call.flag("explain"),
        lines=call.flag("lines"),
        events=call.flag("events"),
    )
    builder = call.part("builder", "docker build")
    if call.flag("check"):
        steps = check_stream(builder, build_request(call), body_chunks(call))
    else:
        steps = build_stream(builder, build_request(call), body_chunks(call), manner)
    return await send_progress(call.request, steps)


async def prune(call: Call) -> web.StreamResponse:
    filters = call.filters(_CACHE_FILTERS)
    builder = getattr(call.engine, "builder", None)
    if builder is None:
        return answers.json({"CachesDeleted": None, "SpaceReclaimed": 0})
    keep_bytes = call.optional_number("reserved-space") or call.optional_number("keep-storage")
    request = PruneRequest(
        everything=call.flag("all"),
        before_ns=prune_until(filters, call.now_ns),
        keep_bytes=keep_bytes,
        keys=frozenset(filters.get("id")),
    )
    pruned = await builder.prune(request)
    answer = {"CachesDeleted": list(pruned.keys), "SpaceReclaimed": pruned.bytes_reclaimed}
    return answers.json(answer)


async def cancel(call: Call) -> web.StreamResponse:
    """Only BuildKit's builds have an ID; there is never one to cancel."""
    if not call.text("id"):
        raise InvalidArgument("build ID not provided")
    return answers.empty()


ROUTES = (
    Route("POST", "/build", build),
    Route("POST", "/build/prune", prune),
    Route("POST", "/build/cancel", cancel),
)
