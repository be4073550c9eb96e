"""What answers `POST /build` and its like; see routes/build.py."""

from aiohttp import web

from pier.api import answers
from pier.api.build_request import build_request
from pier.api.build_stream import Manner, build_stream, check_stream
from pier.api.call import Call
from pier.api.progress import send_progress
from pier.api.schema.filters import Filters
from pier.api.schema.prune import prune_until
from pier.api.transfers import body_chunks
from pier.build.pruning import PruneRequest
from pier.errors import InvalidArgument, NotSupported, in_context

_FIELDS = (
    "id", "parent", "type", "description", "inuse", "shared", "private", "label", "label!",
)  # fmt: skip
_UNUSED_FOR = ("until", "unused-for")


class SeveralValues(InvalidArgument):
    def __init__(self, name: str) -> None:
        super().__init__(f"filters expect only one value: {name}")


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
    try:
        filters = call.filters((*_FIELDS, *_UNUSED_FOR))
    except InvalidArgument as error:
        raise in_context(error, "failed to prune build cache") from error
    builder = getattr(call.engine, "builder", None)
    if builder is None:
        return answers.json({"CachesDeleted": None, "SpaceReclaimed": 0})
    request = PruneRequest(
        everything=call.flag("all"),
        before_ns=prune_until(filters, call.now_ns, *_UNUSED_FOR),
        filters={name: _one(name, filters) for name in _FIELDS if filters.get(name)},
        reserved_bytes=call.number("reserved-space") or call.number("keep-storage"),
        max_used_bytes=call.number("max-used-space"),
        min_free_bytes=call.number("min-free-space"),
    )
    pruned = await builder.prune(request)
    answer = {"CachesDeleted": list(pruned.keys), "SpaceReclaimed": pruned.bytes_reclaimed}
    return answers.json(answer)


def _one(name: str, filters: Filters) -> str:
    values = filters.get(name)
    if len(values) > 1:
        raise SeveralValues(name)
    return values[0]


async def cancel(call: Call) -> web.StreamResponse:
    """Only BuildKit's builds have an ID; there is never one to cancel."""
    if not call.text("id"):
        raise InvalidArgument("build ID not provided")
    return answers.empty()
