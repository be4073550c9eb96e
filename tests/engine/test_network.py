"""Published ports, the way out, and networks of one's own."""

import socket
import subprocess
import urllib.request
from collections.abc import Iterator

import pytest

from tests.daemon import Daemon, wait_until


@pytest.fixture(scope="module")
def web(daemon: Daemon) -> Iterator[str]:
    daemon.docker("run", "-d", "--name", "web", "-p", "18081:80", "-p", "18053:53/udp", "busybox",
                  "sh", "-c",
                  "mkdir /www; echo served > /www/index.html; httpd -f -h /www")  # fmt: skip
    yield "web"
    daemon.docker("rm", "-f", "web")


def fetch(host: str, port: int = 18081) -> str:
    with urllib.request.urlopen(f"http://{host}:{port}/index.html", timeout=5) as answer:
        return str(answer.read().decode())


def host_address() -> str:
    found = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True)
    return found.stdout.split()[0]


def test_a_published_port_answers_everywhere(daemon: Daemon, web: str) -> None:
    address = daemon.docker(
        "inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", web
    ).strip()
    wait_until(lambda: fetch_or_none(address, 80) == "served\n", "the server answers")
    assert fetch("127.0.0.1") == "served\n"
    assert fetch(host_address()) == "served\n"
    assert "0.0.0.0:18081" in daemon.docker("port", web, "80")


def fetch_or_none(host: str, port: int) -> str | None:
    try:
        return fetch(host, port)
    except OSError:
        return None


def test_a_published_port_answers_other_containers_too(daemon: Daemon, web: str) -> None:
    """Through the host's address, from the network the server itself is on (hairpin)."""
    shown = daemon.docker("run", "--rm", "busybox", "wget", "-qO-",
                          f"http://{daemon.subnet}.1:18081/index.html")  # fmt: skip
    assert shown == "served\n"


def test_a_port_is_free_again_after_the_container(daemon: Daemon) -> None:
    for _ in range(3):
        daemon.docker("run", "--rm", "-p", "127.0.0.1:18082:80", "busybox", "true")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 18082))


@pytest.fixture
def outside() -> Iterator[str]:
    """A host beyond this one: a namespace behind a veth, which knows no route to containers."""
    commands = (
        "ip netns add ptst-out; ip link add ptst-a type veth peer name ptst-b netns ptst-out; "
        "ip addr add 10.213.77.1/30 dev ptst-a; ip link set ptst-a up; "
        "ip -n ptst-out addr add 10.213.77.2/30 dev ptst-b; ip -n ptst-out link set ptst-b up"
    )
    subprocess.run(["sh", "-ec", commands], check=True)
    try:
        yield "10.213.77.2"
    finally:
        subprocess.run(["ip", "netns", "del", "ptst-out"], check=False)
        subprocess.run(["ip", "link", "del", "ptst-a"], capture_output=True, check=False)


def test_containers_reach_the_outside(daemon: Daemon, outside: str) -> None:
    assert "1 packets received" in daemon.docker(
        "run", "--rm", "busybox", "ping", "-c", "1", "-W", "5", outside
    )


def test_none_and_host(daemon: Daemon) -> None:
    links = daemon.docker("run", "--rm", "--network", "none", "busybox", "ip", "-o", "link")
    assert links.count("\n") == 1
    host = daemon.docker("run", "--rm", "--network", "host", "busybox", "ip", "-o", "link")
    assert daemon.bridge in host


def test_names_on_a_network_of_ones_own(daemon: Daemon) -> None:
    daemon.docker("network", "create", "--subnet", f"10.213.{daemon.subnet.split('.')[-1]}.0/24",
                  "mine")  # fmt: skip
    daemon.docker("run", "-d", "--name", "db", "--network", "mine", "--network-alias", "data",
                  "busybox", "sleep", "300")  # fmt: skip
    for name in ("db", "data"):
        assert "1 packets received" in daemon.docker(
            "run", "--rm", "--network", "mine", "busybox", "ping", "-c", "1", "-W", "5", name
        )
    daemon.docker("run", "-d", "--name", "late", "busybox", "sleep", "300")
    daemon.docker("network", "connect", "mine", "late")
    assert "1 packets received" in daemon.docker("exec", "late", "ping", "-c", "1", "-W", "5", "db")
    daemon.docker("network", "disconnect", "mine", "late")
    daemon.docker("rm", "-f", "db", "late")
    daemon.docker("network", "rm", "mine")


