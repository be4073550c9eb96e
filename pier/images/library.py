"""The images that exist: rows, content and snapshots together, and how one comes to be.

What every operation on images stands on; `store.Images` adds the operations. An image exists
with its row, and the row comes last. Only for the database's thread.
"""

import os
import time
from collections.abc import Callable, Sequence

from pier.errors import InvalidArgument
from pier.events import Events
from pier.images import lookup
from pier.images.model import Image
from pier.images.records import ImageRecords
from pier.images.unpack import LayerCountMismatch, Unpacker
from pier.oci.digest import Descriptor, Digest
from pier.oci.image import ImageConfig, chain_ids, format_image_config, parse_image_config
from pier.oci.manifest import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    InvalidManifest,
    Manifest,
    format_manifest,
    parse_manifest,
)
from pier.oci.platform import Platform, WrongPlatform, matches, parse_platform, to_platform
from pier.oci.reference import Reference
from pier.store.collection import Collected, collect
from pier.store.content import BlobNotFound, ContentStore
from pier.store.database import Database
from pier.store.leases import Leases
from pier.store.snapshots import Snapshotter

LEASE_S = 24 * 3600
"""How long what an operation holds is safe from collection if the daemon dies in it."""


class LayerNotHere(InvalidArgument):
    def __init__(self, diff_id: Digest) -> None:
        super().__init__(f"layer {diff_id} has no content here")


class Library:
    def __init__(
        self,
        database: Database,
        content: ContentStore,
        snapshotter: Snapshotter,
        leases: Leases,
        events: Events,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.database = database
        self.content = content
        self.snapshotter = snapshotter
        self.leases = leases
        self.clock_ns = clock_ns
        self.records = ImageRecords(database, content)
        self.unpacker = Unpacker(content, snapshotter, leases)
        self._events = events
        machine = os.uname()
        self.host = to_platform("linux", machine.machine)

    def find(self, name: str) -> Image | None:
        return lookup.find_image(self.records, name)

    def get(self, name: str) -> Image:
        """The image a reference, an ID or the beginning of one means; raises NoSuchImage."""
        image = self.find(name)
        if image is None:
            raise lookup.missing(self.records, name)
        return image

    def list_(self) -> list[Image]:
        """All, the newest first."""
        return self.records.list_()

    def count(self) -> int:
        return self.records.count()

    def announce(self, action: str, image: Image, name: str) -> None:
        """Tell whoever watches."""
        attributes = {**image.config.run.labels, "name": name}
        self._events.publish("image", action, image.id, attributes)

    def lease(self) -> str:
        """A hold on content on its way in; `leases.release` it afterwards."""
        return self.leases.create(self.clock_ns(), LEASE_S)

    def register(
        self,
        config: bytes,
        manifest: bytes,
        *,
        names: Sequence[Reference] = (),
        parent: str = "",
        media_type: str = "",
    ) -> Image:
        """Make the image of `config` exist, under `names` (tags, or names at a digest).

        Its layers' blobs and its snapshots must be here. In one transaction; an image that
        exists already keeps its manifest and gets the names.
        """
        parsed, run = parse_manifest(manifest, media_type), parse_image_config(config)
        if not isinstance(parsed, Manifest):
            raise InvalidManifest("an index is no image")
        if len(parsed.layers) != len(run.diff_ids):
            raise LayerCountMismatch(len(parsed.layers), len(run.diff_ids))
        with self.database.transaction():
            image_id = self.content.add(config).digest
            if image_id != parsed.config.digest:
                raise InvalidManifest("it names another config")
            manifest_id = self.content.add(manifest).digest
            for layer in parsed.layers:
                if not self.content.has(layer.digest):
                    raise BlobNotFound(layer.digest)
            chain_id = "".join(chain_ids(run.diff_ids)[-1:])
            self.records.insert(run, image_id, manifest_id, chain_id, parent)
            blobs = [image_id, manifest_id, *(layer.digest for layer in parsed.layers)]
            self.records.insert_blobs(image_id, blobs)
            self.records.insert_layers(run.diff_ids, parsed.layers)
            for name in names:
                self.records.set_tag(str(name), image_id, self.clock_ns())
        return self.get(image_id)

    def create(
        self, config: ImageConfig, *, names: Sequence[Reference] = (), parent: str = ""
    ) -> Image:
        """Make an image of layers that are here: the manifest is written from what is known.

        For build and commit. Raises LayerNotHere.
        """
        data = format_image_config(config)
        layers = [self.find_layer(diff_id) for diff_id in config.diff_ids]
        described = self.content.add(data, OCI_CONFIG)
        manifest = format_manifest(described, layers)
        return self.register(data, manifest, names=names, parent=parent)

    def find_layer(self, diff_id: Digest) -> Descriptor:
        """A blob that unpacks to `diff_id`, with OCI's media type; raises LayerNotHere."""
        for layer in self.records.find_layers(diff_id):
            return Descriptor(_oci_type(layer.media_type), layer.digest, layer.size)
        raise LayerNotHere(diff_id)

    def collect(self) -> Collected:
        """Remove content and snapshots that nothing needs."""
        return collect(self.database, self.content, self.snapshotter, self.clock_ns())

    def platform_of(self, image: Image) -> Platform:
        config = image.config
        return to_platform(config.os, config.architecture, config.variant)

    def check_platform(self, name: str, image: Image, platforms: Sequence[str]) -> None:
        """Raise WrongPlatform unless `platforms` is empty or has the image's."""
        wanted = [parse_platform(text, self.host) for text in platforms]
        actual = self.platform_of(image)
        if wanted and not any(matches(actual, each) for each in wanted):
            raise WrongPlatform(name, wanted[0], actual)


def _oci_type(media_type: str) -> str:
    if media_type.endswith("gzip"):
        return OCI_LAYER_GZIP
    return OCI_LAYER_ZSTD if media_type.endswith("zstd") else OCI_LAYER
