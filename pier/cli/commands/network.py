"""network create, connect, disconnect, rm."""

from __future__ import annotations

from pier.cli.client import quote
from pier.cli.command import Command, Flag
from pier.cli.each import for_each
from pier.cli.faults import ApiFault, Fault
from pier.cli.session import err, out
from pier.cli.values.policies import check_link
from pier.cli.values.variables import check_label, parse_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier.cli.command import Options
    from pier.cli.session import Session

_NOT_FOUND = 404


def create(session: Session, options: Options, names: list[str]) -> None:
    body: dict[str, Any] = {
        "Name": names[0],
        "Driver": options.text("driver"),
        "Options": parse_map(options.texts("opt")),
        "IPAM": _ipam(options),
        "Internal": options.on("internal"),
        "Attachable": options.on("attachable"),
        "Ingress": options.on("ingress"),
        "Scope": options.text("scope"),
        "ConfigOnly": options.on("config-only"),
        "Labels": parse_map(options.texts("label")),
    }
    for flag, key in (("ipv4", "EnableIPv4"), ("ipv6", "EnableIPv6")):
        if flag in options.given:
            body[key] = options.on(flag)
    if options.text("config-from"):
        body["ConfigFrom"] = {"Network": options.text("config-from")}
    answer = session.client.post("/networks/create", None, body)
    if answer.get("Warning"):
        err(f"WARNING: {answer['Warning']}")
    out(answer["Id"])


def _ipam(options: Options) -> dict[str, Any]:
    """Put every gateway, range and auxiliary address with the subnet that contains it."""
    from ipaddress import ip_network

    ipam: dict[str, Any] = {"Driver": options.text("ipam-driver")}
    ipam["Options"] = parse_map(options.texts("ipam-opt"))
    subnets: dict[str, dict[str, Any]] = {}
    for subnet in options.texts("subnet"):
        if any(ip_network(subnet, strict=False).overlaps(_net(known)) for known in subnets):
            raise Fault("multiple overlapping subnet configuration is not supported")
        subnets[subnet] = {"Subnet": subnet}
    for address_range in options.texts("ip-range"):
        _place(subnets, address_range, "IPRange", address_range, "range")
    for gateway in options.texts("gateway"):
        _place(subnets, gateway, "Gateway", gateway, "gateway")
    for name, address in parse_map(options.texts("aux-address")).items():
        _place(subnets, address, "AuxiliaryAddresses", {name: address}, "aux-address")
    ipam["Config"] = list(subnets.values())
    return ipam


def _net(subnet: str) -> Any:  # Any: IPv4Network or IPv6Network
    from ipaddress import ip_network

    return ip_network(subnet, strict=False)


def _place(
    subnets: dict[str, dict[str, Any]], address: str, key: str, value: Any, what: str
) -> None:
    from ipaddress import ip_interface

    for subnet, config in subnets.items():
        if ip_interface(address).ip in _net(subnet):
            if isinstance(value, dict):
                config.setdefault(key, {}).update(value)
                return
            if key in config:
                raise Fault(
                    f"cannot configure multiple {what}s ({value}, {config[key]}) on the same"
                    f" subnet ({subnet})"
                )
            config[key] = value
            return
    if not subnets:
        raise Fault("every ip-range or gateway must have a corresponding subnet")
    raise Fault(f"no matching subnet for {what} {address}")


def connect(session: Session, options: Options, names: list[str]) -> None:
    network, container = names
    endpoint: dict[str, Any] = {}
    ipam = {
        "IPv4Address": options.text("ip"),
        "IPv6Address": options.text("ip6"),
        "LinkLocalIPs": options.texts("link-local-ip"),
    }
    ipam = {key: value for key, value in ipam.items() if value}
    more = {
        "IPAMConfig": ipam,
        "Links": options.texts("link"),
        "Aliases": options.texts("alias"),
        "DriverOpts": parse_map(options.texts("driver-opt")),
        "GwPriority": options.number("gw-priority"),
    }
    endpoint = {key: value for key, value in more.items() if value}
    body = {"Container": container, "EndpointConfig": endpoint}
    session.client.post(f"/networks/{quote(network)}/connect", None, body)


def disconnect(session: Session, options: Options, names: list[str]) -> None:
    network, container = names
    body = {"Container": container, "Force": options.on("force")}
    session.client.post(f"/networks/{quote(network)}/disconnect", None, body)


def remove(session: Session, options: Options, names: list[str]) -> int:
    def remove_one(name: str) -> None:
        try:
            session.client.delete(f"/networks/{quote(name)}")
        except ApiFault as fault:
            if not (options.on("force") and fault.status == _NOT_FOUND):
                raise

    return for_each(names, remove_one)


COMMANDS = {
    "network create": Command(
        create,
        "[OPTIONS] NETWORK",
        "Create a network",
        (1, 1),
        (
            Flag("attachable", "bool", "Let containers join by hand"),
            Flag("aux-address", "map", "Keep this address free, name=address"),
            Flag("config-from", "string", "Copy the configuration of this network"),
            Flag("config-only", "bool", "Create a configuration for others only"),
            Flag("driver,d", "string", "Driver of the network", "bridge"),
            Flag("gateway", "strings", "Gateway of a subnet"),
            Flag("ingress", "bool", "Create a swarm's routing mesh"),
            Flag("internal", "bool", "Cut it off from other networks"),
            Flag("ip-range", "strings", "Give containers addresses of this range"),
            Flag("ipam-driver", "string", "Driver that manages addresses", "default"),
            Flag("ipam-opt", "map", "Set an option of the address manager"),
            Flag("ipv4", "bool", "Give IPv4 addresses", True),
            Flag("ipv6", "bool", "Give IPv6 addresses"),
            Flag("label", "list", "Set a label", check=check_label),
            Flag("opt,o", "map", "Set an option of the driver"),
            Flag("scope", "string", "Scope of the network"),
            Flag("subnet", "strings", "Subnet in CIDR form"),
        ),
    ),
    "network connect": Command(
        connect,
        "[OPTIONS] NETWORK CONTAINER",
        "Connect a container to a network",
        (2, 2),
        (
            Flag("alias", "strings", "Another name of the container on the network"),
            Flag("driver-opt", "strings", "Set an option of the driver"),
            Flag("gw-priority", "int", "The highest priority gives the default gateway"),
            Flag("ip", "string", "IPv4 address, such as 172.30.100.104"),
            Flag("ip6", "string", "IPv6 address, such as 2001:db8::33"),
            Flag("link", "list", "Link to another container", check=check_link),
            Flag("link-local-ip", "strings", "Link-local address"),
        ),
    ),
    "network disconnect": Command(
        disconnect,
        "[OPTIONS] NETWORK CONTAINER",
        "Disconnect a container from a network",
        (2, 2),
        (Flag("force,f", "bool", "Disconnect it even if the network is gone"),),
    ),
    "network rm": Command(
        remove,
        "NETWORK [NETWORK...]",
        "Remove networks",
        (1, -1),
        (Flag("force,f", "bool", "Do not mind networks that do not exist"),),
        aliases="pier network rm, pier network remove",
    ),
}
