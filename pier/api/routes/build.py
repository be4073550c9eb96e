"""`POST /build`, the classic builder, and its cache."""

import msgspec
from aiohttp import web

from pier.api import answers
from pier.api.auth import registry_auths
from pier.api.call import Call, settled
from pier.api.dispatch import Route
from pier.api.progress import send_progress
from pier.api.requests import BuildRequest
from pier.api.routes.archive import body_chunks
from pier.api.schema.prune import prune_until
from pier.errors import InvalidArgument, NotSupported
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
        network_mode=call.text("networkmode"),
        no_cache=call.flag("nocache"),
        pull=call.flag("pull"),
        quiet=call.flag("q"),
        remove=call.flag("rm", default=True),
        force_remove=call.flag("forcerm"),
        squash=call.flag("squash"),
        shm_size=call.number("shmsize"),
        memory=call.number("memory"),
        memory_swap=call.number("memswap"),
        cpu_shares=call.number("cpushares"),
        cpu_period_us=call.number("cpuperiod"),
        cpu_quota_us=call.number("cpuquota"),
        cpuset_cpus=call.text("cpusetcpus"),
        cpuset_mems=call.text("cpusetmems"),
        cgroup_parent=call.text("cgroupparent"),
        security_opt=call.texts("securityopt"),
        auths=registry_auths(call.request.headers),
    )


async def build(call: Call) -> web.StreamResponse:
    """The context is read while the answer is written."""
    if call.text("version") == "2":
        raise NotSupported("BuildKit is not supported by Pier; set DOCKER_BUILDKIT=0")
    request = build_request(call)
    steps = call.part("builder", "docker build").build(request, body_chunks(call))
    return await send_progress(call.request, steps)


async def prune(call: Call) -> web.StreamResponse:
    filters = call.filters(_CACHE_FILTERS)
    builder = getattr(call.engine, "builder", None)
    if builder is None:
        return answers.json({"CachesDeleted": None, "SpaceReclaimed": 0})
    pruned = await settled(
        builder.prune(
            everything=call.flag("all"),
            until_ns=prune_until(filters, call.now_ns),
            keep_bytes=call.number("reserved-space") or call.number("keep-storage"),
        )
    )
    answer = {"CachesDeleted": list(pruned.ids), "SpaceReclaimed": pruned.bytes_reclaimed}
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
