"""Pushing: an image's blobs and manifest to a registry, moving only what it lacks.

Layers go as they were pulled, so a pulled image keeps its digest wherever it is pushed. Layers
made here are plain tar until now: they are compressed once, always to the same bytes, and
remembered, and the image then has the manifest that names them. Each blob: is it there (HEAD)?
can the registry link it from another of its repositories? else it is uploaded.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from pier.archive.compression import chunks_of, gzipped
from pier.errors import InvalidArgument, NotFound
from pier.images.base import names_sources
from pier.images.model import Image
from pier.images.store import Images
from pier.images.transfer import SHORT, Meter, Report, Step, Transfers, reported, retrying
from pier.oci.digest import Descriptor, Digest
from pier.oci.manifest import (
    DOCKER_LAYER,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    Index,
    InvalidManifest,
    Manifest,
    format_manifest,
    is_foreign,
    parse_manifest,
)
from pier.oci.reference import Reference, parse_reference
from pier.registry.client import RegistryClient
from pier.registry.credentials import Auth, credentials_for
from pier.registry.uploads import Source, Uploads
from pier.store.content import ContentStore, Ingest
from pier.threads import blocking

_CHUNK = 256 * 1024
_MOUNT_ATTEMPTS = 3
_PLAIN = (OCI_LAYER, DOCKER_LAYER)
_OWN_SOURCES = (
    "WARNING: {} was made from this machine's own package sources: its /etc/apt names them, and "
    "who pulls it may not reach them"
)

_REPOSITORIES_WITH = """
    SELECT DISTINCT substr(reference, 1, instr(reference, '@') - 1) AS name
    FROM tags JOIN image_blobs ON image_blobs.image = tags.image
    WHERE image_blobs.digest = ? AND reference LIKE '%@%' ORDER BY name
"""


class NoSuchLocalTag(NotFound):
    def __init__(self, reference: Reference) -> None:
        what = "tag" if reference.tag else "name"
        super().__init__(
            f"An image does not exist locally with the {what}: {reference.familiar_name}"
        )


class NoSuchTag(NotFound):
    """The repository is here, under other tags."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(f"tag does not exist: {reference.familiar()}")


