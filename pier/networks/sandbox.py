"""Network namespaces of containers: made ready, furnished with interfaces, let go of.

Blocking functions, a millisecond or so each; callers use a thread, since the kernel's one lock
for all of networking may be held by somebody else for much longer.

A sandbox is held by a descriptor, by a netlink socket inside it, and by the container's processes.
When all are gone the kernel removes it and its ends of the veth pairs, and with those ours.
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface

from pier.linux import netlink, netns
from pier.linux.netlink import Message, RouteSocket
from pier.networks import bridge
from pier.networks.model import Endpoint, gateway_order

_SYSCTLS: Mapping[str, str] = {
    "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
    # An address that was another container's a moment ago is found at once.
    "net.ipv4.conf.default.arp_notify": "1",
    # lo keeps ::1; other interfaces get IPv6 when their network has it.
    "net.ipv6.conf.default.disable_ipv6": "1",
}
_SPARE = "eth0"


@dataclass(slots=True)
class Namespace:
    """A namespace in our hands. spare: host's end of a veth that waits inside for its use."""

    fd: int
    inside: RouteSocket
    spare: str = ""
    veths: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        """Where another process finds it, as long as this one holds it."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"


def make(*, with_veth: bool) -> Namespace:
    """A new namespace with lo up and, if wanted, a veth pair that is connected to nothing yet."""
    namespace = netns.create(_furnish)
    if with_veth:
        try:
            namespace.spare = f"veth{secrets.token_hex(4)}"
            with RouteSocket() as host:
                host.request(
                    netlink.create_veth(namespace.spare, _SPARE, peer_netns_fd=namespace.fd)
                )
        except OSError:
            let_go([namespace])
            raise
    return namespace


def of_process(pid: int, endpoints: Iterable[Endpoint]) -> Namespace:
    """The namespace of a container that is running already."""
    fd = netns.of_process(pid)
    try:
        inside = netns.run_in(fd, RouteSocket)
    except OSError:
        os.close(fd)
        raise
    return Namespace(fd, inside, veths=[e.veth for e in endpoints if e.interface])


def attach(namespace: Namespace, endpoint: Endpoint, instance: str, *, hairpin: bool) -> None:
    """Give the namespace the interface of `endpoint`, connected and with its addresses.

    hairpin: see `bridge.plug`.
    """
    network = endpoint.network
    with RouteSocket() as host:
        outer_name = namespace.spare
        if outer_name:
            inner_name, namespace.spare = _SPARE, ""
        else:
            outer_name, inner_name = endpoint.veth, f"veth{secrets.token_hex(4)}"
            host.request(netlink.create_veth(outer_name, inner_name, peer_netns_fd=namespace.fd))
        namespace.veths.append(endpoint.veth)
        outer, port_of = _index(host, outer_name), _index(host, network.bridge)
        alias = bridge.alias_of(instance, endpoint.id)
        host.request(netlink.set_link(outer, name=endpoint.veth, mtu=network.mtu, alias=alias))
        bridge.plug(host, outer, port_of, network, hairpin=hairpin)
    inner = _index(namespace.inside, inner_name)
    rename = endpoint.interface if endpoint.interface != inner_name else ""
    namespace.inside.request(
        netlink.set_link(inner, name=rename, mtu=network.mtu, address=endpoint.mac)
    )
    if endpoint.ipv6:
        device = endpoint.interface.replace(".", "/")
        # No other container's advertisement is to change the routes or the addresses.
        sysctls = {"accept_ra": "0", "disable_ipv6": "0"}
        set_sysctls(
            namespace, {f"net.ipv6.conf.{device}.{name}": value for name, value in sysctls.items()}
        )
    # Addresses first: with arp_notify the neighbours are told of them as the link comes up.
    namespace.inside.request(*_addresses(inner, endpoint), netlink.set_link(inner, up=True))


def detach(namespace: Namespace, endpoint: Endpoint) -> None:
    """Take the interface of `endpoint` away again. It may be gone already."""
    with RouteSocket() as host:
        link = host.find_link(endpoint.veth)
        if link is not None:
            host.request(netlink.delete_link(link.index))
    with contextlib.suppress(ValueError):
        namespace.veths.remove(endpoint.veth)


def set_ways_out(namespace: Namespace, endpoints: Sequence[Endpoint]) -> None:
    """One default route for each family, by the best endpoint that has a gateway."""
    ordered = gateway_order(endpoints)
    best = (
        next(((e.gateway4, e.interface) for e in ordered if e.gateway4), None),
        next(((e.gateway6, e.interface) for e in ordered if e.gateway6), None),
    )
    namespace.inside.request(
        *(
            netlink.default_route(ip_address(way[0]), _index(namespace.inside, way[1]))
            for way in best
            if way
        )
    )


def set_sysctls(namespace: Namespace, sysctls: Mapping[str, str]) -> None:
    if sysctls:
        netns.run_in(namespace.fd, lambda: _write(sysctls))


def let_go(namespaces: Sequence[Namespace]) -> None:
    """Release namespaces. Their veths are silent at once and gone a little later.

    They are not deleted one by one: that takes 15 to 35 ms each, during which nobody can change
    any network; the kernel removes those of dead namespaces in batches.
    """
    with RouteSocket() as host:
        links = (
            link
            for namespace in namespaces
            for veth in namespace.veths
            if (link := host.find_link(veth)) is not None
        )
        silence = [netlink.set_link(link.index, up=False) for link in links]
        try:
            host.request(*silence)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
        finally:
            for namespace in namespaces:
                namespace.inside.close()
                os.close(namespace.fd)


def _furnish(fd: int) -> Namespace:
    _write(_SYSCTLS)
    inside = RouteSocket()
    try:
        inside.request(netlink.set_link(_index(inside, "lo"), up=True))
    except OSError:
        inside.close()
        raise
    return Namespace(fd, inside)


def _write(sysctls: Mapping[str, str]) -> None:
    for name, value in sysctls.items():
        try:
            netns.write_sysctl(name, value)
        except FileNotFoundError:
            if not name.startswith("net.ipv6."):  # a kernel without IPv6
                raise


def _addresses(index: int, endpoint: Endpoint) -> Iterable[Message]:
    if endpoint.ipv4:
        interface = ip_interface(f"{endpoint.ipv4}/{endpoint.prefix4}")
        yield netlink.add_address(index, interface)
    if endpoint.ipv6:
        interface = ip_interface(f"{endpoint.ipv6}/{endpoint.prefix6}")
        yield netlink.add_address(index, interface)


def _index(route: RouteSocket, name: str) -> int:
    link = route.find_link(name)
    if link is None:
        raise OSError(errno.ENODEV, f"no interface {name}")
    return link.index
