"""Which subnet a network gets, and which address an endpoint gets. Pure; errors in Docker's words.

Addresses are handed out serially: the search goes on where the last one ended, so what was
released recently is used again last (caches of neighbours have forgotten it by then).
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from pier.errors import Failed, Forbidden, InvalidArgument, NotSupported
from pier.networks.model import AddressPool, EndpointRequest, Network, NetworkSpec, Pool

_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}\Z")
_MULTICAST = 1
_INTERFACE = re.compile(r"(?!(?:lo|all|default)\Z)[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}\Z")
_ENDPOINT_SYSCTLS = "com.docker.network.endpoint.sysctls"
_INTERFACE_SYSCTL = re.compile(r"net\.(ipv4|ipv6|mpls)\.(\w+)\.IFNAME\.(\w+)", re.IGNORECASE)
IPNetwork = IPv4Network | IPv6Network
_UNUSABLE = (
    (ip_network("0.0.0.0/8"), "it has addresses of this host on this network"),
    (ip_network("127.0.0.0/8"), "it has loopback addresses"),
    (ip_network("224.0.0.0/4"), "it has multicast addresses"),
    (ip_network("::1/128"), "it has the loopback address"),
    (ip_network("ff00::/8"), "it has multicast addresses"),
)
"""What no interface of a bridge or a container can have; RFC 6890. Of the rest, let them try."""
_BROADCAST = ip_network("255.255.255.255/32")
_LINK_LOCAL = ip_network("fe80::/64")


class InvalidNetworkConfig(InvalidArgument):
    def __init__(self, problems: Sequence[str]) -> None:
        mark = "* " if len(problems) > 1 else ""
        super().__init__("invalid network config:\n" + "\n".join(mark + p for p in problems))


class PoolOverlaps(Forbidden):
    def __init__(self) -> None:
        super().__init__("invalid pool request: Pool overlaps with other one on this address space")


class UnusableSubnet(InvalidArgument):
    def __init__(self, subnet: IPNetwork, reason: str) -> None:
        super().__init__(f"subnet '{subnet}' is not allowed: {reason}")


class PoolsExhausted(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("all predefined address pools have been fully subnetted")


class NoAddressLeft(Failed):
    def __init__(self, network: Network, version: int) -> None:
        super().__init__(
            f"no available IPv{version} addresses on this network's address pools: "
            f"{network.name} ({network.id})"
        )


class AddressInUse(Forbidden):
    def __init__(self) -> None:
        super().__init__("Address already in use")


class InvalidEndpoint(InvalidArgument):
    def __init__(self, problem: str) -> None:
        super().__init__("invalid endpoint settings:\n" + problem)


def decide_pools(
    spec: NetworkSpec,
    *,
    available: Sequence[AddressPool],
    networks: Sequence[IPNetwork],
    host: Sequence[IPNetwork],
) -> NetworkSpec:
    """`spec` with a subnet and a gateway for each family it has.

    A subnet that was asked for may not overlap one of `networks`; one chosen here from
    `available` keeps clear of what the host uses, too.
    """
    asked = [pool for pool in spec.pools if pool != Pool()]
    if problems := [line for pool in asked for line in _problems(pool)]:
        raise InvalidNetworkConfig(problems)
    taken = list(networks)
    decided = []
    for pool in asked:
        subnet = ip_network(pool.subnet)
        if subnet.version == 6 and not spec.enable_ipv6:
            continue
        if _overlaps(subnet, taken):
            raise PoolOverlaps
        _check_usable(subnet)
        taken.append(subnet)
        decided.append(pool)
    for version, enabled in ((4, spec.enable_ipv4), (6, spec.enable_ipv6)):
        if enabled and not any(ip_network(p.subnet).version == version for p in decided):
            subnet = choose_subnet(available, [*taken, *host], version)
            decided.append(Pool(subnet=str(subnet)))
    return replace(spec, pools=tuple(map(_with_gateway, decided)), chosen_subnet=bool(asked))


def choose_subnet(
    available: Sequence[AddressPool], taken: Sequence[IPNetwork], version: int
) -> IPNetwork:
    """The first subnet of `available` that overlaps nothing of `taken`."""
    for candidate in _subnets(available, version):
        if not _overlaps(candidate, taken):
            return candidate
    raise PoolsExhausted


def allocate(network: Network, pool: Pool, used: Collection[str], last: str) -> str:
    """The next free address of `pool` after `last` ("": from the beginning)."""
    subnet = ip_network(pool.subnet)
    span = ip_network(pool.ip_range) if pool.ip_range else subnet
    first, end = int(span.network_address), int(span.broadcast_address)
    reserved = {int(ip_address(pool.gateway))}
    if not _is_pair(subnet):
        reserved.add(int(subnet.network_address))
    reserved |= {int(ip_address(address)) for address in pool.auxiliary.values()}
    if subnet.version == 4 and subnet.prefixlen < 31:
        reserved.add(int(subnet.broadcast_address))
    reserved |= {int(ip_address(address)) for address in used}
    start = int(ip_address(last)) + 1 if last else first
    start = start if first <= start <= end else first
    for number in _circle(first, start, end):
        if number not in reserved:
            return str(subnet.network_address + (number - int(subnet.network_address)))
    raise NoAddressLeft(network, subnet.version)


def claim(pool: Pool, address: str, used: Collection[str]) -> str:
    """`address`, in canonical form, if it can be had."""
    wanted = ip_address(address)
    if wanted not in ip_network(pool.subnet):
        raise InvalidArgument(
            f"Invalid address {address}: It does not belong to any of this network's subnets"
        )
    text = str(wanted)
    if text in used or text == pool.gateway or text in pool.auxiliary.values():
        raise AddressInUse
    return text


def endpoint_sysctls(request: EndpointRequest, interface: str) -> dict[str, str]:
    """`com.docker.network.endpoint.sysctls`, "net.ipv4.conf.IFNAME.forwarding=1,…", for
    `interface`. Raises InvalidEndpoint for what is not a setting of the interface's own.
    """
    found = {}
    for entry in filter(None, request.driver_options.get(_ENDPOINT_SYSCTLS, "").split(",")):
        name, equals, value = entry.partition("=")
        if not equals or not _INTERFACE_SYSCTL.fullmatch(name):
            raise InvalidEndpoint(
                f"invalid sysctl {entry!r} in {_ENDPOINT_SYSCTLS}: it must be like "
                "net.ipv4.conf.IFNAME.log_martians=1"
            )
        # The docker client makes all of it lower case. A slash is a dot inside a part: sysctl(8).
        parts = name.split(".")
        found[".".join((*parts[:3], interface.replace(".", "/"), *parts[4:]))] = value
    return found


def _check_interface(request: EndpointRequest) -> None:
    """Its address and its name, as far as one was chosen."""
    mac = request.mac_address
    if mac and not (_MAC.match(mac) and not int(mac[:2], 16) & _MULTICAST):
        raise InvalidEndpoint(f"invalid MAC address: address {mac}: invalid MAC address")
    device = request.driver_options.get("com.docker.network.endpoint.ifname", "")
    if device and not _INTERFACE.match(device):
        raise InvalidEndpoint(f"invalid interface name {device!r}")


def check_request(network: Network, request: EndpointRequest) -> None:
    """Refuse addresses the network cannot give, as Docker does before it tries."""
    _check_interface(request)
    if request.aliases and network.predefined:
        raise InvalidArgument("network-scoped aliases are only supported for user-defined networks")
    if request.link_local_ips:
        raise NotSupported("link-local addresses of endpoints are not supported by Pier")
    endpoint_sysctls(request, "IFNAME")
    for text, pool in ((request.ipv4, network.pool4), (request.ipv6, network.pool6)):
        if not text:
            continue
        if network.predefined:
            raise InvalidArgument(
                "invalid config for network "
                f"{network.name}: invalid endpoint settings:\n"
                "user specified IP address is supported on user defined networks only"
            )
        try:
            address = ip_address(text)
        except ValueError:
            raise InvalidEndpoint(
                f"invalid IPv{'6' if ':' in text else '4'} address: {text}"
            ) from None
        if not network.spec.chosen_subnet:
            raise InvalidEndpoint(
                "user specified IP address is supported only when connecting to networks "
                "with user configured subnets"
            )
        if pool is None or address not in ip_network(pool.subnet):
            raise InvalidEndpoint(f"no configured subnet or ip-range contain the IP address {text}")


def _problems(pool: Pool) -> Iterator[str]:
    for text in (pool.subnet, pool.ip_range, pool.gateway, *pool.auxiliary.values()):
        if "%" in text:
            # ipaddress lets a scope be any text, and this is written into the firewall's rules.
            yield f"invalid address {text}: a scope has no meaning here"
            return
    try:
        subnet = ip_network(pool.subnet, strict=False)
    except ValueError:
        yield f"invalid subnet {pool.subnet}: invalid CIDR block notation"
        return
    if not _is_block(pool.subnet, subnet):
        yield f"invalid subnet {pool.subnet}: it should be {subnet}"
    if pool.ip_range:
        yield from _range_problems(pool.ip_range, subnet)
    if pool.gateway:
        yield from _address_problems("gateway", pool.gateway, subnet)
    for address in pool.auxiliary.values():
        yield from _address_problems("auxiliary address", address, subnet)


def _is_block(text: str, block: IPNetwork) -> bool:
    """Whether `text` names the block's first address, in whatever spelling, and its length."""
    address, _, length = text.partition("/")
    return length == str(block.prefixlen) and ip_address(address) == block.network_address


