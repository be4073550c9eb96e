"""Pulling: from a name to an image that exists, whole, or not at all.

resolve → choose the platform → under a lease: config, then layers side by side (`receiving`),
each fetched once however many pulls want it → the chain placed bottom first → one transaction.
The lease outlives a failed pull by a day, or until a prune, so what had arrived is not fetched
again; nothing of it can be seen before the transaction.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pier.archive.layer import Extracted
from pier.errors import InvalidArgument
from pier.images.model import Image
from pier.images.receiving import (
    Extractors,
    Layer,
    LayerVerificationFailed,
    WrongLeftovers,
    check_diff_id,
    download,
    receive,
)
from pier.images.store import Images
from pier.images.transfer import Meter, Report, Step, Transfers, reported, retrying
from pier.images.unpack import LayerCountMismatch
from pier.oci import platform as platforms
from pier.oci.digest import Descriptor
from pier.oci.image import ImageConfig, chain_ids, parse_image_config
from pier.oci.manifest import Index, Manifest, check_config_type, is_foreign, parse_manifest
from pier.oci.platform import (
    NoMatchingPlatform,
    Platform,
    WrongPlatform,
    parse_platform,
    to_platform,
)
from pier.oci.reference import Reference, parse_reference
from pier.registry.client import RegistryClient
from pier.registry.credentials import Auth, credentials_for
from pier.registry.repository import Manifest as Fetched
from pier.registry.repository import Repository

_LEASE_S = 24 * 3600.0
"""How long what a failed pull had fetched is kept for the next one."""


class ForeignLayer(InvalidArgument):
    def __init__(self, reference: str, layer: Descriptor) -> None:
        super().__init__(
            f"{reference} cannot be pulled: its layer {layer.digest} is foreign "
            f"({layer.media_type}): its maker allows no registry to distribute it"
        )


class IndexInIndex(InvalidArgument):
    def __init__(self, reference: str) -> None:
        super().__init__(f"{reference} is an index whose entry is an index again; refused")


@dataclass(frozen=True, slots=True)
class _Found:
    """What a reference means at its registry, for one platform."""

    reference: Reference
    top: Fetched
    """What the tag points at: the manifest, or the index that lists it."""
    fetched: Fetched
    manifest: Manifest
    wanted: Platform | None

    @property
    def names(self) -> list[Reference]:
        """What the image is called once it is here: its tag, and its repository digest."""
        at_digest = self.reference.with_digest(self.top.digest)
        return (
            [self.reference.with_tag(self.reference.tag), at_digest]
            if self._tagged
            else [at_digest]
        )

    @property
    def _tagged(self) -> bool:
        return bool(self.reference.tag) and not self.reference.digest


class Puller:
    """One per daemon. Close it."""

    def __init__(
        self,
        client: RegistryClient,
        images: Images,
        *,
        max_downloads: int = 3,
        reserve_bytes: int | None = None,
    ) -> None:
        self._client = client
        self._images = images
        self._content = images.content
        self._unpacker = images.unpacker
        self._transfers = Transfers()
        self._slots = asyncio.Semaphore(max_downloads)
        self._extractors = Extractors(max_downloads, reserve_bytes)
        self._pulling: Counter[str] = Counter()

    def close(self) -> None:
        self._extractors.close()

    def pull(
        self,
        reference: str,
        *,
        platform: str = "",
        auth: Auth | None = None,
        all_tags: bool = False,
    ) -> AsyncIterator[Step]:
        """The steps of a pull. Iterate to the end for the image to exist; an error is raised.

        Errors before the first step mean that nothing was begun. platform "": the host's.
        """
        parsed = parse_reference(reference)
        wanted = parse_platform(platform, self._images.host) if platform else None

        async def work(report: Report) -> None:
            credentials = credentials_for(parsed.domain, auth)
            repository = self._client.repository(parsed.domain, parsed.path, credentials)
            repository.waiting = retrying(report, parsed.tagged().digest or parsed.tagged().tag)
            repository.warned = lambda text: report(Step(status=f"Warning: {text}"))
            if not all_tags:
                newer = await self._one(repository, parsed.tagged(), wanted, report)
                _conclude(report, parsed.tagged(), newer=newer)
                return
            news = [
                await self._one(repository, parsed.with_tag(tag), wanted, report)
                for tag in await repository.tags()
            ]
            _conclude(report, parsed, newer=any(news))

        return reported(work)

    async def config(
        self, reference: str, *, platform: str = "", auth: Auth | None = None
    ) -> ImageConfig:
        """What the registry's image is, without its layers: nothing exists afterwards."""
        parsed = parse_reference(reference)
        wanted = parse_platform(platform, self._images.host) if platform else None
        credentials = credentials_for(parsed.domain, auth)
        repository = self._client.repository(parsed.domain, parsed.path, credentials)
        return await self._config(
            repository, await self._resolve(repository, parsed.tagged(), wanted)
        )

    async def _one(
        self, repository: Repository, reference: Reference, wanted: Platform | None, report: Report
    ) -> bool:
        """Pull one tag or digest; whether the name means another image now."""
        found = await self._resolve(repository, reference, wanted)
        report(Step(status=f"Pulling from {reference.path}", id=reference.digest or reference.tag))
        before = self._images.find(str(reference))
        async with self._leased(f"pull/{found.fetched.digest}") as lease:
            image = await self._under_lease(lease, repository, found, report)
        report(Step(status=f"Digest: {found.top.digest}"))
        self._images.announce("pull", image, reference.familiar())
        return before is None or before.id != image.id

    @asynccontextmanager
    async def _leased(self, lease: str) -> AsyncIterator[str]:
        """The lease of one image's pulls. Ends with the last of them, if it succeeded."""
        self._pulling[lease] += 1
        try:
            yield self._images.leases.create(self._images.clock_ns(), _LEASE_S, lease)
        finally:
            self._pulling[lease] -= 1
            if not self._pulling[lease]:
                self._images.leases.leave(lease)
        if not self._pulling[lease]:
            del self._pulling[lease]
            self._images.leases.release(lease)

    async def _resolve(
        self, repository: Repository, reference: Reference, wanted: Platform | None
    ) -> _Found:
        """The manifest to use: the one the reference means, or the best entry of its index."""
        top = fetched = await repository.manifest(reference.digest or reference.tag)
        parsed = parse_manifest(top.data, top.media_type)
        if isinstance(parsed, Index):
            host = self._images.host
            offered = [entry for entry in parsed.entries if not entry.is_attestation]
            number = platforms.choose([entry.platform for entry in offered], host, wanted)
            if number is None:
                raise NoMatchingPlatform(reference.familiar(), wanted or host)
            entry = offered[number].descriptor
            fetched = await repository.manifest(entry.digest, size=entry.size)
            parsed = parse_manifest(fetched.data, fetched.media_type)
        if isinstance(parsed, Index):
            raise IndexInIndex(reference.familiar())
        check_config_type(parsed)
        for layer in parsed.layers:
            if is_foreign(layer):
                raise ForeignLayer(reference.familiar(), layer)
        return _Found(reference, top, fetched, parsed, wanted)

    async def _under_lease(
        self, lease: str, repository: Repository, found: _Found, report: Report
    ) -> Image:
        leases, manifest = self._images.leases, found.manifest
        for digest in (
            found.top.digest,
            found.fetched.digest,
            manifest.config.digest,
            *(layer.digest for layer in manifest.layers),
        ):
            leases.add(lease, "blob", digest)
        config = await self._config(repository, found)
        layers = _layers(manifest, config)
        for layer in layers:
            leases.add(lease, "snapshot", layer.chain_id)
        if not self._is_here(manifest, layers):
            await self._receive_all(repository, layers, lease, report)
        image = self._images.register(
            config.raw, found.fetched.data, names=found.names, media_type=found.fetched.media_type
        )
        if found.top.digest != found.fetched.digest:  # who pushes the image is told of it
            self._images.records.insert_blobs(image.id, [self._content.add(found.top.data).digest])
        return image

    def _is_here(self, manifest: Manifest, layers: Sequence[Layer]) -> bool:
        """Whether the very image exists: then there is nothing to tell of its layers either."""
        return self._images.records.find(manifest.config.digest) is not None and all(
            self._images.snapshotter.exists(layer.chain_id) and self._content.has(layer.blob.digest)
            for layer in layers
        )

    async def _config(self, repository: Repository, found: _Found) -> ImageConfig:
        """The image's config, in the content store, and right for what was asked."""
        blob = found.manifest.config
        if self._content.has(blob.digest):
            data = self._content.read(blob.digest)
        else:
            data = await repository.small_blob(blob)
        config = parse_image_config(data)
        if len(config.diff_ids) != len(found.manifest.layers):
            raise LayerCountMismatch(len(found.manifest.layers), len(config.diff_ids))
        actual = to_platform(config.os, config.architecture, config.variant)
        if found.wanted is not None and not platforms.matches(actual, found.wanted):
            raise WrongPlatform(found.reference.familiar(), found.wanted, actual)
        self._content.add(data)
        return config

    async def _receive_all(
        self, repository: Repository, layers: Sequence[Layer], lease: str, report: Report
    ) -> None:
        """Every layer's blob and snapshot. Side by side; each placed after the one below it."""
        placed = [asyncio.Event() for _ in layers]
        async with asyncio.TaskGroup() as group:
            for number, layer in enumerate(layers):
                below = placed[number - 1] if number else None
                group.create_task(
                    self._placed(repository, layer, lease, (below, placed[number]), report)
                )

    async def _placed(
        self,
        repository: Repository,
        layer: Layer,
        lease: str,
        order: tuple[asyncio.Event | None, asyncio.Event],
        report: Report,
    ) -> None:
        below, done = order

        async def work(tell: Report) -> None:
            await self._layer(repository, layer, lease, below, tell)

        await self._transfers.once(("layer", layer.chain_id, layer.blob.digest), work, report)
        done.set()

    async def _layer(
        self,
        repository: Repository,
        layer: Layer,
        lease: str,
        below: asyncio.Event | None,
        tell: Report,
    ) -> None:
        """Have the blob and the snapshot of one layer."""
        unpacked = self._images.snapshotter.exists(layer.chain_id)
        if unpacked and self._content.has(layer.blob.digest):
            tell(Step(status="Already exists", id=layer.short_id))
            return
        tell(Step(status="Pulling fs layer", id=layer.short_id))
        if unpacked:
            await self._download(repository, layer, tell)
        else:
            try:
                await self._unpack(repository, layer, lease, below, tell)
            except LayerVerificationFailed as error:
                if not (repository.has_mirrors or isinstance(error, WrongLeftovers)):
                    raise
                await self._unpack(repository.at_origin(), layer, lease, below, tell)
        tell(Step(status="Pull complete", id=layer.short_id))

    async def _unpack(
        self,
        repository: Repository,
        layer: Layer,
        lease: str,
        below: asyncio.Event | None,
        tell: Report,
    ) -> None:
        """Have the layer in a directory, and place it on the one below it when that is placed."""
        key = self._unpacker.prepare(self._images.clock_ns())
        try:
            extracted = await self._extracted(repository, layer, key, tell)
            if below is not None:
                await below.wait()
            await self._unpacker.place(key, extracted, layer.parent, layer.chain_id, lease)
        finally:
            self._unpacker.drop(key)

    async def _extracted(
        self, repository: Repository, layer: Layer, key: str, tell: Report
    ) -> Extracted:
        """The layer in the directory of `key`, by whichever way is shortest.

        The blob may be on its way for another chain: then it is extracted when it is here.
        """
        mine: list[Extracted] = []

        async def fetch(tell_all: Report) -> None:
            if not self._content.has(layer.blob.digest):
                mine.append(await self._receive(repository, layer, key, tell_all))

        await self._transfers.once(("blob", layer.blob.digest), fetch, tell)
        if mine:
            return mine[0]
        async with self._slots:
            tell(Step(status="Extracting", id=layer.short_id, total=layer.blob.size))
            directory = self._unpacker.directory(key)
            extracted = await self._extractors.extract_stored(layer, self._content, directory)
            check_diff_id(layer, extracted)
            return extracted

    async def _receive(
        self, repository: Repository, layer: Layer, key: str, tell: Report
    ) -> Extracted:
        """Fetch and extract side by side."""
        if self._slots.locked():
            tell(Step(status="Waiting", id=layer.short_id))
        async with self._slots:
            meter = Meter(tell, "Downloading", layer.short_id, layer.blob.size)
            directory = self._unpacker.directory(key)
            extracted = await receive(
                repository, layer, self._content, self._extractors, directory, meter
            )
            tell(Step(status="Verifying Checksum", id=layer.short_id))
            tell(Step(status="Download complete", id=layer.short_id))
            size = layer.blob.size
            tell(Step(status="Extracting", id=layer.short_id, current=size, total=size))
            return extracted

    async def _download(self, repository: Repository, layer: Layer, tell: Report) -> None:
        async def fetch(tell_all: Report) -> None:
            if self._content.has(layer.blob.digest):
                return
            async with self._slots:
                meter = Meter(tell_all, "Downloading", layer.short_id, layer.blob.size)
                await download(repository, layer.blob, self._content, meter)

        await self._transfers.once(("blob", layer.blob.digest), fetch, tell)
        tell(Step(status="Download complete", id=layer.short_id))


def _conclude(report: Report, reference: Reference, *, newer: bool) -> None:
    verb = "Downloaded newer image" if newer else "Image is up to date"
    report(Step(status=f"Status: {verb} for {reference.familiar()}"))


def _layers(manifest: Manifest, config: ImageConfig) -> list[Layer]:
    chain = chain_ids(config.diff_ids)
    parents = ("", *chain[:-1])
    return [
        Layer(blob, diff_id, chain_id, parent)
        for blob, diff_id, chain_id, parent in zip(
            manifest.layers, config.diff_ids, chain, parents, strict=False
        )
    ]
