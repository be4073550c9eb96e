"""Networks after a crash, a start that fails, and beside another daemon's."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from pier.errors import Failed
from pier.events import Events
from pier.linux import netlink
from pier.linux.netlink import RouteSocket
from pier.networks import bridge
from pier.networks.model import AddressPool, NetworkSettings, NetworkSpec, Pool, PortRequest
from pier.networks.networks import Networks
from pier.store.database import Database
from tests.root.networks_support import HOST, OUTSIDE, World, on_a_host, reach, request, server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


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


def test_a_bridge_that_was_made_but_not_marked_is_ours_again(tmp_path: Path) -> None:
    """The daemon was killed between two messages to the kernel: row and device are there."""

    async def body(world: World) -> None:
        network = await world.networks.create(NetworkSpec(name="a"))
        with RouteSocket() as route:
            made = route.find_link(network.bridge)
            assert made is not None
            route.request(netlink.delete_link(made.index))
            route.request(netlink.create_bridge(made.name, mtu=1500, address=made.address))
            await world.restarted()
            mended = route.find_link(network.bridge)
            assert mended is not None
            assert (mended.alias, mended.up) == (made.alias, True)
            await world.networks.remove("a")
            assert route.find_link(network.bridge) is None

    on_a_host(tmp_path, body)


def test_several_who_miss_a_bridge_make_one(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        network = await world.networks.create(NetworkSpec(name="a"))
        with RouteSocket() as route:
            for _ in range(10):
                link = route.find_link(network.bridge)
                assert link is not None
                route.request(netlink.delete_link(link.index))
                made = await asyncio.gather(
                    *(asyncio.to_thread(bridge.ensure, network, "ptst0") for _ in range(4))
                )
                assert len(set(made)) == 1

    on_a_host(tmp_path, body)


def test_a_network_that_is_given_up_is_not_there(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        with RouteSocket() as route:
            there = {link.name for link in route.links()}
            for delay_s in (0.0, 0.0002, 0.0004, 0.0006, 0.001, 0.0015, 0.002, 0.003):
                made = None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):
                        made = await world.networks.create(NetworkSpec(name="a"))
                if made is not None:
                    await world.networks.remove("a")
                assert {link.name for link in route.links()} == there
                names = [network.name for network in world.networks.list_()]
                assert names == ["bridge", "host", "none"]

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
