"""`POST /build`, the classic builder, and its cache."""

from collections.abc import AsyncIterator, Callable

import msgspec
from aiohttp import web

from pier.api import answers
from pier.api.call import Call
from pier.api.dispatch import Route
from pier.api.progress import send_progress
from pier.api.routes.archive import body_chunks
from pier.api.schema.prune import prune_until
from pier.api.schema.resources import UlimitJson
from pier.build.cache_store import PruneRequest
from pier.build.progress import BuildEvent, ImageBuilt, classic_text
from pier.build.request import BuildRequest, StepFailed
from pier.build.run import Limits, Ulimit
from pier.errors import InvalidArgument, NotSupported
from pier.images.transfer import Step, reported
from pier.oci.reference import parse_reference

_CACHE_FILTERS = (
    "id", "parent", "type", "description", "inuse", "shared", "private", "until", "unused-for",
)  # fmt: skip


class InvalidParameter(InvalidArgument):
    def __init__(self, name: str) -> None:
        super().__init__(f"error reading {name}: invalid JSON")


def _map(call: Call, name: str) -> dict[str, str | None]:
    try:
        text = call.text(name)
        return msgspec.json.decode(text, type=dict[str, str | None]) if text else {}
    except msgspec.DecodeError:
        raise InvalidParameter(name) from None


def _list(call: Call, name: str) -> tuple[str, ...]:
    try:
        text = call.text(name)
        found = msgspec.json.decode(text, type=list[str] | None) if text else ()
    except msgspec.DecodeError:
        raise InvalidParameter(name) from None
    return tuple(found or ())


def build_request(call: Call) -> BuildRequest:
    """Raises InvalidArgument."""
    tags = call.texts("t")
    for tag in tags:
        parse_reference(tag)
    labels = {key: value or "" for key, value in _map(call, "labels").items()}
    return BuildRequest(
        tags=tags,
        dockerfile=call.text("dockerfile") or "Dockerfile",
        remote=call.text("remote"),
        target=call.text("target"),
        platform=call.text("platform"),
        build_args=_map(call, "buildargs"),
        labels=labels,
        cache_from=_list(call, "cachefrom"),
        extra_hosts=call.texts("extrahosts"),
        network=call.text("networkmode") or "default",
        no_cache=call.flag("nocache"),
        pull=call.flag("pull"),
        squash=call.flag("squash"),
        limits=_limits(call),
    )


def _limits(call: Call) -> Limits:
    return Limits(
        memory=call.number("memory"),
        memory_swap=call.number("memswap"),
        cpu_shares=call.number("cpushares"),
        cpu_period=call.number("cpuperiod"),
        cpu_quota=call.number("cpuquota"),
        cpuset_cpus=call.text("cpusetcpus"),
        cpuset_mems=call.text("cpusetmems"),
        cgroup_parent=call.text("cgroupparent"),
        shm_size=call.number("shmsize"),
        ulimits=_ulimits(call),
    )


def _ulimits(call: Call) -> tuple[Ulimit, ...]:
    try:
        items = msgspec.json.decode(call.text("ulimits") or "[]", type=list[UlimitJson] | None)
    except msgspec.DecodeError:
        raise InvalidParameter("ulimits") from None
    return tuple(Ulimit(name=item.name, soft=item.soft, hard=item.hard) for item in items or ())


def _steps(call: Call, request: BuildRequest, context: AsyncIterator[bytes]) -> AsyncIterator[Step]:
    """The classic stream: what the builder tells, in words; `q` leaves only the image's ID."""
    builder, quiet = call.part("builder", "docker build"), call.flag("q")

    async def work(report: Callable[[Step], None]) -> None:
        def tell(event: BuildEvent) -> None:
            if isinstance(event, ImageBuilt):
                report(Step(aux={"ID": event.id}))
            if text := "" if quiet else classic_text(event):
                report(Step(stream=text))

        try:
            result = await builder.build(request, context, tell)
        except StepFailed as error:
            report(Step(error=str(error), error_code=error.code))
        else:
            if quiet:
                report(Step(stream=f"{result.image}\n"))

    return reported(work)


async def build(call: Call) -> web.StreamResponse:
    """The context is read while the answer is written."""
    if call.text("version") == "2":
        raise NotSupported("BuildKit is not supported by Pier; set DOCKER_BUILDKIT=0")
    request = build_request(call)
    steps = _steps(call, request, body_chunks(call))
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
