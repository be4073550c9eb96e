"""Looking at containers: list, inspect, top, changes; and making an image of one."""

from dataclasses import replace

from aiohttp import web

from pier.api import answers, listing
from pier.api.call import Call, Engine
from pier.api.dispatch import Route
from pier.api.schema.config import ContainerConfig, config_to_spec
from pier.api.schema.containers import View, inspect_json, summary_json
from pier.api.schema.filters import Filters
from pier.api.views import Views, full_view, sizes
from pier.containers.requests import CommitRequest
from pier.errors import NotFound, NotSupported


async def list_containers(call: Call) -> web.StreamResponse:
    filters = call.filters(listing.FILTER_KEYS)
    listing.check(filters)
    limit = call.number("limit")
    views = _chosen(call, filters, everything=call.flag("all") or limit > 0)
    if limit > 0:
        views = views[:limit]
    if call.flag("size"):
        views = [sized for view in views if (sized := await _with_size(call.engine, view))]
    now_ns = call.now_ns
    return answers.json([summary_json(view, call.version, now_ns) for view in views])


def _chosen(call: Call, filters: Filters, *, everything: bool) -> list[View]:
    containers = call.engine.containers
    records = listing.within(containers.list_(), filters, containers.get)
    everything = everything or listing.shows_stopped(filters)
    ancestors = _ancestors(call.engine, filters)
    views = Views(call.engine)
    found = (
        views.view(record)
        for record in records
        if (everything or listing.listed(record))
        and listing.matches_record(record, filters, ancestors)
    )
    return [view for view in found if listing.matches_view(view, filters)]


def _ancestors(engine: Engine, filters: Filters) -> set[str]:
    """IDs of the images asked for and of all made from them; unknown names match nothing."""
    found = {image.id for name in filters.get("ancestor") if (image := engine.images.find(name))}
    if found:
        images = engine.images.list_()
        layers = [image.layers for image in images if image.id in found]
        found |= {
            image.id
            for image in images
            if any(below and image.layers[: len(below)] == below for below in layers)
        }
    return found


async def _with_size(engine: Engine, view: View) -> View | None:
    """None for one that was removed while the others were counted."""
    try:
        rw, root_fs = await sizes(engine, view.container)
    except NotFound:
        return None
    return replace(view, size_rw=rw, size_root_fs=root_fs)


async def inspect(call: Call) -> web.StreamResponse:
    container = await call.engine.containers.settled(call.name)
    view = await full_view(call.engine, container, size=call.flag("size"))
    return answers.json(inspect_json(view, call.version))


async def top(call: Call) -> web.StreamResponse:
    rows = await call.engine.containers.top(call.name, call.text("ps_args") or "-ef")
    return answers.json({"Titles": rows.titles, "Processes": rows.processes})


async def changes(call: Call) -> web.StreamResponse:
    """`null` when there are none, as Docker has it."""
    found = await call.engine.containers.files.changes(call.name)
    return answers.json([{"Path": item.path, "Kind": item.kind} for item in found] or None)


async def commit(call: Call) -> web.StreamResponse:
    config = await call.optional_body(ContainerConfig)
    repository, tag = call.text("repo"), call.text("tag")
    request = CommitRequest(
        container=call.text("container"),
        reference=f"{repository}:{tag}" if repository and tag else repository,
        comment=call.text("comment"),
        author=call.text("author"),
        pause=call.flag("pause", default=True),
        changes=call.texts("changes"),
        run_config=None if config is None else config_to_spec(config),
    )
    return answers.json({"Id": await call.engine.containers.commit(request)}, 201)


async def checkpoints(call: Call) -> web.StreamResponse:
    raise NotSupported("checkpoints are not supported by Pier")


ROUTES = (
    Route("GET", "/containers/json", list_containers),
    Route("GET", "/containers/{name}/json", inspect),
    Route("GET", "/containers/{name}/top", top),
    Route("GET", "/containers/{name}/checkpoints", checkpoints),
    Route("POST", "/containers/{name}/checkpoints", checkpoints),
    Route("GET", "/containers/{name}/changes", changes),
    Route("POST", "/commit", commit),
)
