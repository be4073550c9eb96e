"""One root file system's tar becomes an image of one layer: `docker import`."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pier.archive.compression import decompressed
from pier.archive.layer import Extracted
from pier.errors import InvalidArgument
from pier.images.changes import apply_changes
from pier.images.commit import remember_layer
from pier.images.feed import work_on
from pier.images.library import Library
from pier.images.model import Image
from pier.images.room import disk_errors
from pier.images.unpack import extract
from pier.oci.image import History, ImageConfig, RunConfig
from pier.oci.platform import Platform, parse_platform
from pier.oci.reference import Reference, parse_reference
from pier.store.content import Ingest
from pier.threads import Bulkhead

DEFAULT_MESSAGE = "Imported from -"
_THREADS = Bulkhead("image imports", most=256)


class SystemNotSupported(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("operating system is not supported")


async def import_image(
    images: Library,
    chunks: AsyncIterator[bytes],
    *,
    reference: str,
    message: str,
    changes: Sequence[str],
    platform: str,
) -> Image:
    """See `Images.import_`. What can be refused is refused before anything is read."""
    name = parse_reference(reference).tagged() if reference else None
    run = apply_changes(RunConfig(), changes)
    wanted = parse_platform(platform, images.host) if platform else images.host
    if wanted.os != images.host.os:
        raise SystemNotSupported
    return await import_with(
        images,
        chunks,
        name,
        run,
        message=message or DEFAULT_MESSAGE,
        created_ns=images.clock_ns(),
        platform=wanted,
    )


async def import_with(
    images: Library,
    chunks: AsyncIterator[bytes],
    name: Reference | None,
    run: RunConfig,
    *,
    message: str,
    created_ns: int,
    platform: Platform | None = None,
) -> Image:
    """Make an image of a tar, with a given config."""
    lease = images.lease()
    try:
        with disk_errors():
            layer = await _take_in(images, chunks, lease)
        config = _config(layer, run, message, platform or images.host, created_ns)
        image = images.create(config, names=[name] if name else [])
    finally:
        images.leases.release(lease)
        images.collect()  # the plain layer, where a blob of it was here already
    if name:
        images.announce("tag", image, name.familiar())
    images.announce("import", image, image.id)
    return image


async def _take_in(images: Library, chunks: AsyncIterator[bytes], lease: str) -> Extracted:
    place = images.unpacker.prepare(images.clock_ns())
    try:
        with images.content.ingest(None) as ingest:
            work = _Work(ingest, images.unpacker.directory(place))
            extracted = await work_on(chunks, work, _THREADS)
            images.leases.add(lease, "blob", extracted.diff_id)
            await images.unpacker.place(place, extracted, "", extracted.diff_id, lease)
            remember_layer(images, ingest, extracted.diff_id)
            return extracted
    finally:
        images.unpacker.drop(place)


@dataclass(frozen=True, slots=True)
class _Work:
    """Decompress, keep the plain tar, extract: in a thread."""

    ingest: Ingest
    directory: Path

    def __call__(self, chunks: Iterator[bytes]) -> Extracted:
        return extract(decompressed(chunks), self.directory, None, ingest=self.ingest)


def _config(
    layer: Extracted, run: RunConfig, message: str, platform: Platform, now_ns: int
) -> ImageConfig:
    return ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        created_ns=now_ns,
        run=run,
        diff_ids=(layer.diff_id,),
        history=(History(created_ns=now_ns, comment=message),),
    )
