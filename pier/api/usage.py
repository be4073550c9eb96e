"""`docker system df`: how much each kind of object takes, and how much of it nobody needs.

Sizes are looked up in threads: they walk directories.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import msgspec

from pier.api.call import Call, settled
from pier.api.schema.containers import summary_json
from pier.api.schema.images import summary_json as image_json
from pier.api.schema.system import BuildCacheJson, UsageJson
from pier.api.schema.volumes import UsageJson as VolumeUsage
from pier.api.schema.words import rfc3339
from pier.api.views import Views, sizes
from pier.api.volumes import to_json, used_volumes
from pier.errors import NotFound
from pier.images.model import Image

if TYPE_CHECKING:
    from pier.build.pruning import CacheRecord

_FIELDS = {"image": "Images", "container": "Containers", "volume": "Volumes"}


class Part(msgspec.Struct, kw_only=True):
    """One kind of object: every item, and the sums."""

    items: Sequence[object]
    active: int
    total_size: int
    reclaimable: int

    def json(self, *, verbose: bool) -> UsageJson:
        return UsageJson(
            active_count=self.active,
            total_count=len(self.items),
            reclaimable=self.reclaimable,
            total_size=self.total_size,
            items=self.items if verbose else msgspec.UNSET,
        )


async def usage_report(
    call: Call, kinds: Collection[str], *, verbose: bool
) -> Mapping[str, object]:
    """The body of `/system/df` for a client of this version."""
    parts = {kind: await _PARTS[kind](call) for kind in kinds}
    report: dict[str, object] = {}
    if call.version.at_least(52):
        names = {"build-cache": "BuildCacheUsage"}
        for kind, part in parts.items():
            name = names.get(kind, f"{kind.capitalize()}Usage")
            report[name] = part.json(verbose=verbose)
    if not verbose:
        report |= _legacy(parts)
    return report


def _legacy(parts: Mapping[str, Part]) -> Mapping[str, object]:
    report: dict[str, object] = {}
    if "image" in parts:
        report["LayersSize"] = parts["image"].total_size
    for kind, part in parts.items():
        report[_FIELDS.get(kind, "BuildCache")] = part.items
    return report


async def _images(call: Call) -> Part:
    """What several images share is counted once. The sums have the kept blobs too, so that they
    are what the disk holds; sizes of single images are those of their files, as everywhere.
    """
    images: Sequence[Image] = await settled(call.engine.images.list_())
    used = Counter(
        image_id for container in call.engine.containers.list_() for image_id in container.images
    )
    layers = {image.id: _layers(call, image) for image in images}
    sharing = Counter(chain for sizes_ in layers.values() for chain in sizes_)
    items = [
        image_json(
            image,
            call.version,
            containers=used[image.id],
            shared_size=sum(size for chain, size in layers[image.id].items() if sharing[chain] > 1),
        )
        for image in images
    ]
    blobs: Blobs = call.engine.images.blob_sizes()
    total = _sum(layers.values()) + _sum(blobs.values())
    needed = _sum(sizes_ for image_id, sizes_ in layers.items() if image_id in used)
    needed += _sum(sizes_ for image_id, sizes_ in blobs.items() if image_id in used)
    active = sum(image.id in used for image in images)
    return Part(items=items, active=active, total_size=total, reclaimable=total - needed)


Layers = Mapping[tuple[str, ...], int]
"""Sizes of layers; each is named by itself and all below it."""
Blobs = Mapping[str, Mapping[str, int]]
Key = TypeVar("Key")


def _layers(call: Call, image: Image) -> Layers:
    sizes_: Sequence[int] = call.engine.images.layer_sizes(image)
    return {image.layers[: number + 1]: size for number, size in enumerate(sizes_)}


def _sum(parts: Iterable[Mapping[Key, int]]) -> int:
    united: dict[Key, int] = {}
    for sizes_ in parts:
        united |= sizes_
    return sum(united.values())


async def _containers(call: Call) -> Part:
    views, now_ns = Views(call.engine), call.now_ns
    items, reclaimable, total, active = [], 0, 0, 0
    for container in call.engine.containers.list_():
        try:
            rw, root_fs = await sizes(call.engine, container)
        except NotFound:  # removed while the others were counted
            continue
        item = summary_json(views.view(container), call.version, now_ns)
        item.size_rw, item.size_root_fs = rw, root_fs
        items.append(item)
        total += rw
        active += container.state.active
        reclaimable += 0 if container.state.active else rw
    return Part(items=items, active=active, total_size=total, reclaimable=reclaimable)


async def _volumes(call: Call) -> Part:
    used = used_volumes(call.engine)
    items, reclaimable, total = [], 0, 0
    for volume in await settled(call.engine.volumes.list_()):
        try:
            size = await settled(call.engine.volumes.usage(volume.name))
        except NotFound:
            continue
        item = to_json(volume)
        item.usage_data = VolumeUsage(size, used.get(volume.name, 0))
        items.append(item)
        total += size
        reclaimable += 0 if volume.name in used else size
    active = sum(item.name in used for item in items)
    return Part(items=items, active=active, total_size=total, reclaimable=reclaimable)


async def _build_cache(call: Call) -> Part:
    builder = getattr(call.engine, "builder", None)
    records: Sequence[CacheRecord] = () if builder is None else await builder.usage()
    items = [
        BuildCacheJson(
            id=record.key,
            parents=[record.parent] if record.parent else msgspec.UNSET,
            type=record.kind,
            description=record.description,
            in_use=record.in_use,
            shared=record.shared,
            size=record.size,
            created_at=rfc3339(record.created_ns),
            last_used_at=rfc3339(record.used_ns) if record.used_ns else None,
            usage_count=record.uses,
        )
        for record in records
    ]
    own = [item for item in items if not item.shared]
    total = sum(item.size for item in own)
    free = sum(item.size for item in own if not item.in_use)
    active = sum(item.in_use for item in items)
    return Part(items=items, active=active, total_size=total, reclaimable=free)


_PARTS = {
    "image": _images,
    "container": _containers,
    "volume": _volumes,
    "build-cache": _build_cache,
}
