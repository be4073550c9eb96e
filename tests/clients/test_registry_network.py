"""How a daemon reaches registries: certs.d, hosts.toml, proxies, with real servers."""

import contextlib
import json
import os
import shutil
import signal
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import trustme
from typing_extensions import override

from tests.clients.image_store import make_image, tar, upload
from tests.clients.registries import (
    debian_registry,
    free_port,
    pier_argv,
    pier_registry,
    running,
)
from tests.daemon import Daemon, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a daemon needs root")


@contextlib.contextmanager
def certificates(kind: str, host: str) -> Iterator[Path]:
    """The directory /etc/<kind>/certs.d/<host>, for the test alone."""
    path = Path("/etc", kind, "certs.d", host)
    above = [parent for parent in path.parents if not parent.exists()]
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path)
        for parent in above:
            with contextlib.suppress(OSError):  # somebody else's by now
                parent.rmdir()


def test_a_private_authority_and_a_client_certificate_of_certs_d(
    daemon: Daemon, tmp_path: Path
) -> None:
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed")
    authority = trustme.CA()
    address = f"{daemon.subnet}.1"
    host = f"{address}:{free_port()}"
    server, person = authority.issue_cert(address), authority.issue_cert("ann@example.org")
    server.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    server.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    config = tmp_path / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\n"
        f"storage: {{filesystem: {{rootdirectory: {tmp_path}/data}}}}\n"
        f"http: {{addr: '{host}', tls: {{certificate: {tmp_path}/cert.pem, "
        f"key: {tmp_path}/key.pem, clientcas: [{tmp_path}/ca.pem]}}}}\n"
    )
    argv = ["docker-registry", "serve", str(config)]
    image = f"{host}/box:1"
    daemon.docker("tag", "busybox", image)
    with running(argv, host, tmp_path / "log"):
        refused = daemon.docker("push", image, status=1)
        assert "x509: certificate signed by unknown authority" in refused
        with certificates("docker", host) as directory:
            shutil.copy(tmp_path / "ca.pem", directory / "ca.crt")
            assert "certificate required" in daemon.docker("push", image, status=1)
            person.cert_chain_pems[0].write_to_path(str(directory / "client.cert"))
            missing = daemon.docker("push", image, status=1)
            assert "missing key client.key for client certificate" in missing
            person.private_key_pem.write_to_path(str(directory / "client.key"))
            assert "digest: sha256:" in daemon.docker("push", image)
            daemon.docker("rmi", image)
            daemon.docker("pull", "-q", image)
            other = trustme.CA()
            other.cert_pem.write_to_path(str(directory / "ca.crt"))
            assert "x509" in daemon.docker("pull", image, status=1), "the file is read again"


def test_hosts_toml_names_mirrors_and_the_server(daemon: Daemon, tmp_path: Path) -> None:
    name = "registry.example:5000"
    with (
        pier_registry(tmp_path / "mirror") as mirror,
        debian_registry(tmp_path / "origin") as origin,
    ):
        upload(mirror, "mirrored", "1", make_image(tar({"a": b"1"})))
        upload(origin, "only/here", "1", make_image(tar({"b": b"1"})))
        with certificates("containerd", name) as directory:
            (directory / "hosts.toml").write_text(
                f'server = "http://{origin}"\n[host."http://127.0.0.1:9"]\n'
                f'[host."http://{mirror}"]\ncapabilities = ["pull", "resolve"]\n'
            )
            for repository in ("mirrored", "only/here"):
                pulled = daemon.docker("pull", f"{name}/{repository}:1")
                assert f"Downloaded newer image for {name}/{repository}:1" in pulled
            daemon.docker("tag", "busybox", f"{name}/pushed:1")
            daemon.docker("push", f"{name}/pushed:1")
            (directory / "hosts.toml").write_text("server = ")
            broken = daemon.docker("pull", f"{name}/mirrored:1", status=1)
            assert str(directory / "hosts.toml") in broken
    daemon.docker("rmi", f"{name}/mirrored:1")
    assert "no such host" in daemon.docker("pull", f"{name}/mirrored:1", status=1)


