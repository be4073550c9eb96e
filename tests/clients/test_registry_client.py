"""The client against real registries: ours and Debian's, with passwords and tokens, and mirrors."""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl

import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from pier.oci.digest import Descriptor, digest_of
from pier.registry.client import RegistryClient
from pier.registry.credentials import ANONYMOUS, Credentials
from pier.registry.failures import (
    ManifestUnknown,
    PushDenied,
    RegistryDenied,
    RegistryUnauthorized,
    RegistryUnreachable,
    TooManyRequests,
)
from pier.registry.fetching import Memory
from pier.registry.hosts import Hosts
from pier.registry.repository import Repository
from pier.registry.uploads import Source, Uploads
from tests.clients.registries import (
    QUICK,
    Site,
    SmallImage,
    client,
    debian_registry,
    free_port,
    pier_registry,
    put_image,
    small_image,
)

T = TypeVar("T")
ANN = Credentials("ann", "secret")


def using(work: Callable[[RegistryClient], Awaitable[T]], made: RegistryClient | None = None) -> T:
    """Run `work` with a client that is closed afterwards."""

    async def scenario() -> T:
        registries = made or client()
        try:
            return await work(registries)
        finally:
            await registries.close()

    return asyncio.run(scenario())


def source_of(data: bytes) -> Source:
    async def chunks(offset: int, size: int) -> AsyncIterator[bytes]:
        for start in range(offset, offset + size, 65_536):
            yield data[start : min(start + 65_536, offset + size)]

    return chunks


async def push_small(repository: Repository, tag: str, image: SmallImage) -> None:
    uploads = Uploads(repository)
    for data in (image.config, image.layer):
        digest = digest_of(data)
        assert not await uploads.has_blob(digest)
        await uploads.upload(Descriptor("", digest, len(data)), source_of(data))
        assert await uploads.has_blob(digest)
    await uploads.put_manifest(tag, image.media_type, image.manifest)


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


