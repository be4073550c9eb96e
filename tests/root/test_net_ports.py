"""Published ports: who reaches them, from where, and what they cost the daemon."""

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from pier.errors import Failed
from pier.linux import netns
from pier.networks.model import NetworkSpec, Pool, PortRequest
from tests.root.networks_support import (
    HOST,
    OUTSIDE,
    World,
    here,
    lookup,
    on_a_host,
    open_descriptors,
    reach,
    request,
    server,
    set_br_netfilter,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


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
                Failed, match=r"failed to bind host port for 0\.0\.0\.0:8081:\S+/tcp: address al"
            ):
                await world.networks.bring_up(request(second, "bridge", ports=taken))
        flexible = (PortRequest(port=80, host_port="8080-8085"), PortRequest(port=81))
        await world.networks.bring_up(request(second, "bridge", ports=flexible))
        chosen = {(p.port, p.host_port) for p in world.networks.published(second)}
        assert (80, 8081) in chosen
        assert len(chosen) == 2

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
