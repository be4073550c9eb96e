"""Images that were here until something of them was lost: what they were called, and why.

A damaged image has no row in `images`, so nothing can list or use it. Its names are remembered
for errors that say what happened, and for the image itself, which gets them back when a pull, a
load or a build makes it again; its blobs that are whole are kept until then.
"""

import logging

from pier.store.database import Database
from pier.store.leases import Leases

log = logging.getLogger(__name__)


class DamagedImages:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._leases = Leases(database)

    def declare(self, image_id: str, reason: str) -> None:
        """The image `image_id` is damaged from now on."""
        names = self._column("SELECT reference FROM tags WHERE image = ?", image_id)
        blobs = self._column("SELECT digest FROM image_blobs WHERE image = ?", image_id)
        with self._database.transaction():
            self._database.executemany(
                "INSERT INTO damaged_images VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET reason = excluded.reason",
                [(image_id, name, reason) for name in ("", *names)],
            )
            self._database.execute("DELETE FROM images WHERE id = ?", (image_id,))
            lease = self._leases.create(0, None, _lease(image_id))
            for digest in blobs:
                self._leases.add(lease, "blob", digest)
        tags = [name for name in names if "@" not in name]
        log.warning(
            "image %s is damaged and not listed any more: %s; pull, load or build it again",
            ", ".join(tags) or image_id, reason,
        )  # fmt: skip

    def find(self, reference: str, digits: str) -> list[str]:
        """IDs of the damaged images that had that name, or whose ID begins with those digits."""
        low = f"sha256:{digits}"
        return self._column(
            "SELECT DISTINCT image FROM damaged_images WHERE (reference != '' AND reference = ?)"
            " OR (? != '' AND image >= ? AND image < ?)",
            reference, digits, low, low + "g",
        )  # fmt: skip

    def reason(self, image_id: str) -> str:
        """What was lost of it; "" if it is not damaged."""
        return "".join(
            self._column("SELECT DISTINCT reason FROM damaged_images WHERE image = ?", image_id)[:1]
        )

    def names(self, image_id: str) -> list[str]:
        """The references it had."""
        query = "SELECT reference FROM damaged_images WHERE image = ? AND reference != ''"
        return self._column(query, image_id)

    def list_(self) -> list[str]:
        return self._column("SELECT image FROM damaged_images WHERE reference = ''")

    def give_up(self, reference: str) -> None:
        """The name means another image now."""
        self._database.execute(
            "DELETE FROM damaged_images WHERE reference != '' AND reference = ?", (reference,)
        )

    def forget(self, image_id: str) -> None:
        """It was made again, or nobody wants it any more."""
        with self._database.transaction():
            self._database.execute("DELETE FROM damaged_images WHERE image = ?", (image_id,))
            self._leases.release(_lease(image_id))

    def _column(self, query: str, *parameters: object) -> list[str]:
        return [str(row[0]) for row in self._database.execute(query, parameters)]


def _lease(image_id: str) -> str:
    return f"damaged/{image_id}"
