"""A pull-through cache within bounds, and in front of a daemon while its upstream is in trouble."""

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from pier.errors import InvalidArgument
from pier.oci.digest import Digest, encoded
from pier.registry.server.backend import Directory, Entry
from pier.registry.server.contents import Contents, Stored
from pier.registry.server.evict import Bounds, Eviction, choose, parse_size
from pier.registry.server.metrics import Metrics
from tests.clients.image_store import make_image, tar, upload
from tests.clients.registries import (
    Site,
    digest,
    free_port,
    http,
    pier_registry,
    put_image,
    small_image,
)
from tests.daemon import Daemon


def test_sizes_are_read_as_people_write_them() -> None:
    assert [parse_size(text) for text in ("0", "12", "3k", "2G", "1tb")] == [
        0, 12, 3072, 2 * 1024**3, 1024**4,
    ]  # fmt: skip
    for text in ("", "-1", "ten", "1.5g", "3x"):
        with pytest.raises(InvalidArgument, match="invalid size"):
            parse_size(text)


@pytest.mark.parametrize(
    ("bounds", "gone"),
    [
        (Bounds(), ""),
        (Bounds(age_s=500), "a"),
        (Bounds(size_bytes=100), ""),
        (Bounds(size_bytes=60), "a"),
        (Bounds(size_bytes=59), "ab"),
        (Bounds(size_bytes=1), "ab"),
        (Bounds(size_bytes=60, age_s=50), "ab"),
    ],
)
def test_the_least_recently_used_goes_and_what_is_in_use_stays(bounds: Bounds, gone: str) -> None:
    entries = [Entry("c", 30, 995), Entry("a", 40, 0), Entry("b", 30, 900)]
    chosen = choose(entries, bounds, now_s=1000, spared_s=10)
    assert "".join(entry.name for entry in chosen) == gone


def test_evicting_a_manifest_takes_its_tag_and_leaves_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        contents = Contents(Directory(tmp_path))
        old, new = small_image(b"old" * 1000, "old"), small_image(b"new" * 1000, "new")
        for tag, image in (("old", old), ("new", new)):
            for data in (image.config, image.layer):
                file = tmp_path / "incoming"
                file.write_bytes(data)
                await contents.adopt_blob("a/b", Digest(digest(data)), file)
            stored = Stored(image.media_type, Digest(digest(image.manifest)), image.manifest)
            await contents.put_manifest("a/b", stored, [tag])
        for data in (old.config, old.layer, old.manifest):
            os.utime(tmp_path / "blobs/sha256" / encoded(Digest(digest(data))), (1, 1))
        restarted = Contents(Directory(tmp_path))
        size = sum(map(len, (new.config, new.layer, new.manifest)))
        eviction = Eviction(restarted, Bounds(size_bytes=size), Metrics())
        assert (await eviction.run()).blobs == 3
        assert await restarted.tags("a/b") == ["new"]
        assert len(await restarted.linked_blobs("a/b")) == 2
        assert (await restarted.manifest("a/b", "new")).data == new.manifest
        assert (await eviction.run()).blobs == 0

    asyncio.run(scenario())


def test_a_cache_stays_within_its_bound_and_fetches_again_what_went(tmp_path: Path) -> None:
    first, second = small_image(os.urandom(400_000), "1"), small_image(os.urandom(400_000), "2")
    flags = ("--proxy-size", "600k")
    blobs = tmp_path / "cache" / "blobs" / "sha256"

    def ask(cache: str, tag: str) -> None:
        image = first if tag == "first" else second
        assert http("GET", f"http://{cache}/v2/a/manifests/{tag}").body == image.manifest
        for data in (image.config, image.layer):
            assert http("GET", f"http://{cache}/v2/a/blobs/{digest(data)}").body == data

    with pier_registry(tmp_path / "upstream") as upstream:
        put_image(upstream, "a", "first", first)
        put_image(upstream, "a", "second", second)
        with pier_registry(tmp_path / "cache", "--proxy", upstream, *flags) as cache:
            ask(cache, "first")
            ask(cache, "second")  # over the bound, but all of it was asked for just now
        assert len(list(blobs.iterdir())) == 6
        for data in (first.config, first.layer, first.manifest):
            os.utime(blobs / digest(data)[7:], (1, 1))
        with pier_registry(tmp_path / "cache", "--proxy", upstream, *flags) as cache:
            deadline = time.monotonic() + 20
            while (blobs / digest(first.layer)[7:]).exists():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            ask(cache, "second")
            ask(cache, "first")
            metrics = http("GET", f"http://{cache}/metrics").body.decode()
        assert "pier_registry_evicted_bytes_total 40" in metrics


def test_bounds_without_a_cache_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="are bounds of a cache: see --proxy"),
        pier_registry(tmp_path / "root", "--proxy-age", "60"),
    ):
        pass


class Hub:
    """Docker Hub, as far as a cache sees it: it serves, limits, or is gone."""

    def __init__(self, registry: str) -> None:
        self._registry = registry
        self.limited = threading.Event()

    async def respond(self, request: web.Request) -> web.StreamResponse:
        if self.limited.is_set():
            body = {
                "errors": [{"code": "TOOMANYREQUESTS", "message": "You have reached your limit"}]
            }
            return web.json_response(body, status=429)
        accept = {"Accept": request.headers.get("Accept", "*/*")}
        url = f"http://{self._registry}{request.path_qs}"
        found = await asyncio.to_thread(http, request.method, url, None, **accept)
        kept = ("Content-Type", "Docker-Content-Digest", "Content-Length")
        headers = {name: found.headers[name] for name in kept if name in found.headers}
        if request.method != "HEAD":
            headers.pop("Content-Length", None)
        return web.Response(status=found.status, body=found.body, headers=headers)


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[str]:
    with pier_registry(tmp_path / "upstream") as host:
        yield host


@pytest.mark.skipif(os.geteuid() != 0, reason="a daemon needs root")
def test_docker_pulls_through_the_cache_while_the_hub_limits_and_is_gone(
    tmp_path: Path, upstream: str
) -> None:
    image = make_image(tar({"story": b"told"}))
    manifest = upload(upstream, "library/story", "latest", image)
    upload(upstream, "library/other", "latest", make_image(tar({"b": b"2"})))
    hub = Hub(upstream)
    port = free_port()
    cache = f"127.0.0.1:{port}"
    with Site(hub.respond) as site:
        flags = ("--proxy", site.host)
        with (
            pier_registry(tmp_path / "cache", *flags, port=port),
            Daemon(tmp_path / "daemon", "--registry-mirror", f"http://{cache}") as daemon,
        ):
            pulled = daemon.docker("pull", "story")
            assert f"Digest: {manifest}" in pulled
            assert "Status: Downloaded newer image for story:latest" in pulled
            shown = json.loads(daemon.docker("image", "inspect", "story"))[0]
            assert shown["RepoDigests"] == [f"story@{manifest}"]
            hub.limited.set()
            daemon.docker("rmi", "story")
            assert f"Digest: {manifest}" in daemon.docker("pull", "story")
            refused = daemon.docker("pull", "other", status=1)
            assert "registry-1.docker.io" in refused, "the origin has the last word"
            daemon.docker("rmi", "story")
            site.respond = _gone
            assert f"Digest: {manifest}" in daemon.docker("pull", "story")
            assert f"story@{manifest}" in daemon.docker("pull", f"story@{manifest}")


async def _gone(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response(status=500)
