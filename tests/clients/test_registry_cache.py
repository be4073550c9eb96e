"""The pull-through cache, with an upstream that changes, limits and goes away; and S3 storage."""

import asyncio
import contextlib
import http.client as http_client
import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.clients.registries import (
    Answer,
    Site,
    SmallImage,
    digest,
    free_port,
    http,
    pier_registry,
    put_blob,
    put_image,
    running,
    skopeo,
    small_image,
)


def get_image(host: str, tag: str, image: SmallImage) -> Answer:
    """What a pull asks for; the manifest's answer."""
    answer = http("GET", f"http://{host}/v2/a/manifests/{tag}")
    if answer.status == 200:
        for data in (image.config, image.layer):
            found = http("GET", f"http://{host}/v2/a/blobs/{digest(data)}")
            assert (found.status, found.body) == (200, data)
    return answer


def test_it_fetches_once_follows_tags_and_serves_what_it_has(tmp_path: Path) -> None:
    old, new = small_image(os.urandom(2_000_000), "old"), small_image(os.urandom(1000), "new")
    port = free_port()
    upstream = f"127.0.0.1:{port}"
    with pier_registry(tmp_path / "cache", "--proxy", upstream) as cache:
        with pier_registry(tmp_path / "upstream", port=port):
            put_image(upstream, "a", "latest", old)
            assert get_image(cache, "latest", old).body == old.manifest
            put_image(upstream, "a", "latest", new)
            assert get_image(cache, "latest", new).body == new.manifest
            tags = json.loads(http("GET", f"http://{cache}/v2/a/tags/list").body)["tags"]
            assert tags == ["latest"]
            assert http("GET", f"http://{cache}/v2/a/manifests/none").code == "MANIFEST_UNKNOWN"
            unknown = f"http://{cache}/v2/a/blobs/{digest(b'none')}"
            assert http("GET", unknown).code == "BLOB_UNKNOWN"
        assert get_image(cache, "latest", new).body == new.manifest
        assert get_image(cache, digest(old.manifest), old).body == old.manifest
        missing = http("GET", f"http://{cache}/v2/a/manifests/never")
        assert (missing.status, missing.code) == (503, "UNAVAILABLE")
        assert http("POST", f"http://{cache}/v2/a/blobs/uploads/", b"").code == "UNSUPPORTED"
        metrics = http("GET", f"http://{cache}/metrics").body.decode()
        assert 'result="stale"' in metrics


def test_an_upstream_that_answers_429_is_not_noticed_by_who_has_pulled_before(
    tmp_path: Path,
) -> None:
    image = small_image()
    limited = threading.Event()

    async def hub(request: web.Request) -> web.StreamResponse:
        if limited.is_set():
            body = {"errors": [{"code": "TOOMANYREQUESTS", "message": "pull rate limit"}]}
            return web.json_response(body, status=429)
        name = request.path.rpartition("/")[2]
        for data in (image.manifest, image.config, image.layer):
            if name in ("latest", digest(data)):
                kind = image.media_type if data is image.manifest else "x/y"
                return web.Response(
                    body=data, content_type=kind, headers={"Docker-Content-Digest": digest(data)}
                )
        return web.Response(status=404)

    with Site(hub) as site, pier_registry(tmp_path / "cache", "--proxy", site.host) as cache:
        assert get_image(cache, "latest", image).status == 200
        limited.set()
        assert get_image(cache, "latest", image).body == image.manifest
        answer = http("GET", f"http://{cache}/v2/a/manifests/other")
        assert (answer.status, answer.code) == (429, "TOOMANYREQUESTS")
        assert "pull rate limit" in answer.body.decode()


def test_many_readers_share_one_fetch_and_read_along(tmp_path: Path) -> None:
    data = os.urandom(4_000_000)
    half = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": str(len(data))})
        response = web.StreamResponse()
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(data[:2_500_000])
        await half.wait()
        await response.write(data[2_500_000:])
        return response

    with Site(slow) as site, pier_registry(tmp_path / "cache", "--proxy", site.host) as cache:
        path = f"/v2/a/blobs/{digest(data)}"
        name, _, port = cache.rpartition(":")
        with contextlib.ExitStack() as stack:
            readers = []
            for _ in range(3):
                raw = stack.enter_context(socket.create_connection((name, int(port)), 10))
                raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                readers.append(raw)
            firsts = [raw.recv(1000) for raw in readers]
            assert all(first.startswith(b"HTTP/1.1 200") for first in firsts)
            site._loop.call_soon_threadsafe(half.set)
            for raw, first in zip(readers, firsts, strict=True):
                whole = first
                while more := raw.recv(65_536):
                    whole += more
                assert whole.partition(b"\r\n\r\n")[2] == data
        assert len([1 for method, _, _ in site.seen if method == "GET"]) == 1
        assert http("GET", f"http://{cache}{path}").body == data


def test_wrong_bytes_from_upstream_never_look_whole_and_are_not_kept(tmp_path: Path) -> None:
    data = os.urandom(500_000)

    async def lie(request: web.Request) -> web.StreamResponse:
        body = data[:-1] + bytes([data[-1] ^ 1])
        return web.Response(body=body)

    root = tmp_path / "cache"
    with Site(lie) as site, pier_registry(root, "--proxy", site.host) as cache:
        with contextlib.suppress(http_client.IncompleteRead, ConnectionError):
            answer = http("GET", f"http://{cache}/v2/a/blobs/{digest(data)}")
            assert answer.status == 502
        assert not list(root.glob("blobs/sha256/*"))
        assert not list(root.glob("uploads/*"))


