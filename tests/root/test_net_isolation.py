"""Who does not reach whom: networks, containers, Docker's own, a firewall that drops."""

import os
import subprocess
from pathlib import Path

import pytest

from pier.linux import netns
from pier.networks.model import NetworkSpec, PortRequest
from tests.root.networks_support import (
    HOST,
    OUTSIDE,
    World,
    on_a_host,
    reach,
    request,
    server,
    set_br_netfilter,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


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
