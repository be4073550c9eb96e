"""`docker system df`: how much each object takes; the client adds up.

Sizes are looked up in threads: they walk directories.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import msgspec

from pier.api.call import Call, settled
from pier.api.schema.containers import summary_json
from pier.api.schema.images import summary_json as image_json
from pier.api.schema.system import BuildCacheJson
from pier.api.schema.volumes import UsageJson
from pier.api.schema.words import rfc3339
from pier.api.views import Views, sizes
from pier.api.volumes import to_json, used_volumes
from pier.errors import NotFound
from pier.images.model import Image

if TYPE_CHECKING:
    from pier.build.pruning import CacheRecord

_Items = Sequence[object]


async def usage_report(call: Call, kinds: Collection[str]) -> Mapping[str, object]:
    """The body of `/system/df`: the items of every kind, and the bytes of all layers."""
    report: dict[str, object] = {}
    if "image" in kinds:
        report["LayersSize"], report["Images"] = await _images(call)
    if "container" in kinds:
        report["Containers"] = await _containers(call)
    if "volume" in kinds:
        report["Volumes"] = await _volumes(call)
    if "build-cache" in kinds:
        report["BuildCache"] = await _build_cache(call)
    return report


async def _images(call: Call) -> tuple[int, _Items]:
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
    return total, items


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


async def _containers(call: Call) -> _Items:
    views, now_ns, items = Views(call.engine), call.now_ns, []
    for container in call.engine.containers.list_():
        try:
            rw, root_fs = await sizes(call.engine, container)
        except NotFound:  # removed while the others were counted
            continue
        item = summary_json(views.view(container), call.version, now_ns)
        item.size_rw, item.size_root_fs = rw, root_fs
        items.append(item)
    return items


async def _volumes(call: Call) -> _Items:
    used, items = used_volumes(call.engine), []
    for volume in await settled(call.engine.volumes.list_()):
        try:
            size = await settled(call.engine.volumes.usage(volume.name))
        except NotFound:
            continue
        item = to_json(volume)
        item.usage_data = UsageJson(size, used.get(volume.name, 0))
        items.append(item)
    return items


async def _build_cache(call: Call) -> _Items:
    builder = getattr(call.engine, "builder", None)
    records: Sequence[CacheRecord] = () if builder is None else await builder.usage()
    return [
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
