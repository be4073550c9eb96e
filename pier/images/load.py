"""An archive becomes images: `docker load`.

Everything is received first (a manifest may come last), each member into a file of its own while
its digest is computed. Then what the archive says is planned, checked and unpacked.
"""

import asyncio
import hashlib
import os
import posixpath
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pier.archive.compression import decompressed, detect
from pier.archive.entry import HARD_LINK, REGULAR, SYMLINK, Entry
from pier.archive.extract import write_all
from pier.archive.layer import Extracted
from pier.archive.reader import TarReader
from pier.errors import InvalidArgument
from pier.images.archive_layout import (
    Contents,
    InvalidImageArchive,
    Member,
    PlannedImage,
    plan,
)
from pier.images.feed import sampled, work_on
from pier.images.library import Library
from pier.images.model import Image, LoadEvent
from pier.images.room import disk_errors
from pier.images.unpack import LayerCountMismatch, check_diff_id, extract_file
from pier.oci.digest import Descriptor, Digest, encoded
from pier.oci.image import ImageConfig, chain_ids, parse_image_config
from pier.oci.manifest import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    format_manifest,
)
from pier.oci.platform import Platform, WrongPlatform, matches, parse_platform, to_platform
from pier.oci.reference import Reference
from pier.store.content import READ_LIMIT
from pier.threads import Bulkhead

_MAX_MEMBERS = 50_000
_SAMPLE_S = 0.1
_HEAD = 8
_CHUNK = 256 * 1024
_THREADS = Bulkhead("image loads", most=256)


