"""Networks of a whole host: made, joined and left, found and refused; what goes when they go."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

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
from pier.linux import netns
from pier.linux.netlink import RouteSocket
from pier.networks.model import EndpointRequest, NetworkSpec, Pool, PortRequest, SandboxRequest
from tests.root.networks_support import HOST, OUTSIDE, World, on_a_host, reach, request, server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


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
        small = {"com.docker.network.driver.mtu": "1279"}
        with pytest.raises(InvalidArgument, match="1279 is too small for IPv6"):
            await networks.create(NetworkSpec(name="v6", enable_ipv6=True, options=small))
        await create("used")
        await networks.bring_up(request(world.container(1), "used"))
        assert await networks.prune(lambda network: network.name != "zzz") == ["a"]
        assert [n.name for n in networks.list_()] == ["bridge", "host", "none", "used"]

    on_a_host(tmp_path, body)
