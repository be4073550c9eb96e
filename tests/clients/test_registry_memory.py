"""The daemon's memory while docker pulls from hostile registries, all at once, again and again."""

import gzip
import json
import os
import random
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiohttp import web
from backports import zstd

from tests.clients.image_store import DOCKER, LAYER, described, make_image, tar
from tests.clients.registries import Site, digest
from tests.daemon import Daemon

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a daemon needs root")
LIMIT_KIB = 260_000
"""Above what it takes after an honest pull. Most of it is zstd's: a frame may ask for a window of
128 MiB, and three layers are on their way at once."""


def peak_kib(daemon: Daemon) -> int:
    assert daemon.process is not None
    for line in Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError("no VmHWM")


def zeros(megabytes: int) -> bytes:
    """A gzip stream of that many megabytes, in a thousandth of them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    chunk = bytes(1_000_000)
    return b"".join(packer.compress(chunk) for _ in range(megabytes)) + packer.flush()


def with_layer(blob: bytes, diff_id: str, media_type: str = LAYER) -> tuple[bytes, bytes]:
    """Manifest and config of an image that claims `blob` unpacks to `diff_id`."""
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }
    ).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER,
        "config": described("application/vnd.docker.container.image.v1+json", config),
        "layers": [described(media_type, blob)],
    }
    return json.dumps(manifest).encode(), config


def many_headers() -> bytes:
    """A tar whose one member has a million bytes of names, again and again."""
    block = tar({"a/" * 100 + "x" * 50_000: b""})[:-10240]
    return gzip.compress(block * 2000, 1)


def wide_window() -> bytes:
    """zstd that needs a window of 128 MiB."""
    options = {int(zstd.CompressionParameter.window_log): 27}
    noise = random.Random(1).randbytes(1_000_000)
    return zstd.compress(tar({"a": noise * 150}), options=options)


class Hostile:
    """`/v2/<what>/…`: each repository does its own kind of harm."""

    def __init__(self) -> None:
        blobs = {
            "bomb": zeros(1500),
            "headers": many_headers(),
            "window": wide_window(),
        }
        self._documents: dict[str, bytes] = {}
        self._manifests: dict[str, bytes] = {}
        for name, blob in blobs.items():
            manifest, config = with_layer(blob, digest(b"other"))
            self._manifests[name] = manifest
            self._documents |= {digest(data): data for data in (manifest, config, blob)}
        image = make_image(tar({"a": b"1" * 100_000}))
        self._manifests["long"] = image.manifest
        self._documents[digest(image.config)] = image.config

    async def respond(self, request: web.Request) -> web.StreamResponse:
        name = request.path.split("/")[2]
        last = request.path.rpartition("/")[2]
        if name in self._manifests and last == "latest":
            return web.Response(body=self._manifests[name], content_type=DOCKER)
        if last in self._documents:
            return web.Response(body=self._documents[last])
        if name == "error":
            return await _endless(request, 500, b'{"errors":[{"message":"')
        if name == "token" and last != "latest":
            return await _endless(request, 200, b'{"token":"')
        if name == "token":
            realm = f'Bearer realm="http://{request.host}/v2/token/auth"'
            return web.Response(status=401, headers={"WWW-Authenticate": realm})
        return await _endless(request, 200, b" ")


async def _endless(request: web.Request, status: int, begin: bytes) -> web.StreamResponse:
    response = web.StreamResponse(status=status)
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(begin)
    while True:
        await response.write(b"x" * 262_144)


KINDS = {
    "manifest": "larger than 4194304 bytes",
    "error": "500 Internal Server Error",
    "token": "larger than 1048576 bytes",
    "long": "has more than",
    "bomb": "layer has diff ID",
    "headers": "too many headers about one entry",
    "window": "layer has diff ID",
}
"""What each is refused with."""


def test_hostile_registries_are_refused_in_bounded_memory(own_daemon: Daemon) -> None:
    hostile = Hostile()
    with ExitStack() as stack:
        sites = {kind: stack.enter_context(Site(hostile.respond)) for kind in KINDS}
        images = [f"{site.host}/{kind}" for kind, site in sites.items()]
        before = peak_kib(own_daemon)
        for _ in range(2):
            with ThreadPoolExecutor(len(KINDS)) as pool:
                told = list(pool.map(lambda image: _refused(own_daemon, image), images))
        grown = peak_kib(own_daemon) - before
    for kind, words in zip(KINDS, told, strict=True):
        assert KINDS[kind] in words, (kind, words)
    assert len(own_daemon.docker("images", "-aq").split()) == 1, "busybox alone"
    assert grown < LIMIT_KIB, grown


def _refused(daemon: Daemon, image: str) -> str:
    done = daemon.run(["docker", "pull", image], timeout_s=150)
    assert done.returncode != 0, image
    return done.stderr.decode()
