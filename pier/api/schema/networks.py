"""Networks both ways, and endpoints as they are. Pure."""

from collections.abc import Iterable, Mapping
from typing import ClassVar

import msgspec
from msgspec import UNSET, UnsetType, field

from pier.api.schema.endpoints import EndpointSettings, from_endpoint
from pier.api.schema.words import rfc3339
from pier.api.versions import ApiVersion
from pier.containers.spec import EndpointSpec
from pier.errors import InvalidArgument
from pier.networks.model import Endpoint, Network, NetworkSpec, Pool


class NoNetworkName(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("invalid name: name is empty")


class PoolJson(msgspec.Struct, rename="pascal", kw_only=True, omit_defaults=True):
    subnet: str = ""
    ip_range: str = field(default="", name="IPRange")
    gateway: str = ""
    auxiliary_addresses: dict[str, str] = {}


class IpamJson(msgspec.Struct, rename="pascal", kw_only=True):
    driver: str = "default"
    options: dict[str, str] | None = None
    config: list[PoolJson] | None = None


class ConfigReference(msgspec.Struct, rename="pascal"):
    network: str = ""


class EndpointResource(msgspec.Struct, rename="pascal", kw_only=True):
    name: str
    endpoint_id: str = field(name="EndpointID")
    mac_address: str
    ipv4_address: str = field(name="IPv4Address")
    ipv6_address: str = field(name="IPv6Address")


class NetworkJson(msgspec.Struct, rename="pascal", kw_only=True):
    name: str
    id: str
    created: str
    scope: str
    driver: str
    enable_ipv4: bool = field(name="EnableIPv4")
    enable_ipv6: bool = field(name="EnableIPv6")
    ipam: IpamJson = field(name="IPAM")
    internal: bool
    attachable: bool
    ingress: bool
    config_from: ConfigReference
    config_only: bool
    containers: dict[str, EndpointResource] | UnsetType = UNSET
    options: dict[str, str]
    labels: dict[str, str]


# Go's words.
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


class InvalidOption(InvalidArgument):
    def __init__(self, name: str) -> None:
        super().__init__(f'driver-opt "{name}" is not a valid bool')


class CreateBody(msgspec.Struct, rename="pascal", kw_only=True):
    GO_TYPE: ClassVar[str] = "network.CreateRequest"
    name: str = ""
    driver: str = ""
    scope: str = ""
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: ConfigReference = field(default_factory=ConfigReference)
    ipam: IpamJson = field(default_factory=IpamJson, name="IPAM")
    enable_ipv4: bool | None = field(default=None, name="EnableIPv4")
    enable_ipv6: bool | None = field(default=None, name="EnableIPv6")
    options: dict[str, str] = {}
    labels: dict[str, str] = {}


class ConnectBody(msgspec.Struct, rename="pascal", kw_only=True):
    GO_TYPE: ClassVar[str] = "network.ConnectOptions"
    container: str = ""
    endpoint_config: EndpointSettings | None = None


class DisconnectBody(msgspec.Struct, rename="pascal", kw_only=True):
    GO_TYPE: ClassVar[str] = "network.DisconnectOptions"
    container: str = ""
    force: bool = False


def to_network(body: CreateBody, version: ApiVersion) -> NetworkSpec:
    """Raises NoNetworkName; addresses are for `pier.networks.ipam` to judge."""
    if not body.name:
        raise NoNetworkName
    pools = tuple(_to_pool(pool) for pool in body.ipam.config or ())
    return NetworkSpec(
        name=body.name,
        driver=body.driver or "bridge",
        scope=body.scope or "local",
        internal=body.internal,
        attachable=body.attachable,
        ingress=body.ingress,
        config_only=body.config_only,
        config_from=body.config_from.network,
        enable_ipv4=_enabled(body, 4, body.enable_ipv4 if version.at_least(48) else None),
        enable_ipv6=_enabled(body, 6, body.enable_ipv6),
        ipam_driver=body.ipam.driver or "default",
        ipam_options=body.ipam.options,
        pools=pools,
        chosen_subnet=any(pool.subnet for pool in pools),
        options=body.options,
        labels=body.labels,
    )


def _enabled(body: CreateBody, family: int, asked: bool | None) -> bool:
    """Asked for by a field, else by a driver's option, Docker's older way. IPv4 is there anyway."""
    option = f"com.docker.network.enable_ipv{family}"
    text = body.options.get(option)
    if asked is not None or text is None:
        return family == 4 if asked is None else asked
    if text not in (*_TRUE, *_FALSE):
        raise InvalidOption(option)
    return text in _TRUE


def _to_pool(json: PoolJson) -> Pool:
    return Pool(
        subnet=json.subnet,
        ip_range=json.ip_range,
        gateway=json.gateway,
        auxiliary=json.auxiliary_addresses,
    )


def _from_pool(pool: Pool) -> PoolJson:
    return PoolJson(
        subnet=pool.subnet,
        ip_range=pool.ip_range,
        gateway=pool.gateway,
        auxiliary_addresses=dict(pool.auxiliary),
    )


def network_json(network: Network) -> NetworkJson:
    """Without the containers on it, as in a list."""
    spec = network.spec
    pools = [_from_pool(pool) for pool in spec.pools]
    return NetworkJson(
        name=spec.name,
        id=network.id,
        created=rfc3339(network.created_ns),
        scope=spec.scope,
        driver=spec.driver,
        enable_ipv4=spec.enable_ipv4,
        enable_ipv6=spec.enable_ipv6,
        ipam=IpamJson(
            driver=spec.ipam_driver,
            options=None if spec.ipam_options is None else dict(spec.ipam_options),
            config=pools if pools or spec.driver == "bridge" else None,
        ),
        internal=spec.internal,
        attachable=spec.attachable,
        ingress=spec.ingress,
        config_from=ConfigReference(spec.config_from),
        config_only=spec.config_only,
        options=dict(spec.options),
        labels=dict(spec.labels),
    )


def endpoint_resources(
    endpoints: Iterable[Endpoint], names: Mapping[str, str]
) -> dict[str, EndpointResource]:
    """The containers on a network; `names` by container ID."""
    return {
        endpoint.container_id: EndpointResource(
            name=names.get(endpoint.container_id, ""),
            endpoint_id=endpoint.id,
            mac_address=endpoint.mac,
            ipv4_address=_cidr(endpoint.ipv4, endpoint.prefix4),
            ipv6_address=_cidr(endpoint.ipv6, endpoint.prefix6),
        )
        for endpoint in endpoints
    }


def _cidr(address: str, prefix: int) -> str:
    return f"{address}/{prefix}" if address else ""


def live_settings(spec: EndpointSpec, endpoint: Endpoint) -> EndpointSettings:
    """What was asked of an attachment, with what it got."""
    settings = from_endpoint(spec)
    settings.network_id = endpoint.network.id
    settings.endpoint_id = endpoint.id
    settings.gateway = endpoint.gateway4
    settings.ip_address = endpoint.ipv4
    settings.ip_prefix_len = endpoint.prefix4
    settings.ipv6_gateway = endpoint.gateway6
    settings.global_ipv6_address = endpoint.ipv6
    settings.global_ipv6_prefix_len = endpoint.prefix6
    settings.mac_address = endpoint.mac
    settings.dns_names = list(endpoint.dns_names) or None
    return settings
