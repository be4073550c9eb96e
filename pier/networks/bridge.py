"""Bridge devices, and what of the address space the host already uses. Blocking; call in a thread.

A device is named after its network; its alias, `pier:<instance>`, says which daemon made it. Only
devices with this daemon's alias are ever removed.
"""

import errno
import secrets
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from pathlib import Path

from pier.errors import Failed
from pier.linux import netlink, netns
from pier.linux.netlink import Link, RouteSocket
from pier.networks.model import Network

IPNetwork = IPv4Network | IPv6Network

_RESOLV_CONF = Path("/etc/resolv.conf")
_ensuring = threading.Lock()
"""A container may start on a network, or the watch mend it, while it is still being made."""
_BR_NETFILTER = "/proc/sys/net/bridge/bridge-nf-call-"


class NotABridge(Failed):
    def __init__(self, name: str) -> None:
        super().__init__(f"{name} exists already and is not a bridge; choose another bridge name")


class BridgeMissing(Failed):
    """Somebody removed the device; see `mend`."""

    def __init__(self, name: str) -> None:
        super().__init__(f"bridge {name} is gone")


def alias_of(instance: str, endpoint_id: str = "") -> str:
    """What marks a link as this daemon's: a bridge, or the veth of an endpoint."""
    return f"pier:{instance}:{endpoint_id}" if endpoint_id else f"pier:{instance}"


def ensure(network: Network, instance: str) -> int:
    """Make the bridge of `network` exist and be as the network says. Its index.

    One that somebody else made is used as it is, and given the addresses it lacks.
    """
    with _ensuring, RouteSocket() as host:
        link = host.find_link(network.bridge)
        if link is None:
            host.request(
                netlink.create_bridge(network.bridge, mtu=network.mtu, address=_own_mac(network))
            )
            link = host.find_link(network.bridge)
            assert link is not None
        elif link.kind != "bridge":
            raise NotABridge(network.bridge)
        # The kernel gives no alias at creation: a daemon may have been killed just before this.
        if not link.alias and link.address == _own_mac(network):
            host.request(netlink.set_link(link.index, alias=alias_of(instance)))
        _set_sysctls(network)
        _add_addresses(host, link, network)
        host.request(netlink.set_link(link.index, up=True))
        return link.index


def check_present(networks: Iterable[Network]) -> None:
    """Raise BridgeMissing for the first of `networks` whose device is not there."""
    with RouteSocket() as host:
        for network in networks:
            if network.bridge and host.find_link(network.bridge) is None:
                raise BridgeMissing(network.bridge)


def mend(network: Network, instance: str, hairpins: Mapping[str, bool]) -> None:
    """`ensure`, and plug those endpoints in that have lost the bridge: it was deleted.

    hairpins: by the veth of each running endpoint, see `plug`. Containers notice nothing but a
    pause: the new device has the address of the old one.
    """
    index = ensure(network, instance)
    with RouteSocket() as host:
        for veth, hairpin in hairpins.items():
            link = host.find_link(veth)
            if link is not None and link.master != index:
                plug(host, link.index, index, network, hairpin=hairpin)


def plug(host: RouteSocket, veth: int, bridge: int, network: Network, *, hairpin: bool) -> None:
    """Make a veth a port of the bridge.

    hairpin: the container may reach itself by a port it publishes. Where br_netfilter is on, the
    address is translated inside the bridge, which sends nothing back to where it came from.
    """
    isolated = not network.icc and not _bridge_filters(network)
    host.request(
        netlink.set_link(veth, master=bridge, up=True),
        netlink.set_bridge_port(veth, isolated=isolated, hairpin=hairpin),
    )


def _bridge_filters(network: Network) -> bool:
    """Bridged packets pass the firewall, which then keeps containers apart where icc is off.

    An isolated port does the same without, but would then stop published ports as well: their
    addresses are translated inside the bridge.
    """
    families = ("iptables", "ip6tables") if network.pool6 else ("iptables",)
    return all(_read(Path(_BR_NETFILTER + family)).strip() == "1" for family in families)


def remove(name: str, instance: str) -> None:
    """Remove the bridge `name`, if this daemon made it. It may be gone already."""
    with RouteSocket() as host:
        link = host.find_link(name)
        if link is not None and link.alias == alias_of(instance):
            _delete(host, link)


def sweep(instance: str, bridges: Collection[str], endpoints: Collection[str]) -> Sequence[str]:
    """Remove this daemon's links that belong to none of `bridges`, none of `endpoints` (IDs)."""
    keep = {alias_of(instance, endpoint) for endpoint in endpoints}
    swept = []
    with RouteSocket() as host:
        for link in host.links():
            ours = link.alias == alias_of(instance) and link.name not in bridges
            veth = link.alias.startswith(alias_of(instance) + ":") and link.alias not in keep
            if ours or veth:
                _delete(host, link)
                swept.append(link.name)
    return swept


def used_by_host() -> Sequence[IPNetwork]:
    """Destinations of routes, and nameservers: a new subnet must not hide them."""
    with RouteSocket() as host:
        routes = [route for route in host.routes() if not route.is_link_local]
    return [*routes, *map(ip_network, nameservers(_read(_RESOLV_CONF)))]


def nameservers(text: str) -> list[str]:
    """The valid addresses on `nameserver` lines of a resolv.conf, without scopes."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                found.append(str(ip_address(words[1].partition("%")[0])))
            except ValueError:
                continue
    return found


def allow_forwarding(version: int) -> None:
    """Let the host pass packets on. Left alone if it does already."""
    name = "net/ipv4/ip_forward" if version == 4 else "net/ipv6/conf/all/forwarding"
    if _read(Path("/proc/sys", name)).strip() == "0":
        netns.write_sysctl(name.replace("/", "."), "1")


def random_mac() -> str:
    """A random address, locally administered, not multicast."""
    data = bytearray(secrets.token_bytes(6))
    data[0] = (data[0] & 0xFC) | 0x02
    return data.hex(":")


def _own_mac(network: Network) -> str:
    """The network's: neighbours remember it when the device is made again."""
    data = bytearray(bytes.fromhex(network.id[:12]))
    data[0] = (data[0] & 0xFC) | 0x02
    return data.hex(":")


def _add_addresses(host: RouteSocket, link: Link, network: Network) -> None:
    present = host.addresses(link.index)
    for pool in network.spec.pools:
        gateway = ip_address(pool.gateway)
        if gateway.packed in present or network.gateway_withheld:
            continue
        prefix = ip_network(pool.subnet).prefixlen
        host.request(netlink.add_address(link.index, ip_interface(f"{gateway}/{prefix}")))


def _set_sysctls(network: Network) -> None:
    # A dot in a device's name is a slash to sysctl(8).
    device = network.bridge.replace(".", "/")
    # Clients on the host reach published ports on 127.0.0.1; see firewall's `guard`.
    netns.write_sysctl(f"net.ipv4.conf.{device}.route_localnet", "1")
    if Path("/proc/sys/net/ipv6").is_dir():
        netns.write_sysctl(f"net.ipv6.conf.{device}.accept_ra", "0")
        disabled = "0" if network.pool6 else "1"
        netns.write_sysctl(f"net.ipv6.conf.{device}.disable_ipv6", disabled)


def _delete(host: RouteSocket, link: Link) -> None:
    try:
        host.request(netlink.delete_link(link.index))
    except OSError as error:
        if error.errno != errno.ENODEV:  # it went with its namespace, just now
            raise


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