class PushByDigest(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("cannot push a digest reference")


class Pusher:
    """One per daemon."""

    def __init__(self, client: RegistryClient, images: Images, *, max_uploads: int = 5) -> None:
        self._client = client
        self._images = images
        self._content = images.content
        self._transfers = Transfers()
        self._slots = asyncio.Semaphore(max_uploads)

    def push(
        self, name: str, *, tag: str = "", platform: str = "", auth: Auth | None = None
    ) -> AsyncIterator[Step]:
        """The steps of a push of one tag, or of all tags of `name` when there is none.

        Errors before the first step mean that nothing was begun; later ones are raised too.
        """
        reference = parse_reference(name)
        if reference.digest:
            raise PushByDigest
        if tag:
            reference = reference.with_tag(tag)

        async def work(report: Report) -> None:
            report(Step(status=f"The push refers to repository [{reference.name}]"))
            chosen = self._chosen(reference, platform)
            credentials = credentials_for(reference.domain, auth)
            repository = self._client.repository(reference.domain, reference.path, credentials)
            repository.waiting = retrying(report, reference.tag)
            uploads = Uploads(repository)
            await uploads.reach()
            for each, image in chosen:
                await self._one(uploads, each, image, report)

        return reported(work)

    def _chosen(self, reference: Reference, platform: str) -> list[tuple[Reference, Image]]:
        """The images to push, by reference. Raises NoSuchLocalTag, NoSuchTag, WrongPlatform."""
        names = [str(reference)] if reference.tag else self._images.records.tags_of(reference.name)
        found = [(parse_reference(name), self._images.find(name)) for name in names]
        if not found:
            raise NoSuchLocalTag(reference)
        chosen = []
        for each, image in found:
            if image is None and self._images.records.tags_of(each.name):
                raise NoSuchTag(each)
            if image is None:
                raise NoSuchLocalTag(each)
            self._images.check_platform(each.familiar(), image, [platform] if platform else [])
            chosen.append((each, image))
        return chosen

    async def _one(
        self, uploads: Uploads, reference: Reference, image: Image, report: Report
    ) -> None:
        if names_sources(image.config):
            report(Step(status=_OWN_SOURCES.format(reference.familiar())))
        async with self._leased() as lease:
            manifest = await self._prepared(image, lease, report)
            async with asyncio.TaskGroup() as group:
                pairs = zip(reversed(image.layers), reversed(manifest.layers), strict=True)
                for diff_id, layer in pairs:
                    if not is_foreign(layer):
                        group.create_task(self._layer(uploads, reference, layer, diff_id, report))
            await self._blob(uploads, reference, manifest.config, lambda _: None)
            digest = await uploads.put_manifest(reference.tag, manifest.media_type, manifest.raw)
            self._remember(reference, image, manifest, digest)
        size = len(manifest.raw)
        report(Step(status=f"{reference.tag}: digest: {digest} size: {size}"))
        report(Step(aux={"Tag": reference.tag, "Digest": digest, "Size": size}))
        if instead := self._instead_of_index(image, Descriptor(manifest.media_type, digest, size)):
            report(Step(aux=instead))
        self._images.announce("push", image, reference.familiar())

    def _instead_of_index(self, image: Image, pushed: Descriptor) -> Mapping[str, object] | None:
        """What Docker's client makes a note of: the image was pulled by an index."""
        for name in image.digests:
            digest = parse_reference(name).digest
            if digest in (None, pushed.digest) or not self._content.has(digest):
                continue
            data = self._content.read(digest)
            if isinstance(parsed := parse_manifest(data), Index):
                return {
                    "manifestPushedInsteadOfIndex": True,
                    "originalIndex": _shown(
                        Descriptor(parsed.media_type or OCI_INDEX, digest, len(data))
                    ),
                    "selectedManifest": _shown(pushed),
                }
        return None

    @asynccontextmanager
    async def _leased(self) -> AsyncIterator[str]:
        lease = self._images.lease()
        try:
            yield lease
        finally:
            self._images.leases.release(lease)

    async def _prepared(self, image: Image, lease: str, report: Report) -> Manifest:
        """The manifest to push: the image's own, or one with its plain layers compressed."""
        for digest in (image.manifest, image.id):
            self._images.leases.add(lease, "blob", digest)
        parsed = parse_manifest(self._content.read(image.manifest))
        if not isinstance(parsed, Manifest):
            raise InvalidManifest("an index is no image")
        for diff_id in reversed(image.layers):  # as Docker lists them, the topmost first
            report(Step(status="Preparing", id=_short(diff_id)))
        plain = [layer for layer in parsed.layers if layer.media_type in _PLAIN]
        if not plain or image.digests:
            return parsed  # from a registry, or pushed before: that digest has to stay
        layers = []
        for diff_id, layer in zip(image.layers, parsed.layers, strict=True):
            layers.append(await self._compressed(diff_id, layer, lease))
        raw = format_manifest(parsed.config, layers, parsed.media_type)
        made = parse_manifest(raw, parsed.media_type)
        if not isinstance(made, Manifest):
            raise InvalidManifest("it changed its kind")
        return made

    async def _compressed(self, diff_id: Digest, layer: Descriptor, lease: str) -> Descriptor:
        """The layer as gzip: one made before, or one made now."""
        if layer.media_type not in _PLAIN:
            return layer
        records = self._images.records
        for known in records.find_layers(diff_id):
            if known.media_type.endswith("gzip"):
                self._images.leases.add(lease, "blob", known.digest)
                return Descriptor(OCI_LAYER_GZIP, known.digest, known.size)

        async def compress(_: Report) -> Descriptor:
            with self._content.ingest(None) as ingest:
                path = self._content.path(layer.digest)
                await blocking(_compress, path, ingest)
                self._images.leases.add(lease, "blob", ingest.digest)
                made = Descriptor(OCI_LAYER_GZIP, ingest.digest, ingest.offset)
                ingest.commit()
            records.insert_layers([diff_id], [made])
            return made

        return await self._transfers.once(("gzip", diff_id), compress, lambda _: None)

    async def _layer(
        self,
        uploads: Uploads,
        reference: Reference,
        layer: Descriptor,
        diff_id: Digest,
        report: Report,
    ) -> None:
        async def work(tell: Report) -> None:
            await self._blob(
                uploads,
                reference,
                layer,
                lambda step: tell(
                    Step(
                        status=step.status,
                        id=_short(diff_id),
                        current=step.current,
                        total=step.total,
                    )
                ),
            )

        await self._transfers.once(("push", reference.name, layer.digest), work, report)

    async def _blob(
        self, uploads: Uploads, reference: Reference, blob: Descriptor, report: Report
    ) -> None:
        """Have the blob at the registry."""
        if self._slots.locked():
            report(Step(status="Waiting"))
        async with self._slots:
            meter = Meter(report, "Pushing", "", blob.size)
            if await uploads.has_blob(blob.digest, meter.waiting):
                report(Step(status="Layer already exists"))
                return
            for source in self._sources(reference, blob.digest):
                if await uploads.mount(blob.digest, source.path):
                    report(Step(status=f"Mounted from {source.path}"))
                    return
            meter(0)
            content = _source(self._content, blob.digest, meter)
            await uploads.upload(blob, content, meter.waiting)
            report(Step(status="Pushed"))

    def _sources(self, reference: Reference, digest: Digest) -> list[Reference]:
        """Repositories of the same registry that are known to have the blob."""
        rows = self._images.database.execute(_REPOSITORIES_WITH, (digest,))
        found = [parse_reference(str(row["name"])) for row in rows.fetchall()]
        return [
            each
            for each in found
            if each.domain == reference.domain and each.path != reference.path
        ][:_MOUNT_ATTEMPTS]

    def _remember(
        self, reference: Reference, image: Image, manifest: Manifest, digest: Digest
    ) -> None:
        """The image has the manifest it was pushed with, and its repository digest."""
        images = self._images
        if digest != image.manifest:
            images.register(self._content.read(image.id), manifest.raw, parent=image.parent)
            images.database.execute(
                "UPDATE images SET manifest = ? WHERE id = ?", (digest, image.id)
            )
        images.records.set_tag(str(reference.with_digest(digest)), image.id, images.clock_ns())


def _shown(descriptor: Descriptor) -> Mapping[str, object]:
    return {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }


def _short(digest: Digest) -> str:
    return digest.partition(":")[2][:SHORT]


def _compress(path: Path, ingest: Ingest) -> None:
    with path.open("rb") as file:
        for chunk in gzipped(chunks_of(file)):
            ingest.write(chunk)


def _source(content: ContentStore, digest: Digest, meter: Meter) -> Source:
    async def chunks(offset: int, size: int) -> AsyncIterator[bytes]:
        with content.open(digest) as file:
            file.seek(offset)
            left = size
            while left > 0:
                chunk = await blocking(file.read, min(left, _CHUNK))
                if not chunk:
                    return
                left -= len(chunk)
                yield chunk
                meter(offset + size - left)

    return chunks