def test_a_fetch_goes_on_after_the_cache_was_restarted(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    root = tmp_path / "cache"
    (root / "uploads").mkdir(parents=True)
    (root / "uploads" / digest(data).replace(":", "-")).write_bytes(data[:2_000_000])
    with pier_registry(tmp_path / "upstream") as upstream:
        put_blob(upstream, "a", data)
        with pier_registry(root, "--proxy", upstream) as cache:
            assert http("GET", f"http://{cache}/v2/a/blobs/{digest(data)}").body == data
            metrics = http("GET", f"http://{upstream}/metrics").body.decode()
    assert "pier_registry_blob_sent_bytes_total" in metrics


def test_a_password_for_the_upstream(tmp_path: Path) -> None:
    bcrypt = pytest.importorskip("bcrypt")
    file = tmp_path / "htpasswd"
    file.write_text("ann:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(rounds=4)).decode() + "\n")
    image = small_image()
    with pier_registry(tmp_path / "upstream") as upstream:
        put_image(upstream, "a", "latest", image)
    with pier_registry(tmp_path / "upstream", "--htpasswd", str(file)) as upstream:
        flags = ("--proxy", upstream, "--proxy-user", "ann")
        env = {"PIER_PROXY_PASSWORD": "secret"}
        with pier_registry(tmp_path / "cache", *flags, env=env) as cache:
            assert get_image(cache, "latest", image).body == image.manifest


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server with the bucket `registry`; its address."""
    pytest.importorskip("obstore")
    pytest.importorskip("flask")
    moto = Path(sys.executable).with_name("moto_server")
    if not moto.exists():
        pytest.skip("moto_server is not installed")
    host = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    port = host.rpartition(":")[2]
    with running([str(moto), "-H", "127.0.0.1", "-p", port], host, tmp_path / "moto.log"):
        assert http("PUT", f"http://{host}/registry").status == 200
        yield f"http://{host}"


def test_content_in_object_storage(tmp_path: Path, bucket: str) -> None:
    image = small_image(os.urandom(20_000_000))
    flags = ("--s3", "s3://registry/some/prefix", "--s3-endpoint", bucket)
    with pier_registry(tmp_path / "one", *flags) as host:
        put_image(host, "a/b", "latest", image)
        put_image(host, "c", "latest", small_image(b"c", "c"))
        url = f"http://{host}/v2/a/b/blobs/{digest(image.layer)}"
        assert http("GET", url).body == image.layer
        part = http("GET", url, Range="bytes=19999990-")
        assert (part.status, part.body) == (206, image.layer[19_999_990:])
        assert http("GET", url, Range="bytes=20000000-").status == 416
        assert http("HEAD", url).headers["Content-Length"] == "20000000"
        mount = f"http://{host}/v2/d/blobs/uploads/?mount={digest(image.layer)}&from=a/b"
        assert http("POST", mount, b"").status == 201
    assert not list((tmp_path / "one" / "uploads").iterdir())
    with pier_registry(tmp_path / "two", *flags) as host:
        found = http("GET", f"http://{host}/v2/a/b/manifests/latest")
        assert found.body == image.manifest
        catalogue = json.loads(http("GET", f"http://{host}/v2/_catalog").body)
        assert catalogue == {"repositories": ["a/b", "c"]}
        manifests = f"http://{host}/v2/a/b/manifests"
        assert http("DELETE", f"{manifests}/{digest(image.manifest)}").status == 202
        assert http("GET", f"{manifests}/latest").status == 404


def test_skopeo_copies_through_our_registry(tmp_path: Path) -> None:
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed")
    layout = tmp_path / "layout"
    write_layout(layout)
    with pier_registry(tmp_path / "one") as one, pier_registry(tmp_path / "two") as two:
        skopeo("copy", f"oci:{layout}:x", f"docker://{one}/a/b:1")
        skopeo("copy", f"docker://{one}/a/b:1", f"docker://{two}/c:2")
        inspected = json.loads(skopeo("inspect", f"docker://{two}/c:2"))
        first = http("GET", f"http://{one}/v2/a/b/manifests/1")
        assert inspected["Digest"] == first.headers["Docker-Content-Digest"]
        listed = skopeo("list-tags", f"docker://{two}/c")
        assert json.loads(listed)["Tags"] == ["2"]
        skopeo("delete", f"docker://{two}/c:2")
        assert http("GET", f"http://{two}/v2/c/manifests/2").status == 404


def write_layout(root: Path) -> None:
    """An OCI layout with one image, `x`, of one empty layer."""
    layer = bytes(1024)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described("application/vnd.oci.image.config.v1+json", config),
            "layers": [described("application/vnd.oci.image.layer.v1.tar", layer)],
        }
    ).encode()
    entry = described("application/vnd.oci.image.manifest.v1+json", manifest)
    named = {**entry, "annotations": {"org.opencontainers.image.ref.name": "x"}}
    blobs = root / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for data in (layer, config, manifest):
        (blobs / digest(data)[7:]).write_bytes(data)
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def described(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}
