"""Names of containers and of the world, asked from inside."""

import asyncio
import contextlib
import os
import socket
import threading
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import dns.reversename
import dns.rrset
import pytest

from pier.linux import netns
from pier.networks.model import EndpointRequest, NetworkSpec, SandboxRequest
from tests.root.networks_support import (
    HOST,
    OUTSIDE,
    World,
    lookup,
    on_a_host,
    open_descriptors,
    request,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


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
