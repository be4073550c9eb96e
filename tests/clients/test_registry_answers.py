"""The client's way with mirrors, and with registries that refuse, limit or break off."""

import contextlib
import hashlib
import os
import socket
import time
from pathlib import Path

import pytest
from aiohttp import web

from pier.oci.digest import Descriptor, digest_of
from pier.registry.client import RegistryClient
from pier.registry.failures import PushDenied, RegistryDenied, RegistryUnreachable, TooManyRequests
from pier.registry.hosts import Hosts
from pier.registry.uploads import Uploads
from tests.clients.registries import (
    QUICK,
    Site,
    SmallImage,
    client,
    pier_registry,
    put_image,
    small_image,
)
from tests.clients.registry_accounts import ANN, htpasswd
from tests.clients.registry_support import push_small, source_of, using


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
