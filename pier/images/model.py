"""An image as Pier remembers it, and what the operations on images answer with.

Tags and digests are in the full form (`docker.io/library/busybox:1`); see `oci.reference` for
what people read. Sizes in bytes, times in nanoseconds since the epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pier.errors import Failed, NotFound
from pier.oci.digest import Digest
from pier.oci.image import ImageConfig

SHORT_ID = 12

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all (0: not known), from any thread."""


class NoSuchImage(NotFound):
    def __init__(self, name: str, damage: str = "") -> None:
        """damage: what was lost of the image that had this name."""
        why = f" (it was damaged: {damage}; pull, load or build it again)" if damage else ""
        super().__init__(f"No such image: {name}{why}")


class UnreadableImage(Failed):
    def __init__(self, image_id: str, reason: str) -> None:
        super().__init__(f"image {image_id} cannot be read: {reason}")
        self.image_id = image_id
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    id: Digest
    """Digest of the config."""
    manifest: Digest
    config: ImageConfig
    chain_id: str
    """Key of the top snapshot; "" for no layers."""
    layers: tuple[Digest, ...] = ()
    """Diff IDs, bottom first."""
    parent: str = ""
    """The image it was made from here; "" for pulled, loaded and imported ones."""
    size: int = 0
    """Unpacked, all layers."""
    created_ns: int = 0
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()

    @property
    def short_id(self) -> str:
        return self.id.partition(":")[2][:SHORT_ID]


@dataclass(frozen=True, slots=True)
class Removed:
    """One line of an answer to remove or prune. kind: "Untagged" or "Deleted"."""

    kind: str
    what: str
    """Familiar reference, or image or chain ID."""


@dataclass(frozen=True, slots=True)
class Pruned:
    removed: tuple[Removed, ...]
    bytes_reclaimed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One row of `docker history`. id "<missing>" for a step whose image is not here."""

    id: str
    created_ns: int
    created_by: str
    size: int
    comment: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadEvent:
    """Something that happened during a load. `stream` is a line for people, or progress of `id`."""

    stream: str = ""
    status: str = ""
    id: str = ""
    current: int = 0
    total: int = 0
    image: Image | None = None