def htpasswd(tmp_path: Path) -> Path:
    bcrypt = pytest.importorskip("bcrypt")
    file = tmp_path / "htpasswd"
    file.write_text("ann:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(rounds=4)).decode() + "\n")
    return file


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


class TokenServer:
    """Gives tokens that Debian's registry takes (distribution token specification, ES256)."""

    def __init__(self) -> None:
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        issued = authority.issue_cert("token.example", key_type=trustme.KeyType.ECDSA)
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.key = key
        self.bundle = authority.cert_pem.bytes()
        lines = issued.cert_chain_pems[0].bytes().decode().splitlines()
        self.x5c = ["".join(lines[1:-1])]
        self.asked: list[list[tuple[str, str]]] = []
        self.life_s = 60

    async def respond(self, request: web.Request) -> web.StreamResponse:
        query = parse_qsl(request.query_string)
        authorization = request.headers.get("Authorization", "")
        if request.method == "POST":
            query = parse_qsl((await request.read()).decode())
            if dict(query).get("refresh_token") != "refresh":
                return web.Response(status=401)
        elif authorization and authorization != ANN.basic():
            return web.json_response({"details": "incorrect username or password"}, status=401)
        self.asked.append(query)
        known = request.method == "POST" or bool(authorization)
        scopes = [s for name, value in query if name == "scope" for s in value.split()]
        token = self.token(scopes if known else [])
        return web.json_response(
            {"token": token, "expires_in": self.life_s, "refresh_token": "refresh"}
        )

    def token(self, scopes: list[str]) -> str:
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {
            "iss": "issuer", "aud": "service", "sub": "ann", "jti": os.urandom(4).hex(),
            "nbf": now - 5, "iat": now, "exp": now + self.life_s, "access": access,
        }  # fmt: skip
        header = {"typ": "JWT", "alg": "ES256", "x5c": self.x5c}
        text = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


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


def test_mirrors_are_tried_in_order_and_asked_as_nobody(tmp_path: Path) -> None:
    image = small_image()

    async def down(_: web.Request) -> web.StreamResponse:
        return web.Response(status=503)

    with (
        pier_registry(tmp_path / "mirror") as mirror,
        pier_registry(tmp_path / "origin", "--htpasswd", str(htpasswd(tmp_path))) as origin,
        Site(down) as broken,
    ):
        put_image(mirror, "a", "latest", image)
        mirrors = {origin: [f"http://{broken.host}", f"http://{mirror}"]}
        found = using(lambda c: c.repository(origin, "a", ANN).manifest("latest"), client(mirrors))
        assert found.data == image.manifest
        assert broken.seen
        assert not any("Authorization" in headers for _, _, headers in broken.seen)
        using(lambda c: push_small(c.repository(origin, "b", ANN), "v1", image), client(mirrors))
        found = using(lambda c: c.repository(origin, "b", ANN).manifest("v1"), client(mirrors))
        assert found.data == image.manifest
    with pytest.raises(RegistryUnreachable, match="connect: connection refused"):
        using(lambda c: c.repository(origin, "a").manifest("latest"), client(mirrors))


def test_a_mirror_that_does_not_answer_is_given_up_after_its_dial_timeout(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as silent,
        contextlib.ExitStack() as stack,
        pier_registry(tmp_path / "origin") as origin,
    ):
        address = silent.getsockname()
        for _ in range(3):  # now the kernel answers nobody else
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        put_image(origin, "a", "latest", small_image())
        directory = tmp_path / "certs.d" / origin
        directory.mkdir(parents=True)
        (directory / "hosts.toml").write_text(
            f'server = "http://{origin}"\n[host."http://127.0.0.1:{address[1]}"]\n'
            'dial_timeout = "300ms"\n'
        )
        began_s = time.monotonic()
        registries = RegistryClient(
            Hosts(directories=[tmp_path / "certs.d"]), patience=QUICK, environ={}
        )
        found = using(lambda c: c.repository(origin, "a").manifest("latest"), registries)
        assert found.data == small_image().manifest
        assert 0.3 <= time.monotonic() - began_s < 5


def test_pushing_to_a_read_only_registry_says_so(tmp_path: Path) -> None:
    words = "unsupported: this registry is read-only"
    with (
        pier_registry(tmp_path / "root", "--readonly") as host,
        pytest.raises(Exception, match=words),
    ):
        using(lambda c: push_small(c.repository(host, "a"), "v1", small_image()))


def test_denied_is_not_unknown() -> None:
    async def deny(_: web.Request) -> web.StreamResponse:
        body = {"errors": [{"code": "DENIED", "message": "requested access is denied"}]}
        return web.json_response(body, status=403)

    with Site(deny) as site:
        with pytest.raises(RegistryDenied, match="denied: requested access is denied"):
            using(lambda c: c.repository(site.host, "a").manifest("latest"))
        with pytest.raises(PushDenied, match="denied: requested access to the resource is denied"):
            using(lambda c: Uploads(c.repository(site.host, "a")).has_blob(digest_of(b"")))


def test_retry_after_is_honoured_and_a_limit_is_told_in_the_registry_s_words() -> None:
    count = [0]
    wait = ["1"]

    async def limited(_: web.Request) -> web.StreamResponse:
        count[0] += 1
        if count[0] == 1 or wait[0] != "1":
            body = {"errors": [{"code": "TOOMANYREQUESTS", "message": "You have reached it"}]}
            headers = {"Retry-After": wait[0]} if wait[0] else {}
            return web.json_response(body, status=429, headers=headers)
        return web.Response(body=small_image().manifest, content_type=SmallImage.media_type)

    with Site(limited) as site:
        began = time.monotonic()
        using(lambda c: c.repository(site.host, "a").manifest("latest"))
        assert time.monotonic() - began >= 1
        for wait[0] in ("3600", ""):
            with pytest.raises(TooManyRequests, match=r"^toomanyrequests: You have reached it"):
                using(lambda c: c.repository(site.host, "a").manifest("latest"))


def test_referrers_come_by_the_api_and_by_the_tag(tmp_path: Path) -> None:
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {"mediaType": "x/y", "digest": str(digest_of(b"sig")), "size": 3, "artifactType": "a/b"}
        ],
    }
    subject = digest_of(b"subject")

    async def old_registry(request: web.Request) -> web.StreamResponse:
        if request.path == f"/v2/a/manifests/sha256-{hashlib.sha256(b'subject').hexdigest()}":
            return web.json_response(index, content_type=str(index["mediaType"]))
        return web.Response(status=404)

    with Site(old_registry) as site:
        (one,) = using(lambda c: c.repository(site.host, "a").referrers(subject))
        assert one.artifact_type == "a/b"
        assert using(lambda c: c.repository(site.host, "a").referrers(subject, "c/d")) == []
        assert using(lambda c: c.repository(site.host, "b").referrers(subject)) == []
    with pier_registry(tmp_path / "root") as host:
        assert using(lambda c: c.repository(host, "a").referrers(subject)) == []


def test_an_upload_goes_on_where_the_connection_broke() -> None:
    data = os.urandom(5_000_000)
    held = bytearray()
    state = {"breaks": 2, "sent": 0}

    async def flaky(request: web.Request) -> web.StreamResponse:
        headers = {"Location": "/v2/a/blobs/uploads/1"}
        if request.method == "GET":
            return web.Response(
                status=204, headers={**headers, "Range": f"0-{max(len(held) - 1, 0)}"}
            )
        if request.method == "PATCH":
            first = int(request.headers["Content-Range"].partition("-")[0])
            if first != len(held):
                return web.Response(status=416)
            async for chunk in request.content.iter_any():
                held.extend(chunk)
                state["sent"] += len(chunk)
                if state["breaks"] and len(held) > 1_500_000 * (3 - state["breaks"]):
                    state["breaks"] -= 1
                    assert request.transport is not None
                    request.transport.abort()
                    return web.Response(status=500)
            return web.Response(status=202, headers=headers)
        if request.method == "PUT":
            right = request.query["digest"] == digest_of(bytes(held))
            return web.Response(status=201 if right else 400)
        return web.Response(status=202 if request.method == "POST" else 404, headers=headers)

    with Site(flaky) as site:
        blob = Descriptor("", digest_of(data), len(data))
        using(lambda c: Uploads(c.repository(site.host, "a")).upload(blob, source_of(data)))
        assert bytes(held) == data
        assert state == {"breaks": 0, "sent": len(data)}


def test_anonymous_is_the_default() -> None:
    assert client().repository("a.example", "b").credentials is ANONYMOUS
