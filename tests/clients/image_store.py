"""A daemon's image store in a directory, and images of real layers, for pull and push tests."""

import asyncio
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pier.events import Events
from pier.images.pull import Puller
from pier.images.push import Pusher
from pier.images.store import Images
from pier.images.transfer import Step
from pier.registry.client import RegistryClient
from pier.store.content import ContentStore
from pier.store.database import Database
from pier.store.leases import Leases
from pier.store.snapshots import Snapshotter
from tests.clients.registries import client, digest, http, put_blob


@dataclass
class Store:
    """Everything a pull touches."""

    root: Path
    database: Database
    content: ContentStore
    snapshotter: Snapshotter
    images: Images


@contextmanager
def opened(root: Path) -> Iterator[Store]:
    root.mkdir(parents=True, exist_ok=True)
    database = Database(root / "pier.db")
    content = ContentStore(root / "content", database)
    snapshotter = Snapshotter(root / "snapshots", database)
    images = Images(database, content, snapshotter, Leases(database), Events())
    try:
        yield Store(root, database, content, snapshotter, images)
    finally:
        snapshotter.close()
        database.close()


async def pull(
    store: Store,
    reference: str,
    *,
    platform: str = "",
    all_tags: bool = False,
    reserve_bytes: int | None = 0,
    registries: RegistryClient | None = None,
) -> list[Step]:
    made = registries or client()
    puller = Puller(made, store.images, reserve_bytes=reserve_bytes)
    try:
        steps = puller.pull(reference, platform=platform, all_tags=all_tags)
        return [step async for step in steps]
    finally:
        puller.close()
        await made.close()


async def push(store: Store, name: str, tag: str = "") -> list[Step]:
    registries = client()
    try:
        pusher = Pusher(registries, store.images)
        return [step async for step in pusher.push(name, tag=tag)]
    finally:
        await registries.close()


def statuses(steps: Sequence[Step], id_: str = "") -> list[str]:
    """The statuses in order, repeated ones once; of one layer where `id_` is given."""
    found: list[str] = []
    for step in steps:
        if (not id_ or step.id == id_) and step.status and step.status not in found[-1:]:
            found.append(step.status)
    return found


def tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


@dataclass(frozen=True)
class MadeImage:
    """An image's documents and blobs as a registry holds them."""

    config: bytes
    layers: tuple[bytes, ...]
    manifest: bytes
    media_type: str

    @property
    def blobs(self) -> tuple[bytes, ...]:
        return (self.config, *self.layers)

    def short_ids(self) -> list[str]:
        return [digest(layer)[7:19] for layer in self.layers]


DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def make_image(
    *tars: bytes,
    packed: Sequence[bytes] | None = None,
    layer_type: str = LAYER,
    architecture: str = "amd64",
    diff_ids: Sequence[str] | None = None,
) -> MadeImage:
    layers = tuple(packed or (gzip.compress(data, 1, mtime=0) for data in tars))
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids or [digest(data) for data in tars]},
        "history": [{"created_by": f"layer {hashlib.sha256(data).hexdigest()}"} for data in tars],
    }
    config_bytes = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER,
        "config": described("application/vnd.docker.container.image.v1+json", config_bytes),
        "layers": [described(layer_type, data) for data in layers],
    }
    return MadeImage(config_bytes, layers, json.dumps(manifest).encode(), DOCKER)


def described(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def upload(host: str, name: str, tag: str, image: MadeImage) -> str:
    """Put an image into a registry over plain HTTP; its digest."""
    for data in image.blobs:
        put_blob(host, name, data)
    put_manifest(host, name, tag, image.media_type, image.manifest)
    return digest(image.manifest)


def put_manifest(host: str, name: str, tag: str, media_type: str, data: bytes) -> None:
    url = f"http://{host}/v2/{name}/manifests/{tag}"
    answer = http("PUT", url, data, Content_Type=media_type)
    assert answer.status == 201, answer.body


async def first(steps: AsyncIterator[Step], status: str) -> Step:
    async for step in steps:
        if step.status == status:
            return step
    raise AssertionError(f"no step {status}")


def two_layers(mark: str = "x") -> MadeImage:
    return make_image(tar({"a": b"1", f"dir/{mark}": b"2"}), tar({"b": mark.encode()}))


def read_file(store: Store, name: str, path: str) -> bytes:
    """A file of an image, by its layers."""
    for directory in store.snapshotter.chain(store.images.get(name).chain_id):
        if (directory / path).exists():
            return (directory / path).read_bytes()
    raise AssertionError(path)


def unleft(store: Store) -> None:
    """Nothing half made is left behind."""
    assert store.snapshotter.list_keys("unpack/") == []
    assert list((store.root / "content" / "ingest").iterdir()) == []


def make_here(store: Store, plain: bytes, name: str) -> None:
    """An image of one plain tar layer, as a build leaves it."""

    async def chunks() -> AsyncIterator[bytes]:
        yield plain

    asyncio.run(store.images.import_(chunks(), reference=name))
