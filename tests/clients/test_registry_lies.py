"""Registries and archives that lie: wrong bytes, wrong documents, bombs. Needs root."""

import asyncio
import json
import os
import random
import resource
import subprocess
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pier.errors import PierError
from pier.images.receiving import LayerVerificationFailed
from pier.images.room import DiskWouldFill
from pier.images.unpack import DiffIdMismatch
from tests.clients.image_sites import lying, serving
from tests.clients.image_store import Store, make_image, opened, pull, read_file, tar, unleft
from tests.clients.registries import Site, client, digest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers are extracted as root")


def test_wrong_bytes_are_refused_and_nothing_is_left(store: Store) -> None:
    noise = random.Random(1).randbytes(3_000_000)
    image = make_image(tar({"a": b"1"}), tar({"b": noise}))
    layer = bytearray(image.layers[-1])
    layer[len(layer) // 2] ^= 1
    words = f"filesystem layer verification failed for digest {digest(image.layers[-1])}"
    for lie in (bytes(layer), b"x" * len(layer)):
        with (
            Site(lying(image, lie)) as site,
            pytest.raises(LayerVerificationFailed, match=words),
        ):
            asyncio.run(pull(store, f"{site.host}/a"))
        assert store.images.list_() == []
        assert store.snapshotter.list_keys("unpack/") == []
    for lie in (image.layers[-1][:-1], image.layers[-1] + b"x"):
        with Site(lying(image, lie)) as site, pytest.raises(PierError, match="bytes announced"):
            asyncio.run(pull(store, f"{site.host}/a"))


def test_a_config_that_lies_about_its_layers_is_refused(store: Store) -> None:
    image = make_image(tar({"a": b"1"}), diff_ids=[digest(b"other")])
    with Site(serving(image.manifest, *image.blobs)) as site, pytest.raises(DiffIdMismatch):
        asyncio.run(pull(store, f"{site.host}/a"))
    unleft(store)


def test_a_layer_that_is_no_archive_is_refused(store: Store) -> None:
    noise = random.Random(2).randbytes(2_000_000)
    image = make_image(noise, packed=[noise])
    with Site(serving(image.manifest, *image.blobs)) as site, pytest.raises(PierError, match="tar"):
        asyncio.run(pull(store, f"{site.host}/a"))
    unleft(store)


def test_a_mirror_that_lies_is_passed_over(store: Store) -> None:
    noise = random.Random(7).randbytes(2_000_000)
    image = make_image(tar({"a": noise}))
    layer = image.layers[0]
    with Site(lying(image, b"x" * len(layer))) as mirror, Site(lying(image, layer)) as origin:
        registries = client({origin.host: [f"http://{mirror.host}"]})
        asyncio.run(pull(store, f"{origin.host}/a", registries=registries))
        assert read_file(store, f"{origin.host}/a", "a") == noise
        assert [path for _, path, _ in mirror.seen if path.endswith(digest(layer))]
    unleft(store)


def test_a_gzip_bomb_is_refused_before_the_disk_is_full_in_bounded_memory(store: Store) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1_000_000)
    head = bytearray(tar({"zeros": b""})[:512])
    head[124:136] = b"77777777777\0"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    packed = packer.compress(bytes(head))
    packed += b"".join(packer.compress(zeros) for _ in range(2000)) + packer.flush()
    image = make_image(b"x", packed=[packed])
    found = os.statvfs(store.root)
    reserve = found.f_bavail * found.f_frsize - 300_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (
        Site(serving(image.manifest, *image.blobs)) as site,
        pytest.raises(DiskWouldFill, match="does not fit"),
    ):
        asyncio.run(pull(store, f"{site.host}/a", reserve_bytes=reserve))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 64_000_000, grown
    assert store.snapshotter.list_keys("unpack/") == []


def test_a_bomb_in_an_archive_is_refused_before_a_small_disk_is_full(tmp_path: Path) -> None:
    """`docker load`, on a disk of 64 MB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", tmp_path], check=True)
    try:
        plain = tar({"zeros": bytes(200_000_000)})
        image = make_image(plain)
        manifest = [{"Config": "c.json", "RepoTags": ["bomb:1"], "Layers": ["l"]}]
        documents = {"c.json": image.config, "manifest.json": json.dumps(manifest).encode()}
        archive = tar({"l": image.layers[0], **documents})

        async def load(store: Store) -> None:
            async for _ in store.images.load(_one(archive)):
                pass

        with opened(tmp_path / "store") as store:
            with pytest.raises(DiskWouldFill, match="does not fit"):
                asyncio.run(load(store))
            assert store.images.list_() == []
            assert store.snapshotter.list_keys("unpack/") == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data
