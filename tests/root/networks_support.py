"""A host of its own for every test of pier.networks, on the real kernel.

A thread in a fresh network namespace, in which a whole Networks lives, with another namespace as
the world outside. Nothing of it reaches the machine, and nothing is left when the thread ends.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_interface
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import dns.reversename
import dns.rrset

from pier.events import Events
from pier.linux import netlink, netns
from pier.linux.netlink import RouteSocket
from pier.networks.model import (
    AddressPool,
    EndpointRequest,
    NetworkSettings,
    PortRequest,
    SandboxRequest,
)
from pier.networks.networks import Networks
from pier.store.database import Database

SETTINGS = NetworkSettings(
    bridge="ptst0",
    bip="10.213.0.1/24",
    address_pools=(AddressPool("10.213.128.0/17", 24),),
    ready_sandboxes=2,
)
HOST, OUTSIDE = "10.213.100.1", "10.213.100.2"


class World:
    """One host with one daemon's networks, and the world outside."""

    def __init__(self, database: Path, outside: int) -> None:
        self.path, self.outside = database, outside
        self.database = Database(database)
        self.events = Events()
        self.networks = Networks(self.database, self.events, SETTINGS)

    @staticmethod
    def container_id(number: int) -> str:
        return f"{number:012x}".ljust(64, "0")

    def container(self, number: int, name: str = "") -> str:
        id_ = self.container_id(number)
        self.database.execute(
            "INSERT INTO containers VALUES (?, ?, '', 'running', '{}', '[]', '{}', 0)",
            (id_, name or f"c{number}"),
        )
        return id_

    async def restarted(self) -> None:
        """As after kill -9: nothing was closed properly, all descriptors are gone."""
        old = self.networks
        if old._watch is not None:
            old._watch.cancel()
        await old._attachments.close()
        await old._stack.aclose()
        await old._pool.close()
        await old._table._nft.close()
        self.networks = Networks(self.database, self.events, SETTINGS)
        await self.networks.open()


def on_a_host(tmp_path: Path, body: Callable[[World], Awaitable[None]]) -> None:
    async def live(outside: int) -> None:
        world = World(tmp_path / "pier.db", outside)
        try:
            await world.networks.open()
            await body(world)
        finally:
            for row in world.database.execute("SELECT id FROM containers").fetchall():
                await world.networks.take_down(row["id"])
            await world.networks.close()
            world.database.close()

    def host(fd: int) -> None:
        outside, theirs = netns.create(lambda fd: (fd, RouteSocket()))
        with RouteSocket() as ours:
            ours.request(netlink.create_veth("ptstw", "eth0", peer_netns_fd=outside))
            for route, name, address in ((ours, "ptstw", HOST), (theirs, "eth0", OUTSIDE)):
                link, lo = route.find_link(name), route.find_link("lo")
                assert link is not None
                assert lo is not None
                route.request(
                    netlink.set_link(lo.index, up=True),
                    netlink.set_link(link.index, up=True),
                    netlink.add_address(link.index, ip_interface(f"{address}/24")),
                )
                if route is theirs:  # it knows the way to containers, as a neighbour might
                    route.request(netlink.default_route(ip_address(HOST), link.index))
        try:
            asyncio.run(live(outside))
        finally:
            theirs.close()
            os.close(outside)
        os.close(fd)

    netns.create(host)


def here() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def server(fd: int, port: int, address: str = "0.0.0.0") -> Iterator[None]:
    """Answers every TCP connection with the client's address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = netns.socket_in(fd, family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((address, port))
    listening.listen()

    def serve() -> None:
        while True:
            try:
                connection, peer = listening.accept()
            except OSError:
                return
            with connection:
                connection.sendall(peer[0].encode())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def ask(fd: int, address: str, port: int, timeout_s: float = 3.0) -> str:
    """The address the server there saw; "" if it cannot be reached."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with netns.socket_in(fd, family, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_s)
        try:
            client.connect((address, port))
            return client.recv(100).decode()
        except OSError:
            return ""


async def reach(fd: int, address: str, port: int, timeout_s: float = 3.0) -> str:
    return await asyncio.to_thread(ask, fd, address, port, timeout_s)


def request(
    id_: str, *networks: str, name: str = "", ports: tuple[PortRequest, ...] = ()
) -> SandboxRequest:
    return SandboxRequest(
        container_id=id_,
        name=name or "c",
        hostname=id_[:12],
        endpoints={network: EndpointRequest() for network in networks},
        ports=ports,
    )


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def set_br_netfilter(value: str, tables: str = "iptables") -> None:
    path = Path(f"/proc/sys/net/bridge/bridge-nf-call-{tables}")
    if path.exists():  # the module is there: whether it is on, somebody else decides
        path.write_text(value)


def resolve(name: str, kind: str = "A", *, tcp: bool = False) -> list[str]:
    """What 127.0.0.11 says, from the namespace of the calling thread."""
    query = dns.message.make_query(name, kind)
    ask_by = dns.query.tcp if tcp else dns.query.udp
    response = ask_by(query, "127.0.0.11", timeout=3)
    data = sorted(item.to_text() for rrset in response.answer for item in rrset)
    return data or [dns.rcode.to_text(response.rcode())]


async def lookup(fd: int, name: str, kind: str = "A", *, tcp: bool = False) -> list[str]:
    return await asyncio.to_thread(netns.run_in, fd, lambda: resolve(name, kind, tcp=tcp))
