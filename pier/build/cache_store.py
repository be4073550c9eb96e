"""The build cache in the database: rows of `build_cache`, found by key, bounded, pruned.

A row's layer is kept by a lease named after its key, so images may come and go above it. The
directory and blob go with the next collection after the row.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from pier.build.cache import StepKey
from pier.build.pruning import CacheRecord
from pier.oci.digest import Digest
from pier.store.database import Database
from pier.store.leases import Leases

DEFAULT_LIMIT_BYTES = 20 * 10**9
_CANDIDATES = 20
_IN_IMAGES = """
    WITH RECURSIVE used (id, key) AS (
        SELECT id, key FROM snapshots WHERE key IN (SELECT chain_id FROM images)
        UNION
        SELECT s.id, s.key FROM snapshots s
        JOIN snapshots child ON child.parent = s.id JOIN used u ON u.id = child.id
    )
    SELECT DISTINCT substr(l.lease, 7) AS key FROM lease_items l JOIN used u ON u.key = l.key
    WHERE l.kind = 'snapshot' AND substr(l.lease, 1, 6) = 'build/'
"""
_IN_USE = """
    SELECT DISTINCT substr(held.lease, 7) AS key FROM lease_items held
    JOIN lease_items other ON other.kind = held.kind AND other.key = held.key
    WHERE held.kind = 'snapshot' AND substr(held.lease, 1, 6) = 'build/'
    AND substr(other.lease, 1, 6) <> 'build/'
"""
"""Held by a build, or a pull, that is under way."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step made. `diff_id` None: it changed no files, `chain_id` is its parent's.

    `blob` is the layer's bytes in the content store; `content_key` the row it stands for, when
    this is only a shorter way there.
    """

    chain_id: str = ""
    diff_id: Digest | None = None
    blob: Digest | None = None
    size: int = 0
    created_ns: int = 0


class CacheStore:
    def __init__(self, database: Database, leases: Leases) -> None:
        self._database = database
        self._leases = leases

    def find(self, key: str, now_ns: int) -> StepResult | None:
        """The result under `key`, which thereby counts as used."""
        row = self._database.execute(
            "UPDATE build_cache SET uses = uses + 1, used_ns = ? WHERE key = ? "
            "RETURNING result_json",
            (now_ns, key),
        ).fetchone()
        return None if row is None else _result(row)

    def add(self, step: StepKey, result: StepResult, now_ns: int) -> None:
        """Remember a result, in place of an earlier one. Its files are in place already."""
        key = step.digest
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO build_cache (key, parent, instruction, inputs_json, result_json, size,"
                " uses, created_ns, used_ns) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET result_json = excluded.result_json,"
                " size = excluded.size, created_ns = excluded.created_ns,"
                " used_ns = excluded.used_ns",
                (
                    key,
                    step.parent,
                    step.instruction,
                    msgspec.json.encode(step.inputs).decode(),
                    msgspec.json.encode(result).decode(),
                    result.size if result.diff_id else 0,
                    now_ns,
                    now_ns,
                ),
            )
            self._hold(key, result, now_ns)

    def _hold(self, key: str, result: StepResult, now_ns: int) -> None:
        self._leases.release(_lease(key))
        lease = self._leases.create(now_ns, None, _lease(key))
        if result.chain_id:
            self._leases.add(lease, "snapshot", result.chain_id)
        if result.blob is not None:
            self._leases.add(lease, "blob", result.blob)

    def similar(self, step: StepKey) -> list[StepKey]:
        """Remembered steps to compare a missed one with, newest first."""
        rows = self._database.execute(
            "SELECT parent, instruction, inputs_json FROM build_cache"
            " WHERE instruction = ? OR parent = ? ORDER BY used_ns DESC LIMIT ?",
            (step.instruction, step.parent, _CANDIDATES),
        )
        return [
            StepKey(str(row["parent"]), str(row["instruction"]), inputs)
            for row in rows
            if (inputs := _inputs(row)) is not None
        ]

    def list_(self) -> list[CacheRecord]:
        """Every row."""
        rows = self._database.execute(
            "SELECT key, parent, instruction, size, uses, created_ns, used_ns FROM build_cache"
        ).fetchall()
        shared, in_use = self._keys(_IN_IMAGES), self._keys(_IN_USE)
        return [
            CacheRecord(
                key=row["key"],
                parent=row["parent"],
                description=row["instruction"],
                size=row["size"],
                uses=row["uses"],
                created_ns=row["created_ns"],
                used_ns=row["used_ns"],
                in_use=row["key"] in in_use,
                shared=row["key"] in shared,
            )
            for row in rows
        ]

    def _keys(self, query: str) -> set[str]:
        return {str(row["key"]) for row in self._database.execute(query)}

    def total_bytes(self) -> int:
        query = "SELECT coalesce(sum(size), 0) FROM build_cache"
        return int(self._database.execute(query).fetchone()[0])

    def remove(self, keys: Iterable[str]) -> None:
        """Forget rows. Collection frees the bytes."""
        with self._database.transaction():
            for key in keys:
                self._remove(key)

    def _remove(self, key: str) -> None:
        self._database.execute("DELETE FROM build_cache WHERE key = ?", (key,))
        self._leases.release(_lease(key))


def _inputs(row: sqlite3.Row) -> dict[str, str] | None:
    try:
        return msgspec.json.decode(row["inputs_json"], type=dict[str, str])
    except msgspec.MsgspecError:
        return None


def _result(row: sqlite3.Row) -> StepResult | None:
    """None for a row that cannot be read: the step is done again, and the row written anew."""
    try:
        return msgspec.json.decode(row["result_json"], type=StepResult)
    except msgspec.MsgspecError:
        return None


def _lease(key: str) -> str:
    return f"build/{key}"
