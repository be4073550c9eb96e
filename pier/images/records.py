"""Images in SQLite: rows in, rows out. No rules here.

Configs never change, so a parsed one is kept as long as its image. An image whose config is gone
is damaged (`damage`) from the moment that somebody looks at it.
"""

import contextlib
import logging
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pier.errors import InvalidArgument
from pier.images.damage import DamagedImages
from pier.images.model import Image, UnreadableImage
from pier.oci.digest import Descriptor, Digest, DigestMismatch, digest_of
from pier.oci.image import ImageConfig, next_chain_id, parse_image_config
from pier.oci.reference import find_reference
from pier.store.content import BlobNotFound, ContentStore
from pier.store.database import Database, NoSpace

log = logging.getLogger(__name__)

_CHAIN_SIZE = """
    WITH RECURSIVE chain (id, parent, size) AS (
        SELECT id, parent, size FROM snapshots WHERE key = ?
        UNION ALL
        SELECT s.id, s.parent, s.size FROM snapshots s JOIN chain c ON s.id = c.parent
    ) SELECT coalesce(sum(size), 0) FROM chain
"""


class ImageRecords:
    def __init__(self, database: Database, content: ContentStore) -> None:
        self._database = database
        self._content = content
        self.damaged = DamagedImages(database)
        self._configs: dict[str, ImageConfig] = {}

    def find(self, image_id: str) -> Image | None:
        """Raises UnreadableImage."""
        row = self._database.execute("SELECT * FROM images WHERE id = ?", (image_id,)).fetchone()
        return None if row is None else self._image(row)

    def find_tagged(self, reference: str) -> Image | None:
        row = self._database.execute(
            "SELECT i.* FROM images i JOIN tags t ON t.image = i.id WHERE t.reference = ?",
            (reference,),
        ).fetchone()
        return None if row is None else self._image(row)

    def find_prefixed(self, hexadecimal: str) -> list[str]:
        """IDs that begin with these digits, at most two."""
        low = "sha256:" + hexadecimal
        rows = self._database.execute(
            "SELECT id FROM images WHERE id >= ? AND id < ? LIMIT 2", (low, low + "g")
        )
        return [str(row["id"]) for row in rows]

    def count(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM images").fetchone()[0])

    def list_(self) -> list[Image]:
        """One that cannot be read is left out."""
        rows = self._database.execute("SELECT * FROM images ORDER BY created_ns DESC, id")
        return [image for row in rows.fetchall() if (image := self._listed(row)) is not None]

    def _listed(self, row: sqlite3.Row) -> Image | None:
        try:
            return self._image(row)
        except UnreadableImage as error:
            log.warning("%s", error)
            return None

    def children(self, image_id: str) -> list[str]:
        rows = self._database.execute("SELECT id FROM images WHERE parent = ?", (image_id,))
        return [str(row["id"]) for row in rows]

    def users(self, image_id: str) -> list[sqlite3.Row]:
        """Containers of the image: container, name, running."""
        return self._database.execute(
            "SELECT * FROM image_users WHERE image = ? ORDER BY container", (image_id,)
        ).fetchall()

    def references(self, image_id: str) -> list[str]:
        """Those that can be read; one that cannot goes with its image."""
        rows = self._database.execute(
            "SELECT reference FROM tags WHERE image = ? ORDER BY reference", (image_id,)
        )
        return [str(row["reference"]) for row in rows if find_reference(row["reference"])]

    def tags_of(self, name: str) -> list[str]:
        """Tags (not digests) under a full name without tag."""
        low = name + ":"
        rows = self._database.execute(
            "SELECT reference FROM tags WHERE reference >= ? AND reference < ? ORDER BY reference",
            (low, name + ";"),
        )
        return [str(row["reference"]) for row in rows]

    def last_tagged_ns(self, image_id: str) -> int:
        row = self._database.execute(
            "SELECT coalesce(max(tagged_ns), 0) FROM tags WHERE image = ?", (image_id,)
        ).fetchone()
        return int(row[0])

    def chain_size(self, chain_id: str) -> int:
        return int(self._database.execute(_CHAIN_SIZE, (chain_id,)).fetchone()[0])

    def insert(
        self,
        config: ImageConfig,
        image_id: Digest,
        manifest: Digest,
        chain_id: str,
        parent: str,
    ) -> None:
        """Add the image; one that exists already stays as it is.

        One that was damaged gets the names back that it had.
        """
        names = self.damaged.names(image_id)
        self._database.execute(
            "INSERT INTO images (id, manifest, chain_id, parent, size, created_ns)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (image_id, manifest, chain_id, parent, self.chain_size(chain_id), config.created_ns),
        )
        self.damaged.forget(image_id)
        for name in names:
            self.set_tag(name, image_id, config.created_ns)

    def insert_blobs(self, image_id: Digest, digests: Iterable[Digest]) -> None:
        self._database.executemany(
            "INSERT INTO image_blobs (image, digest) VALUES (?, ?) ON CONFLICT DO NOTHING",
            [(image_id, digest) for digest in digests],
        )

    def blob_sizes(self) -> Mapping[str, Mapping[str, int]]:
        """The kept blobs of every image: bytes by digest, by image ID."""
        rows = self._database.execute(
            "SELECT image, digest, size FROM image_blobs JOIN blobs USING (digest)"
        )
        found: dict[str, dict[str, int]] = defaultdict(dict)
        for row in rows:
            found[row["image"]][row["digest"]] = row["size"]
        return found

    def insert_layers(self, diff_ids: Sequence[Digest], layers: Sequence[Descriptor]) -> None:
        """Remember which blobs unpack to which diff IDs."""
        self._database.executemany(
            "INSERT INTO layers (diff_id, digest, media_type) VALUES (?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            [
                (diff_id, layer.digest, layer.media_type)
                for diff_id, layer in zip(diff_ids, layers, strict=True)
            ],
        )

    def find_layers(self, diff_id: Digest) -> list[Descriptor]:
        """The blobs that unpack to a diff ID."""
        rows = self._database.execute(
            "SELECT l.media_type, l.digest, b.size FROM layers l JOIN blobs b USING (digest)"
            " WHERE l.diff_id = ? ORDER BY b.created_ns, l.digest",
            (diff_id,),
        )
        return [Descriptor(row["media_type"], Digest(row["digest"]), row["size"]) for row in rows]

    def layer_of(self, chain_id: str, parent: str) -> Digest | None:
        """The diff ID that makes `chain_id` of the chain `parent`, if a blob of it is here."""
        rows = self._database.execute("SELECT DISTINCT diff_id FROM layers")
        found = (Digest(row["diff_id"]) for row in rows)
        return next((each for each in found if next_chain_id(parent, each) == chain_id), None)

    def naming(self, digest: Digest) -> list[str]:
        """IDs of the images that a blob is part of."""
        rows = self._database.execute("SELECT image FROM image_blobs WHERE digest = ?", (digest,))
        return [str(row["image"]) for row in rows]

    def chains(self) -> Mapping[str, str]:
        """The chain ID of every image that has layers, by its ID."""
        rows = self._database.execute("SELECT id, chain_id FROM images WHERE chain_id != ''")
        return {str(row["id"]): str(row["chain_id"]) for row in rows}

    def set_tag(self, reference: str, image_id: str, now_ns: int) -> None:
        self.damaged.give_up(reference)
        self._database.execute(
            "INSERT INTO tags (reference, image, tagged_ns) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET image = excluded.image, tagged_ns = excluded.tagged_ns",
            (reference, image_id, now_ns),
        )

    def remove_tag(self, reference: str) -> None:
        self._database.execute("DELETE FROM tags WHERE reference = ?", (reference,))

    def delete(self, image_id: str) -> None:
        self._database.execute("DELETE FROM images WHERE id = ?", (image_id,))
        self._configs.pop(image_id, None)

    def declare_damaged(self, image_id: str, reason: str) -> None:
        self.damaged.declare(image_id, reason)
        self._configs.pop(image_id, None)

    def _config(self, image_id: Digest) -> ImageConfig | None:
        """None for an image that thereby turns out to be damaged."""
        config = self._configs.get(image_id)
        if config is not None:
            return config
        try:
            data = self._content.read(image_id)
            if digest_of(data) != image_id:
                raise DigestMismatch(image_id, digest_of(data))
        except (BlobNotFound, DigestMismatch) as error:
            with contextlib.suppress(NoSpace):  # then the next one declares it
                self._lose_config(image_id, str(error))
            return None
        except (OSError, InvalidArgument) as error:
            raise UnreadableImage(image_id, str(error)) from error
        try:
            config = parse_image_config(data)
        except InvalidArgument as error:
            raise UnreadableImage(image_id, str(error)) from error
        self._configs[image_id] = config
        return config

    def _lose_config(self, image_id: Digest, reason: str) -> None:
        with self._database.transaction():
            self.declare_damaged(image_id, reason)
            self._content.discard(image_id)

    def _image(self, row: sqlite3.Row) -> Image | None:
        config = self._config(row["id"])
        if config is None:
            return None
        references = self.references(row["id"])
        return Image(
            id=row["id"],
            manifest=row["manifest"],
            config=config,
            chain_id=row["chain_id"],
            layers=config.diff_ids,
            parent=row["parent"],
            size=row["size"],
            created_ns=row["created_ns"],
            tags=tuple(text for text in references if "@" not in text),
            digests=tuple(text for text in references if "@" in text),
        )
