"""Waiting for a registry: told in Docker's words, as long as it asks, and not for a mirror."""

import asyncio
import os
import random
import time
from pathlib import Path

import pytest
from aiohttp import web
from backports import zstd

from pier.images.push import Pusher
from tests.clients.image_store import (
    MadeImage,
    Store,
    make_image,
    pull,
    push,
    statuses,
    tar,
    upload,
)
from tests.clients.registries import Respond, Site, client, digest, pier_registry

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers are extracted as root")
NOISE = random.Random(11).randbytes(3_000_000)


def serving(image: MadeImage, **troubles: web.Response) -> Respond:
    """The image; a path that contains a key of `troubles` gets its answer once, at first."""
    left = dict(troubles)

    async def respond(request: web.Request) -> web.StreamResponse:
        for part in [part for part in left if part in request.path]:
            return left.pop(part)
        for data in (image.manifest, *image.blobs):
            if request.path.endswith((digest(data), "/latest")):
                headers = {"Docker-Content-Digest": digest(data)}
                return _ranged(request, data, headers)
        return web.Response(status=404)

    return respond


def _ranged(request: web.Request, data: bytes, headers: dict[str, str]) -> web.Response:
    start = int(request.headers.get("Range", "bytes=0-")[6:-1])
    if not start:
        return web.Response(body=data, headers=headers)
    headers = headers | {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
    return web.Response(status=206, body=data[start:], headers=headers)


def test_a_pull_tells_that_it_waits_and_for_how_long(store: Store) -> None:
    image = make_image(tar({"a": b"1"}))
    busy = web.Response(status=429, headers={"Retry-After": "2"})
    respond = serving(
        image, manifests=web.Response(status=503), **{digest(image.layers[0])[7:]: busy}
    )
    began_s = time.monotonic()
    with Site(respond) as site:
        steps = asyncio.run(pull(store, f"{site.host}/a"))
    assert time.monotonic() - began_s >= 2
    assert statuses(steps, "latest")[0] == "Retrying in 1 second"
    story = [s for s in statuses(steps, image.short_ids()[0]) if s.startswith("Retrying")]
    assert story == ["Retrying in 2 seconds", "Retrying in 1 second"]


def test_what_a_registry_wants_people_to_read_is_shown(store: Store) -> None:
    image = make_image(tar({"a": b"1"}))

    async def warning(request: web.Request) -> web.StreamResponse:
        response = await serving(image)(request)
        response.headers["Warning"] = '299 - "this image is old"'
        return response

    with Site(warning) as site:
        steps = asyncio.run(pull(store, f"{site.host}/a"))
    assert [s.status for s in steps if "old" in s.status] == ["Warning: this image is old"]


def test_a_push_tells_that_it_waits(store: Store) -> None:
    image = make_image(tar({"a": b"1"}))
    taken: list[str] = []

    async def registry(request: web.Request) -> web.StreamResponse:
        if request.method == "PUT":
            return web.Response(status=201)
        taken.append(request.path)
        first = taken.count(request.path) == 1 and request.path.endswith(digest(image.layers[0]))
        return web.Response(status=502 if first else 200)

    with Site(serving(image)) as source, Site(registry) as target:
        asyncio.run(pull(store, f"{source.host}/a"))
        store.images.tag(f"{source.host}/a", f"{target.host}/b:v1")

        async def scenario() -> list[str]:
            registries = client()
            steps = [s async for s in Pusher(registries, store.images).push(f"{target.host}/b:v1")]
            await registries.close()
            return statuses(steps, digest(tar({"a": b"1"}))[7:19])

        told = asyncio.run(scenario())
    assert told == ["Preparing", "Retrying in 1 second", "Layer already exists"]


def test_a_mirror_in_trouble_is_not_waited_for(store: Store) -> None:
    image = make_image(tar({"a": NOISE}))

    async def busy(_: web.Request) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": "2"})

    with Site(busy) as mirror, Site(serving(image)) as origin:
        registries = client({origin.host: [f"http://{mirror.host}"]})
        steps = asyncio.run(pull(store, f"{origin.host}/a", registries=registries))
    assert not [step for step in steps if step.status.startswith("Retrying")]
    assert len(mirror.seen) == 3, "manifest, config and layer: each asked for once"


def test_the_origin_goes_on_where_a_mirror_broke_off(store: Store) -> None:
    image = make_image(tar({"a": NOISE}))
    layer = image.layers[0]

    async def breaking(request: web.Request) -> web.StreamResponse:
        if not request.path.endswith(digest(layer)):
            return await serving(image)(request)
        response = web.StreamResponse()
        response.content_length = len(layer)
        await response.prepare(request)
        await response.write(layer[:2_000_000])
        await asyncio.sleep(0.3)  # what is read when the connection breaks may be lost
        assert request.transport is not None
        request.transport.close()
        return response

    with Site(breaking) as mirror, Site(serving(image)) as origin:
        registries = client({origin.host: [f"http://{mirror.host}"]})
        asyncio.run(pull(store, f"{origin.host}/a", registries=registries))
        asked = [h.get("Range") for _, path, h in origin.seen if path.endswith(digest(layer))]
    assert asked == ["bytes=2000000-"]


@pytest.mark.parametrize("kind", ["zstd", "plain"])
def test_layers_of_every_compression_are_pulled(store: Store, tmp_path: Path, kind: str) -> None:
    plain = tar({"a": NOISE, "b": b"x" * 100_000})
    packed = zstd.compress(plain) if kind == "zstd" else plain
    layer_type = "application/vnd.oci.image.layer.v1.tar" + ("+zstd" if kind == "zstd" else "")
    image = make_image(plain, packed=[packed], layer_type=layer_type)
    with pier_registry(tmp_path / "registry") as host:
        manifest = upload(host, "a", "latest", image)
        asyncio.run(pull(store, f"{host}/a"))
        made = store.images.get(f"{host}/a")
        (directory,) = store.snapshotter.chain(made.chain_id)
        assert (directory / "a").read_bytes() == NOISE
        store.images.tag(f"{host}/a", f"{host}/b")
        steps = asyncio.run(push(store, f"{host}/b", "latest"))
    assert steps[-1].aux is not None
    assert steps[-1].aux["Digest"] == manifest, "it goes as it came"
