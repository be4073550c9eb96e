"""Pulls that go on where another stopped, or that share what they fetch. Needs root."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiohttp import web

from pier.images.pull import Puller
from pier.images.receiving import LayerVerificationFailed
from tests.clients.image_sites import lying, serving
from tests.clients.image_store import Store, make_image, opened, pull, read_file, tar, unleft
from tests.clients.registries import REPOSITORY, Site, client, digest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers are extracted as root")


def leave_ingest(store: Store, blob: bytes, data: bytes) -> None:
    """What a killed daemon leaves of a blob on its way."""
    path = store.root / "content" / "ingest" / digest(blob)[7:]
    path.write_bytes(data)


def test_a_pull_goes_on_where_a_killed_daemon_stopped(store: Store) -> None:
    noise = random.Random(3).randbytes(3_000_000)
    image = make_image(tar({"a": noise}))
    layer = image.layers[0]
    leave_ingest(store, layer, layer[:2_000_000])
    with Site(lying(image, layer)) as site:
        asyncio.run(pull(store, f"{site.host}/a"))
        assert [h.get("Range") for _, p, h in site.seen if p.endswith(digest(layer))] == [
            "bytes=2000000-"
        ]
    assert read_file(store, f"{site.host}/a", "a") == noise
    unleft(store)


def test_wrong_leftovers_cost_one_more_attempt_and_lies_are_still_lies(store: Store) -> None:
    noise = random.Random(4).randbytes(3_000_000)
    image = make_image(tar({"a": noise}))
    layer = image.layers[0]
    leave_ingest(store, layer, b"\0" * 2_000_000)
    with Site(lying(image, layer)) as site:
        asyncio.run(pull(store, f"{site.host}/a"))
    assert read_file(store, f"{site.host}/a", "a") == noise
    other = make_image(tar({"b": noise}))
    layer = other.layers[0]
    leave_ingest(store, layer, layer[:2_000_000])
    with (
        Site(lying(other, b"x" * len(layer))) as site,
        pytest.raises(LayerVerificationFailed),
    ):
        asyncio.run(pull(store, f"{site.host}/b"))


def test_concurrent_pulls_fetch_a_layer_once_and_survive_the_first_one_s_end(store: Store) -> None:
    noise = random.Random(5).randbytes(4_000_000)
    image = make_image(tar({"a": noise}))
    other = make_image(tar({"z": b""}), tar({"a": noise}))
    half = asyncio.Event()
    honest = serving(image.manifest, *image.blobs, other.manifest, *other.blobs)
    layer = image.layers[0]

    async def slow(request: web.Request) -> web.StreamResponse:
        if request.path == "/v2/other/manifests/latest":
            return web.Response(body=other.manifest)
        if not request.path.endswith(digest(layer)) or half.is_set():
            return await lying(image, layer)(request) if half.is_set() else await honest(request)
        response = web.StreamResponse()
        response.content_length = len(layer)
        await response.prepare(request)
        await response.write(layer[:2_500_000])
        await half.wait()
        await response.write(layer[2_500_000:])
        return response

    async def scenario(site: Site) -> None:
        registries = client()
        puller = Puller(registries, store.images, reserve_bytes=0)

        async def one(name: str) -> None:
            async for _ in puller.pull(f"{site.host}/{name}"):
                pass

        async with asyncio.TaskGroup() as group:
            first = group.create_task(one("app"))
            while not site.seen or not site.seen[-1][1].endswith(digest(layer)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            group.create_task(one("app"))
            group.create_task(one("other"))
            await asyncio.sleep(0.3)
            first.cancel()
            await asyncio.sleep(0.1)
            site._loop.call_soon_threadsafe(half.set)
        puller.close()
        await registries.close()

    with Site(slow) as site:
        asyncio.run(scenario(site))
        assert read_file(store, f"{site.host}/app", "a") == noise
        assert read_file(store, f"{site.host}/other", "a") == noise
        asked = [h.get("Range", "") for _, path, h in site.seen if path.endswith(digest(layer))]
    assert asked[0] == ""
    assert len(asked) == 2, asked
    assert asked[1].startswith("bytes=")
    unleft(store)


_PULL = """
import asyncio, sys
from pathlib import Path
from tests.clients.image_store import opened, pull
with opened(Path(sys.argv[1])) as store:
    store.images.sweep()
    asyncio.run(pull(store, sys.argv[2]))
"""


def test_killed_in_the_middle_the_next_pull_fetches_only_what_is_missing(tmp_path: Path) -> None:
    noise = random.Random(6).randbytes(6_000_000)
    image = make_image(tar({"a": noise[:1_000_000]}), tar({"b": noise}))
    layer = image.layers[1]
    release = asyncio.Event()
    honest = lying(image, layer)

    async def slow(request: web.Request) -> web.StreamResponse:
        if not request.path.endswith(digest(layer)) or release.is_set():
            return await honest(request)
        response = web.StreamResponse()
        response.content_length = len(layer)
        await response.prepare(request)
        await response.write(layer[:4_500_000])
        await release.wait()
        return response

    root = tmp_path / "store"
    ingest = root / "content" / "ingest" / digest(layer)[7:]
    first = root / "content" / "blobs" / "sha256" / digest(image.layers[0])[7:]
    with Site(slow) as site:
        argv = [sys.executable, "-c", _PULL, str(root), f"{site.host}/a"]
        process = subprocess.Popen(argv, cwd=REPOSITORY)
        deadline = time.monotonic() + 20
        while not (first.exists() and ingest.exists() and ingest.stat().st_size > 4_000_000):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        site._loop.call_soon_threadsafe(release.set)
        with opened(root) as store:
            store.images.sweep()
            assert store.images.list_() == []
            assert store.snapshotter.list_keys("unpack/") == []
            site.seen.clear()
            asyncio.run(pull(store, f"{site.host}/a"))
            asked = {path.rpartition("/")[2]: h.get("Range", "") for _, path, h in site.seen}
            assert digest(image.layers[0]) not in asked
            assert int(asked[digest(layer)][6:-1]) > 4_000_000
            assert read_file(store, f"{site.host}/a", "b") == noise
            check_accounts(store)


def check_accounts(store: Store) -> None:
    """The records and the disk agree."""
    unleft(store)
    rows = store.database.execute("SELECT digest, size FROM blobs").fetchall()
    blobs = store.root / "content" / "blobs" / "sha256"
    on_disk = {f"sha256:{path.name}": path.stat().st_size for path in blobs.iterdir()}
    assert {str(row["digest"]): int(row["size"]) for row in rows} == on_disk
    numbers = {str(row["id"]) for row in store.database.execute("SELECT id FROM snapshots")}
    directories = {path.name for path in (store.root / "snapshots").iterdir()} - {"trash"}
    assert directories == numbers