def _range_problems(text: str, subnet: IPNetwork) -> Iterator[str]:
    try:
        span = ip_network(text, strict=False)
    except ValueError:
        yield f"invalid ip-range {text}: invalid CIDR block notation"
        return
    if span.version != subnet.version:
        yield f"invalid ip-range {text}: parent subnet is an IPv{subnet.version} block"
        return
    if span.prefixlen < subnet.prefixlen:
        yield f"invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}"
    if not _is_block(text, span):
        yield f"invalid ip-range {text}: it should be {span}"
    if not span.overlaps(subnet):
        yield f"invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range"


def _address_problems(what: str, text: str, subnet: IPNetwork) -> Iterator[str]:
    try:
        address = ip_address(text)
    except ValueError:
        yield f"invalid {what} {text}: invalid address"
        return
    if address.version != subnet.version:
        yield f"invalid {what} {text}: parent subnet is an IPv{subnet.version} block"
    elif address not in subnet:
        yield f"invalid {what} {text}: parent subnet {subnet} doesn't contain this address"


def _with_gateway(pool: Pool) -> Pool:
    """The first address of the range is the gateway, unless another was asked for."""
    if pool.gateway:
        return replace(pool, gateway=str(ip_address(pool.gateway)))
    span = ip_network(pool.ip_range or pool.subnet)
    subnet = ip_network(pool.subnet)
    first = span.network_address
    skipped = first == subnet.network_address and not _is_pair(subnet)
    return replace(pool, gateway=str(first + 1 if skipped else first))