@dataclass(slots=True)
class _Receiver:
    """Takes the archive apart into a workspace: in a thread. Files are named by digest."""

    workspace: Path
    contents: Contents

    def __call__(self, chunks: Iterator[bytes]) -> None:
        reader = TarReader(decompressed(chunks))
        for count, entry in enumerate(reader):
            if count >= _MAX_MEMBERS:
                raise InvalidImageArchive("invalid archive: too many members")
            self._take(entry, reader)

    def _take(self, entry: Entry, reader: TarReader) -> None:
        name = posixpath.normpath(os.fsdecode(entry.name))
        target = os.fsdecode(entry.link)
        if entry.kind == REGULAR:
            self.contents.links.pop(name, None)
            self.contents.files[name] = self._keep(entry, reader.pieces())
        elif entry.kind in (SYMLINK, HARD_LINK):
            self.contents.files.pop(name, None)
            self.contents.add_link(name, target, symbolic=entry.kind == SYMLINK)

    def _keep(self, entry: Entry, pieces: Iterator[memoryview]) -> Member:
        if entry.extents is not None:
            raise InvalidImageArchive("invalid archive: sparse members are not supported")
        hasher = hashlib.sha256()
        incoming = self.workspace / "incoming"
        fd = os.open(incoming, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            for chunk in _larger(pieces):
                hasher.update(chunk)
                write_all(fd, memoryview(chunk))
        finally:
            os.close(fd)
        digest = Digest("sha256:" + hasher.hexdigest())
        incoming.replace(self.workspace / encoded(digest))
        return Member(digest, entry.size)

    def read(self, member: Member) -> bytes:
        """A small member, whole."""
        if member.size > READ_LIMIT:
            raise InvalidImageArchive(f"invalid archive: {member.digest} is too long")
        return (self.workspace / encoded(member.digest)).read_bytes()


async def load_archive(
    images: Library, chunks: AsyncIterator[bytes], platform: str
) -> AsyncIterator[LoadEvent]:
    """See `Images.load`. The lines at the end of each image are what clients read."""
    wanted = parse_platform(platform, images.host) if platform else None
    lease = images.lease()
    try:
        with disk_errors(), images.content.workspace() as workspace:
            receiver = _Receiver(workspace, Contents())
            await work_on(chunks, receiver, _THREADS)
            planned = plan(receiver.contents, receiver.read, images.host, wanted)
            for one in planned:
                async for event in _Loading(images, receiver, lease, wanted).run(one):
                    yield event
    finally:
        images.leases.release(lease)


class OtherSystem(InvalidArgument):
    def __init__(self, doing: str, system: str, host: str) -> None:
        super().__init__(f"cannot {doing} {system} image on {host}")


@dataclass(frozen=True, slots=True)
class _Loading:
    """One image of the archive on its way in."""

    images: Library
    receiver: _Receiver
    lease: str
    wanted: Platform | None

    async def run(self, planned: PlannedImage) -> AsyncIterator[LoadEvent]:
        data = self.receiver.read(planned.config)
        config = parse_image_config(data)
        if len(planned.layers) != len(config.diff_ids):
            raise LayerCountMismatch(len(planned.layers), len(config.diff_ids))
        self._check_platform(planned, config)
        layers = [self._keep(member) for member in planned.layers]
        async for event in self._unpack(config, layers):
            yield event
        for event in self._renamed(planned.names, planned.config.digest):
            yield event
        image = self._register(planned, data, layers)
        self.images.announce("load", image, image.id)
        for name in planned.names:
            yield LoadEvent(stream=f"Loaded image: {name.familiar()}\n", image=image)
        if not planned.names:
            yield LoadEvent(stream=f"Loaded image ID: {image.id}\n", image=image)

    def _check_platform(self, planned: PlannedImage, config: ImageConfig) -> None:
        """Docker's layout has one platform: that of the config. Raises OtherSystem."""
        if config.os.lower() not in ("", self.images.host.os):
            raise OtherSystem("load", config.os, self.images.host.os)
        actual = to_platform(config.os, config.architecture, config.variant)
        if self.wanted is not None and not matches(actual, self.wanted):
            name = planned.names[0].familiar() if planned.names else planned.config.digest
            raise WrongPlatform(name, self.wanted, actual)

    def _keep(self, member: Member) -> Descriptor:
        """Make a layer's file a blob; the same file may be several images' layer."""
        content = self.images.content
        self.images.leases.add(self.lease, "blob", member.digest)
        path = self.receiver.workspace / encoded(member.digest)
        if not content.has(member.digest):
            content.adopt(path, member.digest, member.size)
        with content.open(member.digest) as file:
            return Descriptor(_media_type(file.read(_HEAD)), member.digest, member.size)

    async def _unpack(
        self, config: ImageConfig, layers: Sequence[Descriptor]
    ) -> AsyncIterator[LoadEvent]:
        parent = ""
        for key, diff_id, layer in zip(
            chain_ids(config.diff_ids), config.diff_ids, layers, strict=True
        ):
            self.images.leases.add(self.lease, "snapshot", key)
            if self.images.snapshotter.exists(key):
                await self._check_known(diff_id, layer)
            else:
                async for event in self._unpack_one(layer, diff_id, parent, key):
                    yield event
            parent = key

    async def _check_known(self, diff_id: Digest, layer: Descriptor) -> None:
        """A layer that is here is not unpacked again, but a blob must be what it says it is."""
        known = self.images.records.find_layers(diff_id)
        if layer.digest in (diff_id, *(blob.digest for blob in known)):
            return
        path = self.images.content.path(layer.digest)
        await asyncio.to_thread(check_diff_id, path, diff_id)

    async def _unpack_one(
        self, layer: Descriptor, diff_id: Digest, parent: str, chain_id: str
    ) -> AsyncIterator[LoadEvent]:
        unpacker = self.images.unpacker
        place = unpacker.prepare(self.images.clock_ns())
        path, directory = self.images.content.path(layer.digest), unpacker.directory(place)
        done: list[Extracted] = []
        at = [0]

        def work() -> Extracted:
            def progress(count: int, total: int) -> None:
                at[0] = count

            return extract_file(path, directory, diff_id, layer.size, progress)

        try:
            async for _ in sampled(work, _SAMPLE_S, done):
                yield _progress(diff_id, at[0], layer.size)
            await unpacker.place(place, done[0], parent, chain_id)
            yield _progress(diff_id, layer.size, layer.size)
        finally:
            unpacker.drop(place)

    def _renamed(self, names: Sequence[Reference], image_id: Digest) -> Iterator[LoadEvent]:
        """A name that moves leaves its image; Docker says so."""
        for name in names:
            old = self.images.records.find_tagged(str(name))
            if old is not None and old.id != image_id:
                yield LoadEvent(
                    stream=f"The image {name.familiar()} already exists, renaming the old one "
                    f"with ID {old.id} to empty string\n"
                )

    def _register(
        self, planned: PlannedImage, config: bytes, layers: Sequence[Descriptor]
    ) -> Image:
        if planned.manifest is not None:
            manifest = planned.manifest.raw
        else:
            described = Descriptor(OCI_CONFIG, planned.config.digest, planned.config.size)
            manifest = format_manifest(described, layers)
        return self.images.register(config, manifest, names=planned.names)


def _larger(pieces: Iterable[memoryview]) -> Iterator[bytes]:
    """Pieces put together: each one costs every thread it goes through a turn."""
    pending = bytearray()
    for piece in pieces:
        pending += piece
        if len(pending) >= _CHUNK:
            yield bytes(pending)
            pending.clear()
    yield bytes(pending)


def _progress(diff_id: Digest, current: int, total: int) -> LoadEvent:
    return LoadEvent(status="Loading layer", id=encoded(diff_id)[:12], current=current, total=total)


def _media_type(head: bytes) -> str:
    kinds = {"gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}
    return kinds.get(detect(head), OCI_LAYER)