def test_a_container_can_join_another(daemon: Daemon, web: str) -> None:
    shown = daemon.docker("run", "--rm", "--network", f"container:{web}", "busybox",
                          "wget", "-qO-", "http://127.0.0.1/index.html")  # fmt: skip
    assert shown == "served\n"


def test_a_bridge_that_somebody_deletes_is_made_again(daemon: Daemon, web: str) -> None:
    daemon.docker("network", "create", "mine")
    daemon.docker("network", "connect", "mine", web)
    device = daemon.docker("network", "inspect", "-f", "br-{{slice .Id 0 12}}", "mine").strip()
    try:
        for restart in (False, True):
            for name in (daemon.bridge, device):
                subprocess.run(["ip", "link", "del", name], check=True)
            if restart:
                daemon.restart()
            daemon.docker("run", "--rm", "--network", "mine", "busybox", "ping", "-c", "1", web)
            daemon.docker("run", "--rm", "busybox", "ping", "-c", "1", f"{daemon.subnet}.1")
            daemon.docker("exec", web, "ping", "-c", "1", "-W", "5", f"{daemon.subnet}.1")
    finally:
        daemon.docker("network", "disconnect", "mine", web)
        daemon.docker("network", "rm", "mine")


def test_published_ports_follow_the_way_out(daemon: Daemon) -> None:
    """They stay where they were on the host, while networks come and go."""
    for name in ("first", "second"):
        daemon.docker("network", "create", name)
    daemon.docker("run", "-d", "--name", "moved", "--network", "second",
                  "-p", "18083:80", "-p", "80", "busybox",
                  "sh", "-c", "mkdir /w; echo moved > /w/index.html; httpd -f -h /w")  # fmt: skip
    chosen = daemon.docker("port", "moved")
    try:
        for action, network in (
            ("connect", "first"),  # by its name the better way out
            ("disconnect", "first"),
            ("connect", "first"),
            ("disconnect", "second"),
        ):
            daemon.docker("network", action, network, "moved")
            assert daemon.docker("port", "moved") == chosen
            for host in ("127.0.0.1", "[::1]", host_address()):
                wait_until(
                    lambda host=host: fetch_or_none(host, 18083) == "moved\n",  # type: ignore[misc]
                    f"{host} answers after {action} {network}",
                )
        daemon.docker("network", "disconnect", "first", "moved")
        assert daemon.docker("port", "moved") == ""
        assert fetch_or_none("127.0.0.1", 18083) is None
        daemon.docker("network", "connect", "second", "moved")
        daemon.docker("restart", "-t", "0", "moved")
        wait_until(lambda: fetch_or_none("[::1]", 18083) == "moved\n", "it answers after a restart")
    finally:
        daemon.docker("rm", "-f", "moved")
        daemon.docker("network", "rm", "first", "second")


def test_only_the_networks_asked_for_are_joined(daemon: Daemon) -> None:
    """As docker-py asks, with a networking_config alone: the mode is the default then."""
    daemon.docker("network", "create", "mine")
    body = {"Image": "busybox", "NetworkingConfig": {"EndpointsConfig": {"mine": {}}}}
    _, answer = daemon.api("POST", "/v1.48/containers/create?name=apart", body)
    _, shown = daemon.api("GET", f"/v1.48/containers/{answer['Id']}/json")
    assert list(shown["NetworkSettings"]["Networks"]) == ["mine"]
    daemon.docker("rm", "apart")
    daemon.docker("network", "rm", "mine")
