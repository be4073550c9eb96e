"""Images: naming, making and removing them. What the API and the containers talk to.

Whatever takes long is async and does its work in a thread; the database is only touched on the
loop's thread. Finding and registering are the `Library`'s.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence

from pier.errors import InvalidArgument
from pier.images import lookup, removal
from pier.images.commit import commit_upper
from pier.images.history import history_of
from pier.images.imports import import_image
from pier.images.library import LEASE_S, Library
from pier.images.load import load_archive
from pier.images.model import HistoryEntry, Image, LoadEvent, Pruned, Removed, UnreadableImage
from pier.images.save import save_archive
from pier.oci.image import ImageConfig, chain_ids
from pier.oci.reference import Reference, parse_reference

__all__ = ["LEASE_S", "Images"]


class TagHasDigest(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("refusing to create a tag with a digest reference")


class AmbiguousTag(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("refusing to create an ambiguous tag using digest algorithm as name")


class Images(Library):
    def sweep(self) -> None:
        """At daemon start: remove what interrupted operations left.

        What a pull had fetched stays for the next one, until a prune or the next start.
        """
        self.content.sweep()
        self.unpacker.sweep()
        self.collect()
        self.leases.end_left()

    def history(self, name: str) -> list[HistoryEntry]:
        """How the image was made, the last step first."""
        return history_of(self.records, self.snapshotter, self.get(name))

    def last_tagged_ns(self, image_id: str) -> int:
        return self.records.last_tagged_ns(image_id)

    def layer_sizes(self, image: Image) -> list[int]:
        """Bytes of each layer, unpacked, bottom first."""
        return [self.snapshotter.usage(key) for key in chain_ids(image.layers)]

    def layer_directories(self, image: Image) -> list[str]:
        """Where the layers are unpacked, top first."""
        return [str(path) for path in self.snapshotter.chain(image.chain_id)]

    def blob_sizes(self) -> Mapping[str, Mapping[str, int]]:
        """What is kept of every image beside its layers' directories: bytes by digest."""
        return self.records.blob_sizes()

    def tag(self, name: str, reference: str) -> Image:
        """Give the image another name; the name may have meant another image so far."""
        image = self.get(name)
        parsed = parse_reference(reference).tagged()
        if parsed.digest:
            raise TagHasDigest
        if parsed.familiar_name == "sha256":
            raise AmbiguousTag
        self.records.set_tag(str(parsed), image.id, self.clock_ns())
        self.announce("tag", image, parsed.familiar())
        return self.get(image.id)

    async def commit_layer(
        self,
        key: str,
        config: ImageConfig,
        *,
        parent: str = "",
        names: Sequence[Reference] = (),
        ignore: Collection[bytes] = (),
    ) -> Image:
        """Make an image of a container's snapshot `key`, which stays what it is.

        config is the new image's, save for the new layer's diff ID; `ignore` as for
        `archive.layer_writer.write_layer`.
        """
        return await commit_upper(self, key, config, parent, names, ignore)

    async def import_(
        self,
        chunks: AsyncIterator[bytes],
        *,
        reference: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        platform: str = "",
    ) -> Image:
        """Make an image of one root file system's tar."""
        return await import_image(
            self, chunks, reference=reference, message=message, changes=changes, platform=platform
        )

    def load(self, chunks: AsyncIterator[bytes], *, platform: str = "") -> AsyncIterator[LoadEvent]:
        """Take in an archive that `save`, Docker, podman or an OCI tool wrote."""
        return load_archive(self, chunks, platform)

    def save(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        """An archive of images, as `docker save` writes it. Raises NoSuchImage at once."""
        return save_archive(self, names)

    def remove(self, name: str, *, force: bool = False, prune: bool = True) -> list[Removed]:
        """Untag or delete; see `removal`. prune: untagged parents go too."""
        if self._is_damaged(name):
            return self._remove_damaged(name)
        removed: list[Removed] = []
        with self.database.transaction():
            work = removal.Removal(self.records, self.announce, removed)
            work.remove(name, self.get(name), force=force, prune=prune)
        if any(entry.kind == "Deleted" for entry in removed):
            removed += [Removed("Deleted", key) for key in self.collect().snapshots]
        return removed

    def _is_damaged(self, name: str) -> bool:
        """Whether `name` only means a damaged image; one that cannot be read becomes one."""
        try:
            return self.find(name) is None and bool(lookup.find_damaged(self.records, name))
        except UnreadableImage as error:
            self.records.declare_damaged(error.image_id, error.reason)
            return True

    def _remove_damaged(self, name: str) -> list[Removed]:
        """Its names go together: they have meant nothing since it was damaged."""
        image_id = lookup.find_damaged(self.records, name)
        names = [parse_reference(text).familiar() for text in self.records.damaged.names(image_id)]
        self.records.damaged.forget(image_id)
        self.collect()
        return [*(Removed("Untagged", each) for each in names), Removed("Deleted", image_id)]

    def prune(
        self,
        *,
        dangling: bool = True,
        until_ns: int = 0,
        labels: Sequence[str] = (),
        not_labels: Sequence[str] = (),
    ) -> Pruned:
        """Remove unused images: untagged ones, or with dangling=False all without containers."""
        removed: list[Removed] = []
        if not (until_ns or labels or not_labels):
            self._forget_damaged(dangling=dangling)
        self.leases.end_left()
        for image in self.list_():
            children = bool(self.records.children(image.id))
            if not self.records.users(image.id) and removal.prunable(
                image,
                dangling=dangling,
                until_ns=until_ns,
                labels=labels,
                not_labels=not_labels,
                has_children=children,
            ):
                removed += self._prune_one(image)
        collected = self.collect()
        reclaimed = collected.bytes + self.content.remove_leftovers()
        removed += [Removed("Deleted", key) for key in collected.snapshots]
        self._events.publish("image", "prune", "", {"reclaimed": str(reclaimed)})
        return Pruned(tuple(removed), reclaimed)

    def _forget_damaged(self, *, dangling: bool) -> None:
        """dangling: only those that had no name."""
        damaged = self.records.damaged
        for image_id in damaged.list_():
            if not (dangling and damaged.names(image_id)):
                damaged.forget(image_id)

    def _prune_one(self, image: Image) -> list[Removed]:
        removed: list[Removed] = []
        work = removal.Removal(self.records, self.announce, removed)
        with self.database.transaction():
            for name in (*image.tags, *image.digests):
                if self.records.find_tagged(name):
                    work.remove(name, image, force=False, prune=True)
            if self.records.find(image.id):
                work.remove(image.id, image, force=False, prune=True)
        return removed
