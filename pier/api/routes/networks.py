"""Networks: list, inspect, create, remove, connect, disconnect, prune."""

from collections.abc import Sequence

from aiohttp import web

from pier.api import answers
from pier.api.call import Call, settled
from pier.api.dispatch import Route
from pier.api.schema.endpoints import to_endpoint
from pier.api.schema.filters import Filters, has_label
from pier.api.schema.networks import (
    ConnectBody,
    CreateBody,
    DisconnectBody,
    NetworkJson,
    endpoint_resources,
    network_json,
    to_network,
)
from pier.api.schema.prune import prune_until
from pier.errors import InvalidArgument
from pier.networks.model import Network

_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")


_TRUTHS = {"true", "1", "false", "0"}


class UnknownNetworkType(InvalidArgument):
    def __init__(self, kind: str) -> None:
        super().__init__(f"invalid filter: 'type'='{kind}'")


class InvalidDangling(InvalidArgument):
    def __init__(self) -> None:
        super().__init__(
            'invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")'
        )


async def list_networks(call: Call) -> web.StreamResponse:
    filters = call.filters(_FILTERS)
    if len(set(filters.get("dangling"))) > 1 or not set(filters.get("dangling")) <= _TRUTHS:
        raise InvalidDangling
    for value in filters.get("type"):
        if value not in ("builtin", "custom"):
            raise UnknownNetworkType(value)
    networks: Sequence[Network] = await settled(call.engine.networks.list_())
    found = [network for network in networks if _matches(call, network, filters)]
    if call.version.at_least(28):
        return answers.json([_list_json(network) for network in found])
    return answers.json([_inspect_json(call, network) for network in found])


def _matches(call: Call, network: Network, filters: Filters) -> bool:
    kind = "builtin" if network.predefined else "custom"
    if "dangling" in filters:
        dangling = not network.predefined and not _inspect_json(call, network).containers
        if dangling != filters.flag("dangling", default=False):
            return False
    return (
        filters.matches("name", network.name)
        and filters.matches("id", network.id)
        and filters.exact("driver", network.driver)
        and filters.exact("scope", network.spec.scope)
        and filters.exact("type", kind)
        and filters.labels(network.spec.labels)
    )


def _inspect_json(call: Call, network: Network) -> NetworkJson:
    """With the running containers that are on it."""
    members = call.engine.networks.members(network.id)
    json = network_json(network)
    json.containers = endpoint_resources(
        [member.endpoint for member in members],
        {member.container_id: member.container_name for member in members},
    )
    return json


def _list_json(network: Network) -> NetworkJson:
    """Since 1.28 a list does not tell who is on a network; the field stays, empty."""
    json = network_json(network)
    json.containers = {}
    return json


async def inspect(call: Call) -> web.StreamResponse:
    network: Network = await settled(call.engine.networks.get(call.name))
    return answers.json(_inspect_json(call, network))


async def create(call: Call) -> web.StreamResponse:
    body = await call.body(CreateBody)
    network = await call.engine.networks.create(to_network(body, call.version))
    return answers.json({"Id": network.id, "Warning": ""}, 201)


async def remove(call: Call) -> web.StreamResponse:
    await call.engine.networks.remove(call.name)
    return answers.empty()


async def connect(call: Call) -> web.StreamResponse:
    """By way of the containers: what they ask of networks is theirs to remember."""
    body = await call.body(ConnectBody)
    endpoint = to_endpoint(body.endpoint_config)
    await call.engine.containers.connect(call.name, body.container, endpoint)
    return answers.empty(200)


async def disconnect(call: Call) -> web.StreamResponse:
    body = await call.body(DisconnectBody)
    await call.engine.containers.disconnect(call.name, body.container, force=body.force)
    return answers.empty(200)


async def prune(call: Call) -> web.StreamResponse:
    filters = call.filters(("until", "label", "label!"))
    until_ns = prune_until(filters, call.now_ns)

    def wanted(network: Network) -> bool:
        labels = network.spec.labels
        refused = any(has_label(value, labels) for value in filters.get("label!"))
        old = not until_ns or network.created_ns < until_ns
        return old and not refused and filters.labels(labels)

    names = await settled(call.engine.networks.prune(wanted))
    return answers.json({"NetworksDeleted": list(names) or None})


ROUTES = (
    Route("GET", "/networks", list_networks),
    Route("GET", "/networks/", list_networks),
    Route("POST", "/networks/create", create),
    Route("POST", "/networks/prune", prune),
    Route("POST", "/networks/{name}/connect", connect),
    Route("POST", "/networks/{name}/disconnect", disconnect),
    Route("GET", "/networks/{name}", inspect),
    Route("DELETE", "/networks/{name}", remove),
)
