"""The client against real registries: ours and Debian's, with passwords, tokens, TLS."""

import asyncio
import os
from pathlib import Path

import pytest
import trustme

from pier.oci.digest import Descriptor, digest_of
from pier.registry.client import RegistryClient
from pier.registry.credentials import ANONYMOUS, Credentials
from pier.registry.failures import (
    ManifestUnknown,
    RegistryDenied,
    RegistryUnauthorized,
    RegistryUnreachable,
)
from pier.registry.fetching import Memory
from pier.registry.hosts import Hosts
from pier.registry.repository import Repository
from pier.registry.uploads import Uploads
from tests.clients.registries import (
    QUICK,
    Site,
    client,
    debian_registry,
    free_port,
    pier_argv,
    pier_registry,
    running,
    small_image,
)
from tests.clients.registry_accounts import ANN, TokenServer, htpasswd
from tests.clients.registry_support import push_small, using


async def check_round_trip(repository: Repository) -> None:
    """Push, resolve, pull by tag and digest, list, mount."""
    image = small_image(os.urandom(3_000_000))
    await push_small(repository, "v1", image)
    found = await repository.manifest("v1")
    assert found.data == image.manifest
    assert found.media_type == image.media_type
    assert await repository.resolve("v1") == found.descriptor
    assert (await repository.manifest(found.digest)).data == image.manifest
    memory = Memory()
    layer = Descriptor("", digest_of(image.layer), len(image.layer))
    await repository.fetch(layer, memory)
    assert memory.data == image.layer
    partly = Memory(bytearray(image.layer[:1_234_567]))
    await repository.fetch(layer, partly)
    assert partly.data == image.layer
    await Uploads(repository).put_manifest("v2", image.media_type, image.manifest)
    assert sorted(await repository.tags()) == ["v1", "v2"]
    other = Repository(
        repository.transport, repository.registry, "other/place", repository.credentials
    )
    assert await Uploads(other).mount(layer.digest, repository.path)
    assert await Uploads(other).has_blob(layer.digest)
    with pytest.raises(ManifestUnknown, match="manifest unknown"):
        await repository.manifest("none")


def test_round_trip_with_our_registry(tmp_path: Path) -> None:
    with pier_registry(tmp_path / "root") as host:
        using(lambda c: check_round_trip(c.repository(host, "a/b")))


def test_round_trip_with_debian_s_registry(tmp_path: Path) -> None:
    with debian_registry(tmp_path / "root") as host:
        using(lambda c: check_round_trip(c.repository(host, "a/b")))


def test_round_trip_with_a_password(tmp_path: Path) -> None:
    file = htpasswd(tmp_path)
    auth = f"auth: {{htpasswd: {{realm: r, path: {file}}}}}\n"
    with debian_registry(tmp_path / "debian", auth) as host:
        using(lambda c: check_round_trip(c.repository(host, "a/b", ANN)))
        using(lambda c: check_login(c, host))
    with pier_registry(tmp_path / "pier", "--htpasswd", str(file)) as host:
        using(lambda c: check_round_trip(c.repository(host, "a/b", ANN)))
        using(lambda c: check_login(c, host))


async def check_login(registries: RegistryClient, host: str) -> None:
    assert await registries.login(host, ANN) == ""
    with pytest.raises(RegistryUnauthorized):
        await registries.login(host, Credentials("ann", "wrong"))
    with pytest.raises(RegistryUnauthorized):
        await registries.repository(host, "a/b", Credentials("ann", "wrong")).manifest("v1")
    with pytest.raises(RegistryDenied, match=r"pull access denied for .*/a/b, repository does not"):
        await registries.repository(host, "a/b").manifest("v1")


def test_round_trip_with_a_token_server(tmp_path: Path) -> None:
    tokens = TokenServer()
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(tokens.bundle)
    with Site(tokens.respond) as site:
        auth = (
            f"auth: {{token: {{realm: 'http://{site.host}/token', service: service, "
            f"issuer: issuer, rootcertbundle: {bundle}}}}}\n"
        )
        with debian_registry(tmp_path / "debian", auth) as host:
            using(lambda c: check_round_trip(c.repository(host, "a/b", ANN)))
            scope = ("scope", "repository:a/b:pull")
            pulls = [
                q for q in tokens.asked if [pair for pair in q if pair[0] == "scope"] == [scope]
            ]
            assert len(pulls) == 1, "a token is asked for once"
            identity = Credentials(identity_token="refresh")
            using(lambda c: c.repository(host, "a/b", identity).manifest("v1"))
            assert using(lambda c: c.login(host, ANN)) == "refresh"
            for wrong in (Credentials("ann", "no"), Credentials(identity_token="no")):
                with pytest.raises(RegistryUnauthorized):
                    using(lambda c, w=wrong: c.login(host, w))  # type: ignore[misc]
            with pytest.raises(RegistryDenied, match="may require 'docker login'"):
                using(lambda c: c.repository(host, "a/b").manifest("v1"))
            tokens.life_s = 1
            using(lambda c: outlive(c.repository(host, "a/b", ANN)))


async def outlive(repository: Repository) -> None:
    """A token that ends between two requests is renewed unasked."""
    await repository.manifest("v1")
    await asyncio.sleep(1.2)
    await repository.manifest("v1")


def test_tls_with_a_private_authority_and_a_client_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    port = free_port()
    flags = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    certs = tmp_path / "certs.d" / f"127.0.0.1:{port}"
    certs.mkdir(parents=True)
    authority.cert_pem.write_to_path(str(certs / "ca.crt"))

    class Strict(Hosts):
        """Without the rule that a loopback registry may have any certificate."""

        def is_insecure(self, host: str) -> bool:  # type: ignore[explicit-override]
            return False

    def strict(*directories: Path) -> RegistryClient:
        return RegistryClient(Strict(directories=directories), patience=QUICK, environ={})

    with pier_registry(tmp_path / "root", *flags, port=port) as host:
        using(lambda c: push_small(c.repository(host, "a"), "v1", small_image()))
        trusted = using(
            lambda c: c.repository(host, "a").manifest("v1"), strict(tmp_path / "certs.d")
        )
        assert trusted.data == small_image().manifest
        with pytest.raises(RegistryUnreachable, match="x509: certificate signed by unknown"):
            using(lambda c: c.repository(host, "a").manifest("v1"), strict())
    words = "server gave HTTP response to HTTPS client"
    with (
        pier_registry(tmp_path / "root", port=port) as host,
        pytest.raises(RegistryUnreachable, match=words),
    ):
        using(lambda c: c.repository(host, "a").manifest("v1"), strict())


def test_an_insecure_registry_that_refuses_443_is_asked_at_80(tmp_path: Path) -> None:
    """An address of the loopback that nobody else uses: both ports are the schemes' own."""
    number = os.getpid()
    name = f"127.86.{number // 250 % 250}.{number % 250 + 1}"
    (tmp_path / "root").mkdir()
    host = f"{name}:80"
    with running(pier_argv(tmp_path / "root", host), host, tmp_path / "log"):
        using(lambda c: push_small(c.repository(name, "a"), "v1", small_image()))
        found = using(lambda c: c.repository(name, "a").manifest("v1"))
        assert found.data == small_image().manifest
    with pytest.raises(RegistryUnreachable, match=f'"http://{name}.*connection refused'):
        using(lambda c: c.repository(name, "a").manifest("v1"))


def test_anonymous_is_the_default() -> None:
    assert client().repository("a.example", "b").credentials is ANONYMOUS
