"""At daemon start: rows of blobs and snapshots are compared with their files, both ways.

Files without rows are what `sweep` removes. Rows without files are what a loss of power, or
somebody in the data root, leaves: of blobs, of the directories of layers. After a loss of power
files that are there may be empty or wrong, too: what was not durable (`store.durability`) is read,
and layers are unpacked again from blobs that proved to be right.

An image that cannot be made whole is declared damaged (`damage`); it takes no other with it.
"""

import asyncio
import logging
from collections.abc import Sequence

from pier.errors import PierError
from pier.images.library import Library
from pier.oci.digest import Digest

log = logging.getLogger(__name__)


async def recover(images: Library, *, lost_power: bool) -> None:
    """Afterwards every blob, every committed snapshot and every image is whole."""
    lost = await _recover_blobs(images, lost_power=lost_power)
    lost |= await _recover_snapshots(images, lost_power=lost_power)
    for image_id, chain_id in images.records.chains().items():
        if not images.snapshotter.exists(chain_id):
            images.records.declare_damaged(image_id, f"its layer {chain_id} is lost")
    for key in images.snapshotter.restore_active():
        log.warning("the files of %s were lost; it begins anew, from its image", key)
    if lost:
        images.collect()


async def _recover_blobs(images: Library, *, lost_power: bool) -> set[str]:
    """Drop the blobs that are not what they should be; which."""
    lost = images.content.missing()
    if lost_power:
        doubted = set(images.content.doubted()) - set(lost)
        lost += await asyncio.to_thread(_broken, images, sorted(doubted))
    for digest in lost:
        with images.database.transaction():
            for image_id in images.records.naming(digest):
                images.records.declare_damaged(image_id, f"its content {digest} is lost")
            images.content.discard(digest)
        log.warning("content %s was lost", digest)
    return set(lost)


def _broken(images: Library, digests: Sequence[Digest]) -> list[Digest]:
    return [digest for digest in digests if not images.content.is_whole(digest)]


async def _recover_snapshots(images: Library, *, lost_power: bool) -> set[str]:
    """Unpack again what is gone or doubted, or else drop it with all that stands on it; which."""
    snapshotter = images.snapshotter
    suspects = snapshotter.missing()
    if lost_power:
        suspects |= snapshotter.doubted()
    lost: set[str] = set()
    for chain_id, parent in snapshotter.parents().items() if suspects else ():
        if chain_id not in suspects and parent not in lost:
            continue
        if parent in lost or not await _unpacked_again(images, chain_id, parent):
            snapshotter.lose(chain_id)
            lost.add(chain_id)
            log.warning("layer %s was lost", chain_id)
    return lost


async def _unpacked_again(images: Library, chain_id: str, parent: str) -> bool:
    diff_id = images.records.layer_of(chain_id, parent)
    if diff_id is None:
        return False
    for layer in images.records.find_layers(diff_id):
        try:
            await images.unpacker.again(layer, diff_id, parent, chain_id)
        except (PierError, OSError) as error:
            log.warning("layer %s cannot be unpacked again: %s", chain_id, error)
        else:
            log.info("layer %s was unpacked again", chain_id)
            return True
    return False
