"""pier.networks.files: what a container's /etc/hosts and /etc/resolv.conf say."""

from pier.networks import files
from pier.networks.files import HostFiles
from pier.networks.model import (
    Endpoint,
    EndpointRequest,
    Network,
    NetworkSettings,
    NetworkSpec,
    SandboxRequest,
)

HOST = HostFiles(
    hosts="127.0.0.1 localhost\n192.0.2.1 thehost\n",
    resolv_conf=(
        "# mine\nsearch corp.test\nnameserver 127.0.0.53\nnameserver 192.0.2.53\noptions edns0\n"
    ),
)
SETTINGS = NetworkSettings()


def endpoint(
    name: str, ipv4: str = "10.0.0.2", driver: str = "bridge", priority: int = 0
) -> Endpoint:
    return Endpoint(
        id="e" * 64,
        container_id="c" * 64,
        network=Network(id="1" * 64, spec=NetworkSpec(name=name, driver=driver)),
        ipv4=ipv4,
        gateway4="10.0.0.1" if ipv4 else "",
        request=EndpointRequest(gateway_priority=priority),
    )


def request(**more: tuple[str, ...] | str) -> SandboxRequest:
    plain: dict[str, object] = {"container_id": "c" * 64, "name": "web", "hostname": "web", **more}
    return SandboxRequest(**plain)  # type: ignore[arg-type]  # keyword arguments by name


def test_hosts_names_the_container_on_each_network() -> None:
    text = files.hosts_file(
        request(domainname="test", extra_hosts=("db:10.9.9.9", "gate:host-gateway", "six:fd00::1")),
        [endpoint("bridge"), endpoint("a", "10.1.0.2", priority=1)],
        ["172.17.0.1"],
        HOST,
    )
    lines = text.splitlines()
    assert lines[:2] == ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    assert lines[6:] == [
        "10.9.9.9\tdb",
        "172.17.0.1\tgate",
        "fd00::1\tsix",
        "10.1.0.2\tweb.test web",
        "10.0.0.2\tweb.test web",
    ]


def test_in_the_hosts_network_the_hosts_files_are_used() -> None:
    mine = endpoint("host", "", "host")
    extra = request(extra_hosts=("db:10.9.9.9",))
    assert files.hosts_file(extra, [mine], [], HOST) == HOST.hosts + "10.9.9.9\tdb\n"
    text = files.resolv_conf(request(), [mine], SETTINGS, HOST)
    assert text.splitlines()[:2] == ["nameserver 127.0.0.53", "nameserver 192.0.2.53"]


def test_the_default_network_has_the_hosts_resolvers_but_not_its_loopback() -> None:
    text = files.resolv_conf(request(), [endpoint("bridge")], SETTINGS, HOST)
    assert text == "nameserver 192.0.2.53\nsearch corp.test\noptions edns0\n"
    alone = HostFiles("", "nameserver 127.0.0.1\n")
    text = files.resolv_conf(request(), [endpoint("bridge")], SETTINGS, alone)
    assert text == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
    text = files.resolv_conf(request(dns=("127.0.0.1",)), [endpoint("bridge")], SETTINGS, alone)
    assert text == "nameserver 127.0.0.1\n"  # said, and so meant


def test_wishes_come_before_the_daemons_and_the_hosts() -> None:
    settings = NetworkSettings(dns=("192.0.2.99",), dns_search=("daemon.test",))
    text = files.resolv_conf(
        request(dns=("192.0.2.98",), dns_search=(".",)), [endpoint("bridge")], settings, HOST
    )
    assert text == "nameserver 192.0.2.98\noptions edns0\n"


def test_users_networks_have_the_embedded_dns() -> None:
    text = files.resolv_conf(request(dns=("192.0.2.98",)), [endpoint("a")], SETTINGS, HOST)
    assert "\nnameserver 127.0.0.11\nsearch corp.test\noptions edns0 ndots:0\n" in text
    assert "# ExtServers: [192.0.2.98]\n# Overrides: [nameservers]\n" in text
    text = files.resolv_conf(request(dns_options=("ndots:2",)), [endpoint("a")], SETTINGS, HOST)
    assert "options ndots:2\n" in text
    assert "# ExtServers: [host(127.0.0.53) host(192.0.2.53)]\n" in text
    assert "# Option ndots from: override\n" in text
