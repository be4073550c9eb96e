"""A container speaks in nobody else's name: it sends from addresses of its bridge's subnets."""

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_interface
from pathlib import Path

import pytest

from pier.linux import netlink, netns
from pier.linux.netlink import RouteSocket
from pier.networks.model import NetworkSpec
from tests.root.networks_support import (
    HOST,
    OUTSIDE,
    World,
    here,
    on_a_host,
    reach,
    request,
    server,
    set_br_netfilter,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

PORT = 9000
FOREIGN, NEIGHBOUR, FOREIGN6 = "9.9.9.9", "10.213.100.77", "2001:db8::9"


def give(fd: int, *addresses: str) -> None:
    """What a container with CAP_NET_ADMIN, or a raw socket, could do itself."""

    def add() -> None:
        with RouteSocket() as route:
            lo = route.find_link("lo")
            assert lo is not None
            for address in addresses:
                route.request(netlink.add_address(lo.index, ip_interface(address)))

    netns.run_in(fd, add)


def route_on_host(address: str, gateway: str) -> None:
    way = ["via", gateway, "dev", "ptst0"]
    subprocess.run(["ip", "route", "add", f"{address}/32", *way], check=True)


@contextmanager
def listening(fd: int, address: str) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with netns.socket_in(fd, family, socket.SOCK_DGRAM) as sock:
        sock.bind((address, PORT))
        sock.settimeout(3)
        yield sock


def send(fd: int, source: str, target: str) -> None:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    with netns.socket_in(fd, family, socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        sock.sendto(source.encode(), (target, PORT))


async def heard(sock: socket.socket, fd: int, sources: tuple[str, ...], target: str) -> set[str]:
    """Which of `sources` get through; the last one must, and comes after all the others."""

    def work() -> set[str]:
        for source in sources:
            send(fd, source, target)
        found: set[str] = set()
        while sources[-1] not in found:
            found.add(sock.recv(100).decode())
        return found

    return await asyncio.to_thread(work)


def test_the_host_and_the_world_hear_no_foreign_names(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.networks.create(NetworkSpec(name="a", enable_ipv6=True))
        await world.networks.create(NetworkSpec(name="b"))
        one = await world.networks.bring_up(request(world.container(1), "a"))
        two = await world.networks.bring_up(request(world.container(2), "b"))
        own, other = one.endpoints[0], two.endpoints[0]
        give(
            one.netns_fd, f"{FOREIGN}/32", f"{other.ipv4}/32", f"{NEIGHBOUR}/32", f"{FOREIGN6}/128"
        )
        forged = (FOREIGN, other.ipv4, own.ipv4)
        with listening(here(), HOST) as sock:
            assert await heard(sock, one.netns_fd, forged, HOST) == {own.ipv4}
        gateway = world.networks.get("a").spec.pools[0].gateway
        with listening(here(), gateway) as sock:
            assert await heard(sock, one.netns_fd, (NEIGHBOUR, *forged), gateway) == {own.ipv4}
        with listening(world.outside, OUTSIDE) as sock:
            assert await heard(sock, one.netns_fd, forged, OUTSIDE) == {own.ipv4}
        gateway6 = next(p.gateway for p in world.networks.get("a").spec.pools if ":" in p.gateway)
        with listening(here(), gateway6) as sock:
            assert await heard(sock, one.netns_fd, (FOREIGN6, own.ipv6), gateway6) == {own.ipv6}

    on_a_host(tmp_path, body)


def test_what_the_host_routes_to_a_container_may_come_from_it(tmp_path: Path) -> None:
    """A container that is the way to a VPN, say."""

    async def body(world: World) -> None:
        one = await world.networks.bring_up(request(world.container(1), "bridge"))
        give(one.netns_fd, f"{FOREIGN}/32")
        route_on_host(FOREIGN, one.endpoints[0].ipv4)
        with server(one.netns_fd, 80), server(here(), 90):
            assert await reach(here(), FOREIGN, 80) != ""
        with listening(world.outside, OUTSIDE) as sock:
            own = one.endpoints[0].ipv4
            assert await heard(sock, one.netns_fd, (FOREIGN, own), OUTSIDE) == {FOREIGN, own}

    on_a_host(tmp_path, body)


@pytest.mark.parametrize("br_netfilter", ["0", "1"])
def test_inside_a_network_containers_may_route(tmp_path: Path, br_netfilter: str) -> None:
    """Nodes of a cluster in containers pass on the packets of their pods."""

    async def body(world: World) -> None:
        set_br_netfilter(br_netfilter)
        one = await world.networks.bring_up(request(world.container(1), "bridge"))
        two = await world.networks.bring_up(request(world.container(2), "bridge"))
        give(one.netns_fd, f"{FOREIGN}/32")
        target = two.endpoints[0].ipv4
        with listening(two.netns_fd, target) as sock:
            own = one.endpoints[0].ipv4
            assert await heard(sock, one.netns_fd, (FOREIGN, own), target) == {FOREIGN, own}

    on_a_host(tmp_path, body)
