"""Mirrors, insecure registries, certificates, proxies, credentials: what is decided from files."""

from pathlib import Path

import pytest

from pier.registry.credentials import (
    ANONYMOUS,
    Credentials,
    parse_auth_header,
    registry_host,
)
from pier.registry.failures import InvalidHosts
from pier.registry.hosts import PUSH, Hosts
from pier.registry.tls import proxy_for


def test_docker_hub_is_asked_at_its_registry() -> None:
    (endpoint,) = Hosts(directories=()).endpoints("docker.io")
    assert (endpoint.host, endpoint.schemes, endpoint.prefix) == (
        "registry-1.docker.io",
        ("https",),
        "/v2",
    )


def test_mirrors_come_in_order_and_the_origin_last() -> None:
    hosts = Hosts(
        mirrors={"quay.io": ["https://one.example/cache", "http://two.example:5000"]},
        directories=(),
    )
    endpoints = hosts.endpoints("quay.io")
    assert [(e.host, e.schemes, e.prefix, e.mirror) for e in endpoints] == [
        ("one.example", ("https",), "/cache/v2", True),
        ("two.example:5000", ("http",), "/v2", True),
        ("quay.io", ("https",), "/v2", False),
    ]
    assert [e.host for e in hosts.endpoints("quay.io", PUSH)] == ["quay.io"]
    assert [e.host for e in hosts.endpoints("ghcr.io")] == ["ghcr.io"]


@pytest.mark.parametrize(
    "url", ["mirror.example", "ftp://x", "https://u:p@x", "https://x/?a=b", "https://"]
)
def test_a_bad_mirror_is_refused(url: str) -> None:
    with pytest.raises(InvalidHosts, match="invalid mirror"):
        Hosts(mirrors={"docker.io": [url]})


@pytest.mark.parametrize(
    ("host", "insecure"),
    [
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.9.9.9", True),
        ("[::1]:5000", True),
        ("10.1.2.3:5000", True),
        ("named.example", True),
        ("named.example:5000", True),
        ("ported.example:5000", True),
        ("ported.example", False),
        ("11.1.2.3", False),
        ("quay.io", False),
    ],
)
def test_insecure_is_loopback_or_named(host: str, *, insecure: bool) -> None:
    hosts = Hosts(insecure=["10.0.0.0/8", "named.example", "ported.example:5000"], directories=())
    assert hosts.is_insecure(host) is insecure
    endpoint = hosts.origin(host)
    assert endpoint.schemes == (("https", "http") if insecure else ("https",))
    assert endpoint.trust.skip_verify is insecure


def test_hosts_toml_is_read_as_containerd_reads_it(tmp_path: Path) -> None:
    directory = tmp_path / "docker.io"
    directory.mkdir()
    (directory / "hosts.toml").write_text(
        """
server = "https://registry-1.docker.io"
[host."https://mirror.example"]
  capabilities = ["pull", "resolve"]
  ca = "mirror.pem"
  client = [["c.pem", "k.pem"]]
  skip_verify = true
  dial_timeout = "1m0.5s"
  [host."https://mirror.example".header]
    x-a = ["1", "2"]
[host."http://plain.example:81/v2/dockerhub"]
  capabilities = ["pull"]
  override_path = true
"""
    )
    first, second, origin = Hosts(directories=[tmp_path]).endpoints("docker.io")
    assert (first.host, first.namespace, first.mirror) == ("mirror.example", "docker.io", True)
    assert first.trust.authorities == (directory / "mirror.pem",)
    assert first.trust.certificates[0].key == directory / "k.pem"
    assert first.trust.skip_verify
    assert first.headers == {"x-a": "1, 2"}
    assert (first.connect_s, second.connect_s) == (60.5, None)
    assert (second.schemes, second.prefix) == (("http",), "/v2/dockerhub")
    assert (origin.host, origin.namespace, origin.mirror) == ("registry-1.docker.io", "", False)
    resolvers = Hosts(directories=[tmp_path]).endpoints("docker.io", "resolve")
    assert [e.host for e in resolvers] == ["mirror.example", "registry-1.docker.io"]


def test_a_broken_hosts_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "_default").mkdir()
    path = tmp_path / "_default" / "hosts.toml"
    for text in ("[host", 'server = "ftp://x"', '[host."https://x"]\ncapabilities = 3',
                 '[host."https://x"]\ndial_timeout = "soon"'):  # fmt: skip
        path.write_text(text)
        with pytest.raises(InvalidHosts, match=r"hosts\.toml"):
            Hosts(directories=[tmp_path]).endpoints("quay.io")


def test_certificates_are_found_by_host_and_port(tmp_path: Path) -> None:
    for name in ("r.example:5000", "r.example_5001_"):
        directory = tmp_path / name
        directory.mkdir()
        for file in ("ca.crt", "client.cert", "client.key"):
            (directory / file).touch()
    hosts = Hosts(directories=[tmp_path])
    for port in (5000, 5001):
        trust = hosts.trust(f"r.example:{port}")
        assert [path.name for path in trust.authorities] == ["ca.crt"]
        assert trust.certificates[0].certificate.name == "client.cert"
    (tmp_path / "r.example:5000" / "client.key").unlink()
    with pytest.raises(InvalidHosts, match="missing key"):
        hosts.trust("r.example:5000")


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://a.example/v2/", "http://p:1"),
        ("http://a.example/", "http://q:2"),
        ("https://127.0.0.1:5000/", None),
        ("https://localhost/", None),
        ("https://x.internal.example/", None),
        ("https://internal.example/", None),
        ("https://10.2.3.4/", None),
    ],
)
def test_proxies_come_from_the_environment(url: str, proxy: str | None) -> None:
    environ = {
        "HTTPS_PROXY": "p:1",
        "http_proxy": "http://q:2",
        "NO_PROXY": ".internal.example, 10.0.0.0/8",
    }
    assert proxy_for(url, environ) == proxy
    assert proxy_for(url, {**environ, "NO_PROXY": "*"}) is None


def test_the_auth_header_is_read_and_a_bad_one_is_anonymous() -> None:
    header = "eyJ1c2VybmFtZSI6ImEiLCJwYXNzd29yZCI6ImI_In0"
    assert parse_auth_header(header) == Credentials("a", "b?")
    for text in ("", "!", "e30", "bnVsbA=="):
        assert parse_auth_header(text) == ANONYMOUS
    assert "b?" not in repr(parse_auth_header(header))


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("", "docker.io"),
        ("https://r.example:5000/v2/", "r.example:5000"),
        ("r.example", "r.example"),
    ],
)
def test_server_addresses_name_registries(address: str, host: str) -> None:
    assert registry_host(address) == host
