"""How an image was made, as `docker history` shows it."""

from pier.images.model import HistoryEntry, Image
from pier.images.records import ImageRecords
from pier.oci.image import History, chain_ids
from pier.store.snapshots import Snapshotter

MISSING = "<missing>"


def history_of(records: ImageRecords, snapshotter: Snapshotter, image: Image) -> list[HistoryEntry]:
    """The steps, the last first. Each of the image and its parents here names one step."""
    sizes = [snapshotter.usage(key) for key in chain_ids(image.layers)]
    steps = _with_sizes(image.config.history, sizes)
    named: Image | None = image
    entries: list[HistoryEntry] = []
    for step, size in reversed(steps):
        entries.append(_entry(step, size, named))
        named = records.find(named.parent) if named and named.parent else None
    return entries


def _with_sizes(history: tuple[History, ...], sizes: list[int]) -> list[tuple[History, int]]:
    """Steps and layers in step; layers nobody wrote a history for are told all the same."""
    left = list(sizes)
    steps = [(step, 0 if step.empty_layer or not left else left.pop(0)) for step in history]
    return steps + [(History(), size) for size in left]


def _entry(step: History, size: int, image: Image | None) -> HistoryEntry:
    return HistoryEntry(
        id=image.id if image else MISSING,
        created_ns=step.created_ns,
        created_by=step.created_by,
        size=size,
        comment=step.comment,
        tags=image.tags if image else (),
    )
