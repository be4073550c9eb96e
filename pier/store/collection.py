"""Collection: removing blobs and committed snapshots that nothing needs any more.

Roots are images (their blobs, their top snapshot), active snapshots (what they stand on), images
that containers mount and leases. Rows go in one transaction, files after it.
"""

from dataclasses import dataclass

from pier.oci.digest import Digest
from pier.store.content import ContentStore
from pier.store.database import Database
from pier.store.leases import Leases
from pier.store.snapshots import Snapshotter

_UNUSED_BLOBS = """
    SELECT digest, size FROM blobs
    WHERE digest NOT IN (SELECT digest FROM image_blobs)
      AND digest NOT IN (SELECT key FROM lease_items WHERE kind = 'blob')
"""

_UNUSED_SNAPSHOTS = """
    WITH RECURSIVE used (id) AS (
        SELECT id FROM snapshots
        WHERE kind != 'committed'
           OR key IN (SELECT chain_id FROM images)
           OR key IN (SELECT key FROM lease_items WHERE kind = 'snapshot')
           OR key IN (
               SELECT json_extract(mount.value, '$.chain_id')
               FROM containers AS c, json_each(
                   CASE WHEN json_valid(c.mounts_json) THEN c.mounts_json ELSE '[]' END
               ) AS mount
               WHERE mount.type = 'object'
           )
        UNION
        SELECT s.parent FROM snapshots s JOIN used u ON u.id = s.id WHERE s.parent IS NOT NULL
    )
    SELECT id, key, size FROM snapshots WHERE id NOT IN (SELECT id FROM used) ORDER BY id DESC
"""


@dataclass(frozen=True, slots=True)
class Collected:
    """What went: how many blobs, which chain IDs, how many bytes of both."""

    blobs: int
    snapshots: tuple[str, ...]
    bytes: int


def collect(
    database: Database, content: ContentStore, snapshotter: Snapshotter, now_ns: int
) -> Collected:
    """Remove all that is not needed at this moment. Directories disappear in the background."""
    with database.transaction():
        Leases(database).expire(now_ns)
        blobs = database.execute(_UNUSED_BLOBS).fetchall()
        snapshots = database.execute(_UNUSED_SNAPSHOTS).fetchall()
        database.executemany("DELETE FROM blobs WHERE digest = ?", [(r["digest"],) for r in blobs])
        numbers = [(row["id"],) for row in snapshots]
        # Parents and children go together, in no particular order.
        database.executemany("UPDATE snapshots SET parent = NULL WHERE id = ?", numbers)
        database.executemany("DELETE FROM snapshots WHERE id = ?", numbers)
    content.remove_files([Digest(row["digest"]) for row in blobs])
    snapshotter.remove_files([row["id"] for row in snapshots])
    return Collected(
        len(blobs),
        tuple(str(row["key"]) for row in snapshots),
        sum(int(row["size"] or 0) for row in (*blobs, *snapshots)),
    )