class Proxy(socketserver.ThreadingTCPServer):
    """Forwards and tunnels, for who knows the password; `targets` says where names lead."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, targets: Mapping[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Forwarding)
        self.targets = targets
        self.asked: list[str] = []
        self.refused = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Forwarding(socketserver.BaseRequestHandler):
    server: Proxy

    @override
    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.request.recv(65536)
            if not data:
                return
            head += data
        method, url, _ = head.split(b" ", 2)
        if b"proxy-authorization: basic dxnlcjpwyxnz" not in head.lower():
            self.server.refused += 1
            self.request.sendall(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n"
                b"Connection: close\r\n\r\n"
            )
            return
        self.server.asked.append(f"{method.decode()} {url.decode()}")
        wanted = url.decode().removeprefix("http://").partition("/")[0].partition(":")[0]
        name, _, port = self.server.targets[wanted].rpartition(":")
        with socket.create_connection((name, int(port))) as upstream:
            if method == b"CONNECT":
                self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = b"/" + url.split(b"/", 3)[3]
                head = head.replace(url, path, 1)
                upstream.sendall(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            self._pipe(upstream)

    def _pipe(self, upstream: socket.socket) -> None:
        back = threading.Thread(target=_copy, args=(upstream, self.request))
        back.start()
        _copy(self.request, upstream)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def proxying(**targets: str) -> Iterator[Proxy]:
    """A proxy that knows `<name>.example`."""
    with Proxy({f"{name}.example": host for name, host in targets.items()}) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()


def test_the_environment_s_proxies_are_used_for_http_and_https(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("secure.example")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    tls = ("--tls-cert", f"{tmp_path}/cert.pem", "--tls-key", f"{tmp_path}/key.pem")
    secure = f"127.0.0.1:{free_port()}"
    with (
        pier_registry(tmp_path / "plain") as plain,
        running(pier_argv(tmp_path / "tls", secure, *tls), secure, tmp_path / "tls.log"),
        proxying(plain=plain) as http_proxy,
        proxying(plain=plain, secure=secure) as https_proxy,
    ):
        monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@{http_proxy.address}")
        monkeypatch.setenv("https_proxy", f"http://user:pass@{https_proxy.address}")
        monkeypatch.setenv("NO_PROXY", "direct.example")
        with (
            Daemon(tmp_path / "d", "--insecure-registry", "plain.example:80") as daemon,
            certificates("docker", "secure.example") as directory,
        ):
            authority.cert_pem.write_to_path(str(directory / "ca.crt"))
            daemon.docker("pull", "-q", "busybox")
            for name in ("plain.example:80", "secure.example"):
                daemon.docker("tag", "busybox", f"{name}/box:1")
                daemon.docker("push", "-q", f"{name}/box:1")
                daemon.docker("rmi", f"{name}/box:1")
                daemon.docker("pull", "-q", f"{name}/box:1")
            assert "CONNECT secure.example:443" in https_proxy.asked
            assert "GET http://plain.example:80/v2/box/manifests/1" in _with_ports(http_proxy.asked)
            told = json.loads(daemon.docker("info", "--format", "{{json .}}"))
            assert told["HttpProxy"] == f"http://xxxxx:xxxxx@{http_proxy.address}"
            assert told["NoProxy"] == "direct.example"
            before = len(https_proxy.asked)
            direct = daemon.docker("pull", "direct.example/box:1", status=1)
            assert "no such host" in direct
            daemon.docker("tag", "busybox", f"{plain}/local:1")
            daemon.docker("push", f"{plain}/local:1")  # loopback is never asked for by proxy
            assert len(https_proxy.asked) == before
        assert not http_proxy.refused + https_proxy.refused


def _with_ports(asked: list[str]) -> list[str]:
    return [line.replace("plain.example/", "plain.example:80/") for line in asked]


def test_the_settings_proxies_are_used_and_a_refusing_one_is_named(tmp_path: Path) -> None:
    with pier_registry(tmp_path / "plain") as plain, proxying(plain=plain) as proxy:
        flags = ("--http-proxy", f"http://{proxy.address}",
                 "--https-proxy", f"http://{proxy.address}",
                 "--insecure-registry", "plain.example:80")  # fmt: skip
        with Daemon(tmp_path / "d", *flags) as daemon:
            refused = daemon.docker("pull", "plain.example:80/box:1", status=1)
            assert "Proxy Authentication Required" in refused
            assert proxy.refused


def test_daemon_json_names_mirrors_of_any_registry(tmp_path: Path) -> None:
    with pier_registry(tmp_path / "mirror") as mirror:
        upload(mirror, "a/b", "1", make_image(tar({"a": b"1"})))
        config = tmp_path / "daemon.json"
        config.write_text(
            json.dumps({"mirrors": {"reg.example": ["http://127.0.0.1:9", f"http://{mirror}"]}})
        )
        with Daemon(tmp_path / "d", "--config-file", str(config)) as daemon:
            assert "Downloaded newer image" in daemon.docker("pull", "reg.example/a/b:1")
            words = daemon.docker("pull", "reg.example/a/b:none", status=1)
            assert "lookup reg.example: no such host" in words, "the origin has the last word"
            config.write_text("{}")
            assert daemon.process is not None
            daemon.process.send_signal(signal.SIGHUP)
            daemon.docker("rmi", "reg.example/a/b:1")
            wait_until(
                lambda: daemon.run(["docker", "pull", "reg.example/a/b:1"]).returncode,
                "the mirror is forgotten",
            )
