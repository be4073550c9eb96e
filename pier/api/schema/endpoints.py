"""EndpointSettings: a container's attachment to a network, as asked and as it is. Pure."""

import re
from collections.abc import Mapping
from ipaddress import ip_address

import msgspec

from pier.containers.spec import EndpointSpec
from pier.errors import InvalidArgument

_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}")


class InvalidAddress(InvalidArgument):
    def __init__(self, what: str, text: str) -> None:
        super().__init__(f"invalid endpoint settings:\ninvalid {what} address: {text}")


class InvalidMac(InvalidArgument):
    def __init__(self, text: str) -> None:
        super().__init__(f"invalid MAC address {text}")


class InvalidEndpoint(InvalidArgument):
    def __init__(self, network: str, error: InvalidArgument) -> None:
        super().__init__(f"invalid config for network {network}: {error}")


class IpamConfig(msgspec.Struct, omit_defaults=True):
    ipv4: str = msgspec.field(default="", name="IPv4Address")
    ipv6: str = msgspec.field(default="", name="IPv6Address")
    link_local_ips: list[str] = msgspec.field(default_factory=list, name="LinkLocalIPs")


class EndpointSettings(msgspec.Struct, rename="pascal", kw_only=True):
    ipam_config: IpamConfig | None = msgspec.field(default=None, name="IPAMConfig")
    links: list[str] | None = None
    aliases: list[str] | None = None
    mac_address: str = ""
    driver_opts: dict[str, str] | None = None
    gw_priority: int = 0
    network_id: str = msgspec.field(default="", name="NetworkID")
    endpoint_id: str = msgspec.field(default="", name="EndpointID")
    gateway: str = ""
    ip_address: str = msgspec.field(default="", name="IPAddress")
    ip_prefix_len: int = msgspec.field(default=0, name="IPPrefixLen")
    ipv6_gateway: str = msgspec.field(default="", name="IPv6Gateway")
    global_ipv6_address: str = msgspec.field(default="", name="GlobalIPv6Address")
    global_ipv6_prefix_len: int = msgspec.field(default=0, name="GlobalIPv6PrefixLen")
    dns_names: list[str] | None = msgspec.field(default=None, name="DNSNames")


def to_endpoint(settings: EndpointSettings | None) -> EndpointSpec:
    """What was asked of one attachment. Raises InvalidArgument."""
    if settings is None:
        return EndpointSpec()
    ipam = settings.ipam_config or IpamConfig()
    _check_address("IPv4", ipam.ipv4, 4)
    _check_address("IPv6", ipam.ipv6, 6)
    return EndpointSpec(
        ipv4=ipam.ipv4,
        ipv6=ipam.ipv6,
        link_local_ips=tuple(ipam.link_local_ips),
        aliases=tuple(settings.aliases or ()),
        links=tuple(settings.links or ()),
        mac_address=to_mac(settings.mac_address),
        driver_options=settings.driver_opts or {},
        gateway_priority=settings.gw_priority,
    )


def to_mac(text: str) -> str:
    """The address with colons, or "" as it is. Raises InvalidMac."""
    if text and not _MAC.fullmatch(text):
        raise InvalidMac(text)
    return text.replace("-", ":").lower()


def _check_address(what: str, text: str, version: int) -> None:
    if not text:
        return
    try:
        found = ip_address(text).version
    except ValueError:
        raise InvalidAddress(what, text) from None
    if found != version or "%" in text:
        raise InvalidAddress(what, text)


def to_endpoints(settings: Mapping[str, EndpointSettings | None]) -> dict[str, EndpointSpec]:
    """By network name; Docker's name "default" is the bridge. Raises InvalidEndpoint."""
    endpoints = {}
    for name, item in settings.items():
        network = "bridge" if name == "default" else name
        try:
            endpoints[network] = to_endpoint(item)
        except InvalidArgument as error:
            raise InvalidEndpoint(network, error) from error
    return endpoints


def from_endpoint(spec: EndpointSpec) -> EndpointSettings:
    """What was asked, as inspect shows it while nothing runs; the caller adds what is."""
    ipam = IpamConfig(spec.ipv4, spec.ipv6, list(spec.link_local_ips))
    return EndpointSettings(
        ipam_config=ipam if ipam != IpamConfig() else None,
        links=list(spec.links) or None,
        aliases=list(spec.aliases) or None,
        mac_address=spec.mac_address,
        driver_opts=dict(spec.driver_options) or None,
        gw_priority=spec.gateway_priority,
    )
