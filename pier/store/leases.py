"""Leases: "do not collect this yet", for content that no record names so far.

A pull holds one while its blobs and snapshots arrive; the build cache holds one that never
expires for each of its records. A lease may name what is not there yet. Those that expire are of
something under way in this process, or *left*: by a daemon that was killed, or for another try.
"""

import uuid
from typing import Literal

from pier.store.database import Database

FOREVER_NS = 2**63 - 1
Kind = Literal["blob", "snapshot"]


class Leases:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: set[str] = set()

    def create(self, now_ns: int, ttl_s: float | None, lease_id: str = "") -> str:
        """A new lease, or the named one with a new end. ttl_s None: until released."""
        lease_id = lease_id or uuid.uuid4().hex
        expires_ns = FOREVER_NS if ttl_s is None else now_ns + int(ttl_s * 1_000_000_000)
        self._database.execute(
            "INSERT INTO leases (id, expires_ns) VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET expires_ns = excluded.expires_ns",
            (lease_id, expires_ns),
        )
        if ttl_s is not None:
            self._held.add(lease_id)
        return lease_id

    def add(self, lease_id: str, kind: Kind, key: str) -> None:
        self._database.execute(
            "INSERT INTO lease_items (lease, kind, key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (lease_id, kind, key),
        )

    def release(self, lease_id: str) -> None:
        """End it; twice is fine."""
        self._held.discard(lease_id)
        self._database.execute("DELETE FROM leases WHERE id = ?", (lease_id,))

    def leave(self, lease_id: str) -> None:
        """What it holds is kept for another try, until it expires or `end_left`."""
        self._held.discard(lease_id)

    def end_left(self) -> None:
        """End those that nobody in this process holds; the ones that never expire stay."""
        rows = self._database.execute("SELECT id FROM leases WHERE expires_ns < ?", (FOREVER_NS,))
        for lease_id in [str(row["id"]) for row in rows]:
            if lease_id not in self._held:
                self.release(lease_id)

    def expire(self, now_ns: int) -> None:
        self._database.execute("DELETE FROM leases WHERE expires_ns <= ?", (now_ns,))
