"""pier.networks against the real kernel.

Every test has a host of its own: a thread in a fresh network namespace, in which a whole Networks
lives, with another namespace as the world outside. Nothing of it reaches the machine, and
nothing is left when the thread ends.
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_interface
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import dns.reversename
import dns.rrset
import pytest

from pier.errors import (
    Conflict,
    Failed,
    Forbidden,
    InvalidArgument,
    NotFound,
    NotSupported,
    PierError,
)
from pier.events import Events
from pier.linux import netlink, netns
from pier.linux.netlink import RouteSocket
from pier.networks.model import (
    AddressPool,
    EndpointRequest,
    NetworkSettings,
    NetworkSpec,
    Pool,
    PortRequest,
    SandboxRequest,
)
from pier.networks.networks import Networks
from pier.store.database import Database

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

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


@pytest.mark.parametrize("br_netfilter", ["0", "1"])
def test_a_container_is_reached_by_its_published_port(tmp_path: Path, br_netfilter: str) -> None:
    async def body(world: World) -> None:
        set_br_netfilter(br_netfilter)
        web = await world.networks.bring_up(
            request(world.container(1), "bridge", ports=(PortRequest(port=80, host_port="8080"),))
        )
        other = await world.networks.bring_up(request(world.container(2), "bridge"))
        address = web.endpoints[0].ipv4
        me = here()
        with server(web.netns_fd, 80), server(world.outside, 90):
            assert await reach(web.netns_fd, OUTSIDE, 90) == HOST  # masqueraded
            assert await reach(other.netns_fd, address, 80) == other.endpoints[0].ipv4
            assert await reach(world.outside, HOST, 8080) == OUTSIDE
            assert await reach(me, HOST, 8080) == "10.213.0.1"
            assert await reach(me, "127.0.0.1", 8080) == "10.213.0.1"
            assert await reach(me, "::1", 8080) == "10.213.0.1"
            assert await reach(other.netns_fd, HOST, 8080) == "10.213.0.1"  # hairpin
            assert await reach(web.netns_fd, HOST, 8080) == "10.213.0.1"  # to itself
            assert await reach(world.outside, address, 80, 0.3) == ""  # routed past the port
        os.close(me)
        ports = world.networks.published(web.container_id)
        assert [(p.host_ip, p.host_port) for p in ports] == [("0.0.0.0", 8080), ("::", 8080)]

    on_a_host(tmp_path, body)


def test_loopback_is_nobodys_but_the_hosts(tmp_path: Path) -> None:
    """Neither what it publishes on 127.0.0.1, nor its services there, nor its name."""

    async def body(world: World) -> None:
        local = (PortRequest(port=80, host_ip="127.0.0.1", host_port="8080"),)
        web = await world.networks.bring_up(request(world.container(1), "bridge", ports=local))
        evil = await world.networks.bring_up(request(world.container(2), "bridge"))
        me, gateway = here(), "10.213.0.1"
        for fd, way in ((world.outside, HOST), (evil.netns_fd, gateway)):
            send_loopback_to(fd, way)
        with server(web.netns_fd, 80), server(me, 90, "127.0.0.1"):
            assert await reach(me, "127.0.0.1", 8080) != ""
            for fd in (world.outside, evil.netns_fd):
                for address in (HOST, gateway, "127.0.0.1"):
                    assert await reach(fd, address, 8080, 0.3) == ""
                    assert await reach(fd, address, 90, 0.3) == ""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
            service.bind((gateway, 5353))
            service.settimeout(0.5)
            with netns.socket_in(evil.netns_fd, socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"as myself", (gateway, 5353))
                assert service.recv(100) == b"as myself"
            with netns.socket_in(evil.netns_fd, socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind(("127.0.0.2", 0))
                sender.sendto(b"as the host", (gateway, 5353))
                with pytest.raises(TimeoutError):
                    service.recv(100)
        os.close(me)

    on_a_host(tmp_path, body)


def test_strangers_cannot_take_all_descriptors(tmp_path: Path) -> None:
    """A port on [::] of a container without IPv6 is served by the daemon itself."""

    async def body(world: World) -> None:
        ports = (PortRequest(port=80, host_port="8080"),)
        web = await world.networks.bring_up(request(world.container(1), "bridge", ports=ports))
        clients = []
        # It says nothing and never closes, so every connection stays.
        with netns.socket_in(web.netns_fd, socket.AF_INET, socket.SOCK_STREAM) as silent:
            silent.bind(("0.0.0.0", 80))
            silent.listen(4096)
            before = open_descriptors()
            for _ in range(1000):
                client = socket.socket(socket.AF_INET6)
                client.setblocking(False)
                clients.append(client)
                with contextlib.suppress(BlockingIOError):
                    client.connect(("::1", 8080))
                await asyncio.sleep(0.001)
            await asyncio.sleep(1)
            taken = open_descriptors() - before - len(clients)
            for client in clients:
                client.close()
            assert 500 < taken < 1100
        await asyncio.sleep(0.5)
        with server(web.netns_fd, 80):
            assert await reach(here(), "::1", 8080) != ""

    on_a_host(tmp_path, body)


def send_loopback_to(fd: int, way: str) -> None:
    """Whoever is root in a namespace can have 127.0.0.0/8 routed elsewhere."""
    netns.run_in(fd, lambda: netns.write_sysctl("net.ipv4.conf.eth0.route_localnet", "1"))
    script = (
        f"ip route add 127.0.0.1/32 via {way} dev eth0 table 9; ip rule add pref 0 lookup 9;"
        "ip rule add pref 1 lookup local; ip rule del pref 0 lookup local"
    )
    subprocess.run(
        ["nsenter", f"--net=/proc/{os.getpid()}/fd/{fd}", "sh", "-c", script],
        check=True, capture_output=True,
    )  # fmt: skip


def test_take_down_frees_everything_twice(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        id_ = world.container(1)
        for _ in range(3):
            ports = (PortRequest(port=80, host_port="8080"),)
            up = await world.networks.bring_up(request(id_, "bridge", ports=ports))
            await world.networks.take_down(id_)
            await world.networks.take_down(id_)
            assert world.networks.endpoints(id_) == []
        assert [e.action for e in world.events.history()].count("disconnect") == 3
        await world.networks._pool.swept()
        with RouteSocket() as route:
            deadline = time.monotonic() + 5
            while route.find_link(up.endpoints[0].veth):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)
        listed = await world.networks._table._nft.list_json("table", "inet", "pier-ptst0")
        assert b"8080" not in listed

    on_a_host(tmp_path, body)


def test_a_port_is_given_once(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        ports = (PortRequest(port=80, host_port="8080"),)
        await world.networks.bring_up(request(world.container(1), "bridge", ports=ports))
        second = world.container(2)
        with pytest.raises(Failed, match=r"endpoint web \(\w{64}\): Bind for 0.0.0.0:8080 failed"):
            await world.networks.bring_up(request(second, "bridge", name="web", ports=ports))
        assert world.networks.endpoints(second) == []
        with socket.create_server(("0.0.0.0", 8081)):
            taken = (PortRequest(port=80, host_port="8081"),)
            with pytest.raises(
                Failed, match=r"failed to bind host port 0\.0\.0\.0:8081/tcp: address al"
            ):
                await world.networks.bring_up(request(second, "bridge", ports=taken))
        flexible = (PortRequest(port=80, host_port="8080-8085"), PortRequest(port=81))
        await world.networks.bring_up(request(second, "bridge", ports=flexible))
        chosen = {(p.port, p.host_port) for p in world.networks.published(second)}
        assert (80, 8081) in chosen
        assert len(chosen) == 2

    on_a_host(tmp_path, body)


def test_none_has_lo_only_and_host_is_the_hosts(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        none = await world.networks.bring_up(request(world.container(1), "none"))
        with netns.run_in(none.netns_fd, RouteSocket) as inside:
            assert [(link.name, link.up) for link in inside.links()] == [("lo", True)]
        host = await world.networks.bring_up(request(world.container(2), "host"))
        assert (host.netns_fd, host.netns_path) == (-1, "")
        assert [
            m.container_name for m in world.networks.members(world.networks.get("host").id)
        ] == ["c2"]

    on_a_host(tmp_path, body)


def test_networks_are_strangers_to_one_another(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.networks.create(NetworkSpec(name="a"))
        await world.networks.create(NetworkSpec(name="b", internal=True))
        one = await world.networks.bring_up(request(world.container(1), "bridge"))
        a = await world.networks.bring_up(
            request(world.container(2), "a", ports=(PortRequest(port=80, host_port="8080"),))
        )
        b = await world.networks.bring_up(request(world.container(3), "b"))
        b2 = await world.networks.bring_up(request(world.container(4), "b"))
        with server(a.netns_fd, 80), server(b.netns_fd, 80), server(world.outside, 90):
            assert await reach(one.netns_fd, a.endpoints[0].ipv4, 80, 0.3) == ""
            assert await reach(one.netns_fd, HOST, 8080) != ""  # published is published
            assert await reach(one.netns_fd, b.endpoints[0].ipv4, 80, 0.3) == ""
            assert await reach(b2.netns_fd, b.endpoints[0].ipv4, 80) == b2.endpoints[0].ipv4
            assert await reach(b.netns_fd, OUTSIDE, 90, 0.3) == ""
            assert await reach(b.netns_fd, a.endpoints[0].ipv4, 80, 0.3) == ""
            assert await reach(a.netns_fd, OUTSIDE, 90) == HOST

    on_a_host(tmp_path, body)


@pytest.mark.parametrize("br_netfilter", ["0", "1"])
def test_without_icc_only_what_is_published_is_reached(tmp_path: Path, br_netfilter: str) -> None:
    async def body(world: World) -> None:
        set_br_netfilter(br_netfilter)
        options = {"com.docker.network.bridge.enable_icc": "false"}
        await world.networks.create(NetworkSpec(name="a", options=options))
        ports = (PortRequest(port=80, host_port="8080"),)
        one = await world.networks.bring_up(request(world.container(1), "a", ports=ports))
        two = await world.networks.bring_up(request(world.container(2), "a"))
        with server(one.netns_fd, 80), server(world.outside, 90):
            assert await reach(two.netns_fd, one.endpoints[0].ipv4, 80, 0.3) == ""
            assert await reach(two.netns_fd, HOST, 8080) != ""
            assert await reach(two.netns_fd, OUTSIDE, 90) == HOST

    on_a_host(tmp_path, body)


@pytest.mark.parametrize("filtered", [("1", "0"), ("0", "1"), ("1", "1"), ("0", "0")])
def test_without_icc_containers_are_apart_in_both_families(
    tmp_path: Path, filtered: tuple[str, str]
) -> None:
    async def body(world: World) -> None:
        set_br_netfilter(filtered[0])
        set_br_netfilter(filtered[1], "ip6tables")
        options = {"com.docker.network.bridge.enable_icc": "false"}
        await world.networks.create(NetworkSpec(name="a", options=options, enable_ipv6=True))
        one = await world.networks.bring_up(request(world.container(1), "a"))
        two = await world.networks.bring_up(request(world.container(2), "a"))
        endpoint = one.endpoints[0]
        with server(one.netns_fd, 80), server(one.netns_fd, 81, "::"):
            assert await reach(one.netns_fd, endpoint.ipv6, 81) == endpoint.ipv6
            assert await reach(two.netns_fd, endpoint.ipv4, 80, 0.3) == ""
            assert await reach(two.netns_fd, endpoint.ipv6, 81, 0.3) == ""

    on_a_host(tmp_path, body)


def test_containers_take_no_advice_from_each_other(tmp_path: Path) -> None:
    """Router advertisements of one container would become the default route of another."""

    async def body(world: World) -> None:
        await world.networks.create(NetworkSpec(name="six", enable_ipv6=True))
        up = await world.networks.bring_up(request(world.container(1), "six"))
        interface = up.endpoints[0].interface
        path = Path(f"/proc/sys/net/ipv6/conf/{interface}/accept_ra")
        assert netns.run_in(up.netns_fd, path.read_text) == "0\n"

    on_a_host(tmp_path, body)


def test_a_flood_of_connections_to_the_dns_is_cut(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.networks.create(NetworkSpec(name="a"))
        up = await world.networks.bring_up(request(world.container(1), "a"))
        before = open_descriptors()
        sockets = [
            netns.socket_in(up.netns_fd, socket.AF_INET, socket.SOCK_STREAM) for _ in range(300)
        ]
        try:
            for each in sockets:
                each.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    each.connect(("127.0.0.11", 53))
                await asyncio.sleep(0)
            await asyncio.sleep(0.5)
            assert open_descriptors() - before - len(sockets) < 50
        finally:
            for each in sockets:
                each.close()

    on_a_host(tmp_path, body)


def test_after_a_crash_all_is_found_again(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        id_ = world.container(1)
        await world.networks.create(NetworkSpec(name="a"))
        ports = (PortRequest(port=80, host_port="8080"),)
        up = await world.networks.bring_up(request(id_, "a", ports=ports))
        process = await asyncio.create_subprocess_exec(
            "nsenter", f"--net={up.netns_path}", "sleep", "60"
        )
        try:
            fd = os.dup(up.netns_fd)
            with RouteSocket() as route:  # litter of ours, and somebody else's
                for name, alias in (("ptstlitter", "pier:ptst0:gone"), ("ptstother", "pier:other")):
                    route.request(netlink.create_veth(name, f"{name}p"[-15:], peer_netns_fd=fd))
                    link = route.find_link(name)
                    assert link is not None
                    route.request(netlink.set_link(link.index, alias=alias))
            await world.networks._table._nft.apply(["flush ruleset"])
            await world.restarted()
            with RouteSocket() as route:
                assert route.find_link("ptstlitter") is None
                assert route.find_link("ptstother") is not None
                assert route.find_link(up.endpoints[0].veth) is not None
            await world.networks.adopt(id_, process.pid)
            with server(fd, 80):
                assert await reach(world.outside, HOST, 8080) == OUTSIDE
            with pytest.raises(Failed, match="already allocated"):
                await world.networks.bring_up(request(world.container(2), "a", ports=ports))
            await world.networks.connect(request(id_, "bridge"), "bridge")
            assert [e.interface for e in world.networks.endpoints(id_)] == ["eth0", "eth1"]
            os.close(fd)
        finally:
            process.kill()
            await process.wait()

    on_a_host(tmp_path, body)


def test_connect_and_disconnect_while_it_runs(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        id_ = world.container(1)
        spec = NetworkSpec(name="b", pools=(Pool(subnet="10.213.50.0/24"),))
        await world.networks.create(spec)
        up = await world.networks.bring_up(request(id_, "bridge", name="web"))
        wanted = SandboxRequest(
            container_id=id_, name="web", endpoints={"b": EndpointRequest(ipv4="10.213.50.9")}
        )
        endpoint = await world.networks.connect(wanted, "b")
        assert (endpoint.interface, endpoint.ipv4, endpoint.prefix4) == ("eth1", "10.213.50.9", 24)
        with pytest.raises(Forbidden, match="endpoint with name web already exists in network b"):
            await world.networks.connect(wanted, "b")
        with pytest.raises(Forbidden, match=r'network b has active endpoints \(name:"c1" id:"'):
            await world.networks.remove("b")
        with server(world.outside, 90):
            await world.networks.disconnect(wanted, "bridge")
            assert await reach(up.netns_fd, OUTSIDE, 90) == HOST
        await world.networks.disconnect(wanted, "b")
        with pytest.raises(Forbidden, match="container web is not connected to network b"):
            await world.networks.disconnect(wanted, "b")
        await world.networks.remove("b")
        with netns.run_in(up.netns_fd, RouteSocket) as inside, RouteSocket() as route:
            assert [link.name for link in inside.links()] == ["lo"]
            assert not [link for link in route.links() if link.name.startswith("br-")]

    on_a_host(tmp_path, body)


def test_a_neighbour_that_drops_gets_an_exception_for_our_bridges(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        nft = world.networks._table._nft
        await nft.apply_script(
            "table ip filter { chain FORWARD {"
            " type filter hook forward priority 0; policy drop; }; }"
        )
        up = await world.networks.bring_up(request(world.container(1), "bridge"))
        with server(world.outside, 90):
            assert await reach(up.netns_fd, OUTSIDE, 90, 0.3) == ""
            for _ in range(2):
                await world.networks._table.check()
                assert await reach(up.netns_fd, OUTSIDE, 90) == HOST
        listed = await nft.list_json("chain", "ip", "filter", "FORWARD")
        assert listed.count(b"pier-ptst0") == 2
        await world.networks.take_down(up.container_id)
        await world.networks.close()
        assert b"pier-ptst0" not in await nft.list_json("chain", "ip", "filter", "FORWARD")

    on_a_host(tmp_path, body)


def rename(link: str, name: str) -> None:
    for change in ([link, "down"], [link, "name", name], [name, "up"]):
        subprocess.run(["ip", "link", "set", *change], check=True)


def test_dockers_containers_are_strangers_but_for_what_they_publish(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        rename("ptstw", "docker0")
        await world.networks._table._nft.apply_script(
            "table ip docker { chain publish { type nat hook prerouting priority -100;"
            f" tcp dport 99 dnat to {OUTSIDE}:90; }}; }}"
        )
        up = await world.networks.bring_up(request(world.container(1), "bridge"))
        with server(world.outside, 90):
            assert await reach(up.netns_fd, HOST, 99) == HOST
            assert await reach(up.netns_fd, OUTSIDE, 90, 0.3) == ""

    on_a_host(tmp_path, body)


def test_nothing_is_left_when_it_closes(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.networks.create(NetworkSpec(name="a"))
        await world.networks.bring_up(request(world.container(1), "a"))
        await world.networks.take_down(world.container_id(1))
        await world.networks.close()
        with RouteSocket() as route:
            deadline = time.monotonic() + 5
            while {link.name for link in route.links()} - {"lo", "ptstw"}:
                assert time.monotonic() < deadline, route.links()
                await asyncio.sleep(0.01)
        listed = await world.networks._table._nft.list_json("tables")
        assert b"pier-" not in listed

    on_a_host(tmp_path, body)


def resolve(name: str, kind: str = "A", *, tcp: bool = False) -> list[str]:
    """What 127.0.0.11 says, from the namespace of the calling thread."""
    query = dns.message.make_query(name, kind)
    ask_by = dns.query.tcp if tcp else dns.query.udp
    response = ask_by(query, "127.0.0.11", timeout=3)
    data = sorted(item.to_text() for rrset in response.answer for item in rrset)
    return data or [dns.rcode.to_text(response.rcode())]


async def lookup(fd: int, name: str, kind: str = "A", *, tcp: bool = False) -> list[str]:
    return await asyncio.to_thread(netns.run_in, fd, lambda: resolve(name, kind, tcp=tcp))


class Upstream:
    """A resolver outside that knows one answer."""

    def __init__(self, fd: int, address: str) -> None:
        self.socket = netns.socket_in(fd, socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        self.peers: set[str] = set()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while True:
            wire, peer = self.socket.recvfrom(4096)
            if not wire:  # shut down
                self.socket.close()
                return
            query = dns.message.from_wire(wire)
            response = dns.message.make_response(query)
            name = query.question[0].name
            self.peers.add(peer[0])
            if name.to_text() == "example.test.":
                response.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.7"))
            else:
                response.set_rcode(dns.rcode.NXDOMAIN)
            self.socket.sendto(response.to_wire(), peer)

    def stop(self) -> None:
        with contextlib.suppress(OSError):  # not connected, but it wakes the thread
            self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()


def test_containers_find_each_other_by_name(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.networks.create(NetworkSpec(name="a"))
        web = SandboxRequest(
            container_id=world.container(1, "web"),
            name="web",
            endpoints={"a": EndpointRequest(aliases=("www", "Front"))},
        )
        me = SandboxRequest(
            container_id=world.container(2, "me"),
            name="me",
            endpoints={"a": EndpointRequest(links=("web:db",))},
            dns=(OUTSIDE,),
        )
        up = await world.networks.bring_up(web)
        asking = (await world.networks.bring_up(me)).netns_fd
        address = up.endpoints[0].ipv4
        for name in ("web", "WWW", "front", "web.a", "0" * 11 + "1", "db"):
            assert await lookup(asking, name) == [address], name
        assert await lookup(asking, "web", tcp=True) == [address]
        assert await lookup(asking, "web", "AAAA") == ["NOERROR"]
        reverse = dns.reversename.from_address(address).to_text()
        assert await lookup(asking, reverse, "PTR") == ["web.a."]
        taken = netns.socket_in(asking, socket.AF_INET, socket.SOCK_DGRAM)
        with taken:  # the port is the container's own
            taken.bind(("0.0.0.0", 53))

        upstream = Upstream(world.outside, OUTSIDE)
        assert await lookup(asking, "example.test") == ["192.0.2.7"]
        assert await lookup(asking, "nobody.test") == ["NXDOMAIN"]
        assert upstream.peers == {HOST}  # it was asked from the container, masqueraded
        await asyncio.to_thread(upstream.stop)
        assert await lookup(asking, "example.test") == ["SERVFAIL"]
        await world.networks.take_down(web.container_id)
        assert await lookup(asking, "web") == ["SERVFAIL"]

    on_a_host(tmp_path, body)


def test_names_are_served_again_after_a_restart_and_not_on_the_default_network(
    tmp_path: Path,
) -> None:
    async def body(world: World) -> None:
        id_ = world.container(1, "web")
        up = await world.networks.bring_up(request(id_, "bridge", name="web"))
        with pytest.raises(OSError, match="refused"):
            await lookup(up.netns_fd, "web", tcp=True)
        await world.networks.create(NetworkSpec(name="a", internal=True))
        await world.networks.connect(request(id_, "a", name="web"), "a")
        (endpoint,) = (e for e in world.networks.endpoints(id_) if e.network.name == "a")
        assert await lookup(up.netns_fd, "web") == [endpoint.ipv4]
        fd = os.dup(up.netns_fd)
        process = await asyncio.create_subprocess_exec(
            "nsenter", f"--net={up.netns_path}", "sleep", "60"
        )
        await asyncio.sleep(0.1)
        try:
            await world.restarted()
            await world.networks.adopt(id_, process.pid)
            assert await lookup(fd, "web") == [endpoint.ipv4]
        finally:
            os.close(fd)
            process.kill()
            await process.wait()

    on_a_host(tmp_path, body)


def test_ipv6_is_given_where_it_is_wanted_and_only_there(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        pools = (Pool(subnet="fd00:213::/64"),)
        await world.networks.create(NetworkSpec(name="six", enable_ipv6=True, pools=pools))
        ports = (PortRequest(port=80, host_port="8080"), PortRequest(port=53, protocol="udp"))
        one = await world.networks.bring_up(request(world.container(1), "six", ports=ports))
        two = await world.networks.bring_up(request(world.container(2), "six"))
        old = await world.networks.bring_up(request(world.container(3), "bridge"))
        mine = one.endpoints[0]
        assert (mine.ipv6, mine.prefix6, mine.gateway6) == ("fd00:213::2", 64, "fd00:213::1")
        assert len(world.networks.published(one.container_id)) == 4
        me = here()
        with server(one.netns_fd, 80, "::"):
            assert await reach(two.netns_fd, mine.ipv6, 80) == two.endpoints[0].ipv6
            assert await reach(me, "fd00:213::1", 8080) != ""
            assert await reach(me, "::1", 8080) != ""
            assert await reach(two.netns_fd, "fd00:213::1", 8080) != ""
        os.close(me)
        assert await lookup(two.netns_fd, "0" * 11 + "1", "AAAA") == ["fd00:213::2"]
        path = Path("/proc/thread-self/net/if_inet6")
        inside = await asyncio.to_thread(netns.run_in, old.netns_fd, path.read_text)
        assert [line.split()[-1] for line in inside.splitlines()] == ["lo"]

    on_a_host(tmp_path, body)


def test_a_device_that_is_no_bridge_is_left_alone(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        options = {"com.docker.network.bridge.name": "ptstw"}
        with pytest.raises(Failed, match="ptstw exists already and is not a bridge"):
            await world.networks.create(NetworkSpec(name="a", options=options))
        assert [n.name for n in world.networks.list_()] == ["bridge", "host", "none"]
        for name in ('x"; drop', "a b", "", "x" * 16):
            bad = {"com.docker.network.bridge.name": name}
            if name:
                with pytest.raises(InvalidArgument):
                    await world.networks.create(NetworkSpec(name="a", options=bad))

    on_a_host(tmp_path, body)


def test_networks_are_found_refused_and_pruned_in_dockers_words(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        networks = world.networks
        made = await networks.create(NetworkSpec(name="a", labels={"x": "y"}))
        assert networks.get(made.id) == networks.get("a") == networks.get(made.id[:20]) == made

        async def create(name: str, driver: str = "bridge") -> None:
            await networks.create(NetworkSpec(name=name, driver=driver))

        refused: list[tuple[type[PierError], str, Callable[[], Awaitable[None]]]] = [
            (NotFound, "network zz not found", lambda: networks.remove("zz")),
            (Conflict, "network with name a already exists", lambda: create("a")),
            (Forbidden, "not permitted on predefined host network", lambda: create("host")),
            (Forbidden, "bridge is a pre-defined network", lambda: networks.remove("bridge")),
            (Forbidden, 'only one instance of "host" network', lambda: create("h", "host")),
            (NotFound, 'plugin "weave" not found', lambda: create("w", "weave")),
            (
                NotSupported,
                "network driver macvlan is not supported",
                lambda: create("m", "macvlan"),
            ),
        ]
        for kind, words, attempt in refused:
            with pytest.raises(kind, match=words):
                await attempt()
        await create("used")
        await networks.bring_up(request(world.container(1), "used"))
        assert await networks.prune(lambda network: network.name != "zzz") == ["a"]
        assert [n.name for n in networks.list_()] == ["bridge", "host", "none", "used"]

    on_a_host(tmp_path, body)


def test_a_start_that_is_cancelled_or_fails_leaves_nothing(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        id_ = world.container(1)
        for delay_s in (0.0, 0.0005, 0.001, 0.0015, 0.002, 0.003):
            ports = (PortRequest(port=80, host_port="8080"),)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await world.networks.bring_up(request(id_, "bridge", ports=ports))
            await world.networks.take_down(id_)
            assert world.networks.endpoints(id_) == []
        await world.networks.bring_up(request(id_, "bridge", ports=ports))

    on_a_host(tmp_path, body)


def test_two_daemons_live_side_by_side(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        database = Database(tmp_path / "other.db")
        settings = NetworkSettings(
            bridge="ptst1",
            address_pools=(AddressPool("10.213.128.0/17", 24),),
            ready_sandboxes=0,
        )
        other = Networks(database, Events(), settings)
        mine, theirs = world.networks, World.__new__(World)
        theirs.database = database
        await mine.create(NetworkSpec(name="a"))
        await other.open()
        try:
            assert other.get("bridge").pool4 == Pool(
                subnet="10.213.129.0/24", gateway="10.213.129.1"
            )
            ports = (PortRequest(port=80, host_port="8080"),)
            one = await mine.bring_up(request(world.container(1), "bridge", ports=ports))
            id_ = theirs.container(2)
            with pytest.raises(Failed, match="failed to bind host port"):
                await other.bring_up(request(id_, "bridge", ports=ports))
            ports = (PortRequest(port=80, host_port="8081"),)
            two = await other.bring_up(request(id_, "bridge", ports=ports))
            with server(one.netns_fd, 80), server(two.netns_fd, 80):
                assert await reach(one.netns_fd, two.endpoints[0].ipv4, 80, 0.3) == ""
                assert await reach(two.netns_fd, one.endpoints[0].ipv4, 80, 0.3) == ""
                assert await reach(one.netns_fd, HOST, 8081) != ""
                await other.take_down(id_)
                await other.close()
                assert await reach(world.outside, HOST, 8080) == OUTSIDE
        finally:
            await other.take_down(f"{2:012x}".ljust(64, "0"))
            await other.close()
            database.close()

    on_a_host(tmp_path, body)


def test_what_a_crash_left_of_a_container_goes_before_it_starts_again(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        id_ = world.container(1)
        ports = (PortRequest(port=80, host_port="8080"),)
        await world.networks.bring_up(request(id_, "bridge", ports=ports))
        await world.restarted()
        up = await world.networks.bring_up(request(id_, "bridge", ports=ports))
        with server(up.netns_fd, 80):
            assert await reach(world.outside, HOST, 8080) == OUTSIDE

    on_a_host(tmp_path, body)


def test_a_udp_client_that_goes_on_sending_reaches_the_next_container(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        ports = (PortRequest(port=53, protocol="udp", host_port="5300"),)
        client = netns.socket_in(world.outside, socket.AF_INET, socket.SOCK_DGRAM)
        client.sendto(b"before", (HOST, 5300))  # remembered as a flow to the host itself
        for number in (1, 2):
            id_ = world.container(number)
            up = await world.networks.bring_up(request(id_, "bridge", ports=ports))
            inside = netns.socket_in(up.netns_fd, socket.AF_INET, socket.SOCK_DGRAM)
            with inside:
                inside.bind(("0.0.0.0", 53))
                inside.settimeout(0.02)
                deadline = time.monotonic() + 5
                while True:  # it goes on sending
                    assert time.monotonic() < deadline
                    client.sendto(b"hello %d" % number, (HOST, 5300))
                    with contextlib.suppress(TimeoutError):
                        data, peer = await asyncio.to_thread(inside.recvfrom, 100)
                        break
                assert (data, peer[0]) == (b"hello %d" % number, OUTSIDE)
                inside.sendto(b"hi", peer)
                client.settimeout(3)
                assert await asyncio.to_thread(client.recv, 100) == b"hi"
            await world.networks.take_down(id_)
        client.close()

    on_a_host(tmp_path, body)
