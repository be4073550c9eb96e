"""`--network`, and the flags that speak of the first network: what joins a container to networks.

Docker run reference, "Network settings".
"""

from __future__ import annotations

from pier.cli.parsing import parse_int, split_csv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Endpoint = dict[str, Any]  # the API's EndpointSettings, non-empty fields only

_BUILT_IN = ("default", "bridge", "host", "none")


class Attachment:
    """One `--network` value."""

    __slots__ = ("endpoint", "name")

    def __init__(self, name: str, endpoint: Endpoint) -> None:
        self.name = name
        self.endpoint = endpoint


def is_user_defined(network: str) -> bool:
    return network not in _BUILT_IN and not network.startswith("container:")


def check_network(text: str) -> str:
    parse_network(text)
    return text


def parse_network(text: str) -> Attachment:
    """Return what a `--network` value, a name or `name=...,alias=...`, asks for."""
    if "=" not in text:
        return Attachment(text, {})
    attachment = Attachment("", {})
    for field in split_csv(text):
        key, equals, value = field.partition("=")
        if not equals:
            raise ValueError(f"invalid field {field}")
        _set(attachment, key.strip().lower(), value.strip())
    if not attachment.name:
        raise ValueError("network name/id is not specified")
    return attachment


def _set(attachment: Attachment, key: str, value: str) -> None:
    endpoint = attachment.endpoint
    match key:
        case "name":
            attachment.name = value
        case "alias":
            endpoint.setdefault("Aliases", []).append(value)
        case "ip":
            endpoint.setdefault("IPAMConfig", {})["IPv4Address"] = value
        case "ip6":
            endpoint.setdefault("IPAMConfig", {})["IPv6Address"] = value
        case "mac-address":
            endpoint["MacAddress"] = check_mac(value)
        case "link-local-ip":
            endpoint.setdefault("IPAMConfig", {}).setdefault("LinkLocalIPs", []).append(value)
        case "driver-opt":
            name, equals, text = value.partition("=")
            if not equals or not name:
                raise ValueError("invalid key value pair format in driver options")
            endpoint.setdefault("DriverOpts", {})[name.strip().lower()] = text.strip()
        case "gw-priority":
            endpoint["GwPriority"] = _priority(value)
        case _:
            raise ValueError(f"invalid field key {key}")


def _priority(text: str) -> int:
    try:
        return parse_int(text)
    except ValueError as error:
        raise ValueError(f"invalid gw-priority: {error}") from error


def check_mac(text: str) -> str:
    """Return `text` if it is a MAC address; raise ValueError."""
    parts = text.strip().replace("-", ":").split(":")
    digits = "0123456789abcdefABCDEF"
    if len(parts) != 6 or not all(len(p) == 2 and set(p) <= set(digits) for p in parts):
        raise ValueError(f"{text} is not a valid mac address")
    return text.strip()


class FirstNetwork:
    """The flags that apply to the first network: `--ip`, `--link`, `--network-alias`, ..."""

    __slots__ = ("aliases", "ip", "ip6", "link_local_ips", "links", "mac_address")

    def __init__(self) -> None:
        self.aliases: list[str] = []
        self.links: list[str] = []
        self.link_local_ips: list[str] = []
        self.ip = ""
        self.ip6 = ""
        self.mac_address = ""


def join_networks(values: Iterable[str], first: FirstNetwork) -> dict[str, Endpoint]:
    """Return EndpointsConfig for the networks named by `--network`, in their order.

    A single network without options is left out: NetworkMode says it already.
    """
    attachments = [parse_network(value) for value in values] or [Attachment("default", {})]
    _apply(first, attachments[0])
    endpoints: dict[str, Endpoint] = {}
    for attachment in attachments:
        if attachment.name in endpoints:
            raise ValueError(f'network "{attachment.name}" is specified multiple times')
        endpoints[attachment.name] = attachment.endpoint
    if len({is_user_defined(name) for name in endpoints}) > 1:
        raise ValueError(
            "conflicting options: cannot attach both user-defined and non-user-defined"
            " network-modes"
        )
    if len(endpoints) == 1 and not attachments[0].endpoint:
        return {}
    return endpoints


def _apply(first: FirstNetwork, attachment: Attachment) -> None:
    endpoint = attachment.endpoint
    ipam = endpoint.get("IPAMConfig", {})
    _refuse_both(first.aliases, endpoint.get("Aliases"), "--network-alias", "alias")
    _refuse_both(first.ip, ipam.get("IPv4Address"), "--ip", "IPv4 address")
    _refuse_both(first.ip6, ipam.get("IPv6Address"), "--ip6", "IPv6 address")
    _refuse_both(first.mac_address, endpoint.get("MacAddress"), "--mac-address", "MAC address")
    local = "link-local IP addresses"
    _refuse_both(first.link_local_ips, ipam.get("LinkLocalIPs"), "--link-local-ip", local)
    if first.aliases:
        endpoint["Aliases"] = first.aliases
    if first.links and is_user_defined(attachment.name):
        endpoint["Links"] = first.links
    if first.mac_address:
        endpoint["MacAddress"] = check_mac(first.mac_address)
    chosen = {
        "IPv4Address": first.ip,
        "IPv6Address": first.ip6,
        "LinkLocalIPs": first.link_local_ips,
    }
    ipam |= {key: value for key, value in chosen.items() if value}
    if ipam:
        endpoint["IPAMConfig"] = ipam


def _refuse_both(flag: object, own: object, name: str, what: str) -> None:
    if flag and own:
        raise ValueError(f"conflicting options: cannot specify both {name} and per-network {what}")