def _is_pair(subnet: IPNetwork) -> bool:
    """Two addresses or one: none stands for the subnet itself. RFC 3021, RFC 6164."""
    return subnet.max_prefixlen - subnet.prefixlen <= 1


def _check_usable(subnet: IPNetwork) -> None:
    for unusable, reason in _UNUSABLE:
        if _overlaps(subnet, [unusable]):
            raise UnusableSubnet(subnet, reason)
    if subnet == _BROADCAST:
        raise UnusableSubnet(subnet, "it is the broadcast address")
    if subnet != _LINK_LOCAL and _overlaps(subnet, [_LINK_LOCAL]):
        raise UnusableSubnet(subnet, f"it clashes with the link-local prefix '{_LINK_LOCAL}'")


def _subnets(available: Sequence[AddressPool], version: int) -> Iterator[IPNetwork]:
    for pool in available:
        base = ip_network(pool.base)
        if base.version == version:
            yield from base.subnets(new_prefix=pool.size)


def _overlaps(subnet: IPNetwork, others: Sequence[IPNetwork]) -> bool:
    return any(subnet.version == o.version and subnet.overlaps(o) for o in others)


def _circle(first: int, start: int, end: int) -> Iterator[int]:
    yield from range(start, end + 1)
    yield from range(first, start)
