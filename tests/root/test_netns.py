"""pier.linux.netns and netlink against the real kernel."""

import os
import socket
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from pier.linux import netlink, netns

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_a_namespace_lives_by_its_descriptor() -> None:
    host = os.stat("/proc/self/ns/net").st_ino
    fd = netns.create(lambda fd: fd)
    try:
        inside = netns.socket_in(fd, socket.AF_INET, socket.SOCK_STREAM)
        with inside, pytest.raises(OSError, match="unreachable"):
            inside.connect(("127.0.0.1", 9))  # even lo is down in there
        assert os.fstat(fd).st_ino != host
        assert os.stat("/proc/self/ns/net").st_ino == host
    finally:
        os.close(fd)


def test_a_failed_preparation_leaves_no_descriptor() -> None:
    seen: list[int] = []

    def fail(fd: int) -> None:
        seen.append(fd)
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        netns.create(fail)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(seen[0])


def test_a_sysctl_is_set_inside_only() -> None:
    name = "net.ipv4.ip_unprivileged_port_start"
    path = "/proc/sys/net/ipv4/ip_unprivileged_port_start"

    def read() -> str:
        return Path(path).read_text().strip()

    before = read()
    fd = netns.create(lambda fd: fd)
    try:
        netns.run_in(fd, lambda: netns.write_sysctl(name, "77"))
        assert netns.run_in(fd, read) == "77"
        assert read() == before
        with pytest.raises(FileNotFoundError):
            netns.write_sysctl("net.ipv4...kernel.core_pattern", "x")
    finally:
        os.close(fd)


def test_a_veth_into_a_namespace_with_addresses_and_a_way_out() -> None:
    def prepare(fd: int) -> tuple[int, netlink.RouteSocket]:
        return fd, netlink.RouteSocket()

    fd, inside = netns.create(prepare)
    host = netlink.RouteSocket()
    try:
        host.request(netlink.create_veth("ptstv0", "eth0", peer_netns_fd=fd))
        outer, inner = host.find_link("ptstv0"), inside.find_link("eth0")
        assert outer is not None
        assert inner is not None
        host.request(netlink.set_link(outer.index, up=True, alias="pier:test", mtu=1400))
        inside.request(
            netlink.set_link(inner.index, up=True, address="02:42:0a:d5:00:02"),
            netlink.add_address(inner.index, ip_interface("10.213.0.2/24")),
            netlink.default_route(ip_address("10.213.0.1"), inner.index),
        )
        assert ip_network("10.213.0.0/24") in inside.routes()
        assert ip_address("10.213.0.2").packed in inside.addresses(inner.index)
        found = host.find_link("ptstv0")
        assert found is not None
        assert (found.kind, found.alias, found.mtu, found.up) == ("veth", "pier:test", 1400, True)
        with pytest.raises(FileExistsError, match="create veth ptstv0"):
            host.request(netlink.create_veth("ptstv0", "eth1", peer_netns_fd=fd))
        host.request(netlink.delete_link(outer.index))
        assert host.find_link("ptstv0") is None
    finally:
        os.close(fd)
        inside.close()
        host.close()
