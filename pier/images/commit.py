"""A container's upper directory becomes a layer, and an image on top of its own.

The snapshot stays the container's, so its files are written out as a layer blob and unpacked
again: two copies, neither of which the container can change.
"""

import asyncio
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from pier.archive.header import END
from pier.archive.layer import Extracted
from pier.archive.layer_writer import write_layer
from pier.images.library import Library
from pier.images.model import Image
from pier.images.room import disk_errors
from pier.images.unpack import extract
from pier.oci.digest import Descriptor, Digest
from pier.oci.image import ImageConfig, chain_ids, next_chain_id
from pier.oci.manifest import OCI_LAYER
from pier.oci.reference import Reference
from pier.store.content import Ingest

_EMPTY_LAYER = f"sha256:{hashlib.sha256(END).hexdigest()}"


async def commit_upper(
    images: Library,
    key: str,
    config: ImageConfig,
    parent: str,
    names: Sequence[Reference],
    ignore: Collection[bytes],
) -> Image:
    """See `Images.commit_layer`."""
    lease = images.lease()
    try:
        upper = images.snapshotter.directory(key)
        with disk_errors(), images.content.ingest(None) as ingest:
            await asyncio.to_thread(write_layer, upper, ingest.write, ignore=ignore)
            if ingest.digest == _EMPTY_LAYER:
                whole = _without_layer(config)
            else:
                below = "".join(chain_ids(config.diff_ids)[-1:])
                diff_id = await keep_layer(images, ingest, below, lease)
                whole = replace(config, diff_ids=(*config.diff_ids, diff_id))
        chain_ids(whole.diff_ids)
        return images.create(whole, names=names, parent=parent)
    finally:
        images.leases.release(lease)


def _without_layer(config: ImageConfig) -> ImageConfig:
    """Nothing was changed: the last step is of those that made no layer."""
    *before, last = config.history
    return replace(config, history=(*before, replace(last, empty_layer=True)))


async def keep_layer(images: Library, ingest: Ingest, below: str, lease: str) -> Digest:
    """Make the plain tar in `ingest` a blob and a snapshot on the chain `below`; its diff ID."""
    diff_id = ingest.digest
    images.leases.add(lease, "blob", diff_id)
    chain_id = next_chain_id(below, diff_id)
    images.leases.add(lease, "snapshot", chain_id)
    if not images.snapshotter.exists(chain_id):
        place = images.unpacker.prepare(images.clock_ns())
        try:
            directory = images.unpacker.directory(place)
            extracted = await asyncio.to_thread(_extract, ingest, directory, diff_id)
            await images.unpacker.place(place, extracted, below, chain_id, lease)
        finally:
            images.unpacker.drop(place)
    remember_layer(images, ingest, diff_id)
    return diff_id


def _extract(ingest: Ingest, directory: Path, diff_id: Digest) -> Extracted:
    return extract(ingest.chunks(), directory, diff_id)


def remember_layer(images: Library, ingest: Ingest, diff_id: Digest) -> None:
    """Blob and row of a layer made here: its diff ID is its digest."""
    with images.database.transaction():
        size = ingest.offset
        ingest.commit()
        images.records.insert_layers([diff_id], [Descriptor(OCI_LAYER, diff_id, size)])
