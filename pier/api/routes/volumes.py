"""Volumes: list, inspect, create, remove, prune."""

import json

from aiohttp import web

from pier.api import answers
from pier.api.call import Call, settled
from pier.api.dispatch import Route
from pier.api.schema.filters import TRUTHS, Filters
from pier.api.schema.prune import prune_labels
from pier.api.schema.volumes import CreateBody
from pier.api.volumes import to_json, used_volumes
from pier.errors import InvalidArgument, Unavailable
from pier.volumes import Volume

_FILTERS = ("dangling", "driver", "label", "name")


class NotASwarmManager(Unavailable):
    def __init__(self) -> None:
        super().__init__(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" '
            "to connect this node to swarm and try again."
        )


class InvalidAll(InvalidArgument):
    def __init__(self, text: str) -> None:
        super().__init__(
            f"invalid filter 'all': strconv.ParseBool: parsing {json.dumps(text)}: invalid syntax"
        )


async def list_volumes(call: Call) -> web.StreamResponse:
    filters = call.filters(_FILTERS)
    volumes = await settled(call.engine.volumes.list_())
    used = used_volumes(call.engine)
    found = [to_json(item) for item in volumes if _matches(item, filters, used)]
    return answers.json({"Volumes": found, "Warnings": None})


def _matches(volume: Volume, filters: Filters, used: dict[str, int]) -> bool:
    dangling = volume.name not in used
    if "dangling" in filters and filters.flag("dangling", default=False) != dangling:
        return False
    return (
        filters.matches("name", volume.name)
        and filters.exact("driver", volume.driver or "local")
        and filters.labels(volume.labels)
    )


async def inspect(call: Call) -> web.StreamResponse:
    return answers.json(to_json(await settled(call.engine.volumes.get(call.name))))


async def create(call: Call) -> web.StreamResponse:
    body = await call.body(CreateBody)
    volume = await settled(
        call.engine.volumes.create(
            body.name, driver=body.driver, options=body.driver_opts, labels=body.labels
        )
    )
    return answers.json(to_json(volume), 201)


async def remove(call: Call) -> web.StreamResponse:
    await settled(call.engine.volumes.remove(call.name, force=call.flag("force")))
    return answers.empty()


async def prune(call: Call) -> web.StreamResponse:
    """Since 1.42 only anonymous volumes, unless `all` is asked for."""
    filters = call.filters(("label", "label!", "all"))
    for value in filters.get("all"):
        if value not in TRUTHS:
            raise InvalidAll(value)
    everything = filters.flag("all", default=False) or not call.version.at_least(42)
    pruned = await settled(
        call.engine.volumes.prune(all_volumes=everything, **prune_labels(filters))
    )
    return answers.json(
        {"VolumesDeleted": list(pruned.names), "SpaceReclaimed": pruned.bytes_reclaimed}
    )


async def update(call: Call) -> web.StreamResponse:
    """Only cluster volumes can be updated, and there is no cluster."""
    raise NotASwarmManager


ROUTES = (
    Route("GET", "/volumes", list_volumes),
    Route("POST", "/volumes/create", create),
    Route("POST", "/volumes/prune", prune),
    Route("GET", "/volumes/{name}", inspect),
    Route("PUT", "/volumes/{name}", update),
    Route("DELETE", "/volumes/{name}", remove),
)
