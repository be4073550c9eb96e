"""Snapshots: directories that stack into root file systems.

    <root>/<id>/fs      what this one adds; whiteouts and opaque marks are overlayfs's
    <root>/<id>/work    overlayfs's own, only of an active one
    <root>/trash/       on its way out

*committed* snapshots never change; their key is the chain ID of the layers up to them. *active*
ones are somebody's upper directory; their key names the owner ("container/<id>"). Everything
here that asks the database belongs on its thread; directories may be filled from any.

A *lost* snapshot is a committed one whose directory is gone. Its row stays as long as others stand
on it, under the key "lost/<chain ID>": so the chain ID does not exist, and whoever makes it again
takes the lost one's place.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pier.archive.layer import is_opaque
from pier.errors import Conflict, Failed, NotFound
from pier.linux.mount import Overlay
from pier.linux.trees import tree_size
from pier.store.database import Database
from pier.store.durability import nobody_asks
from pier.store.trash import Trash

COMMITTED = "committed"
ACTIVE = "active"
_LOST = "lost/"

_CHAIN = """
    WITH RECURSIVE chain (id, parent, depth) AS (
        SELECT id, parent, 0 FROM snapshots WHERE key = ?
        UNION ALL
        SELECT s.id, s.parent, depth + 1 FROM snapshots s JOIN chain c ON s.id = c.parent
    ) SELECT id, key FROM chain JOIN snapshots USING (id) ORDER BY depth
"""


_PARENTS = """
    WITH RECURSIVE tree (id, key, parent, depth) AS (
        SELECT id, key, '', 0 FROM snapshots WHERE kind = ?1 AND parent IS NULL
        UNION ALL
        SELECT s.id, s.key, t.key, depth + 1
        FROM snapshots s JOIN tree t ON s.parent = t.id WHERE s.kind = ?1
    ) SELECT key, parent FROM tree ORDER BY depth
"""


class SnapshotNotFound(NotFound):
    def __init__(self, key: str) -> None:
        super().__init__(f"snapshot {key}: not found")


class SnapshotExists(Conflict):
    def __init__(self, key: str) -> None:
        super().__init__(f"snapshot {key}: already exists")


class SnapshotInUse(Conflict):
    def __init__(self, key: str) -> None:
        super().__init__(f"snapshot {key} has others on top of it")


class SnapshotLost(Failed):
    def __init__(self, chain_id: str) -> None:
        super().__init__(
            f"layer {chain_id} was damaged and is gone: pull, load or build its image again"
        )


class NotActive(Failed):
    def __init__(self, key: str) -> None:
        super().__init__(f"snapshot {key} is not active: it cannot be changed or committed")


class Snapshotter:
    def __init__(self, root: Path, database: Database) -> None:
        root.mkdir(mode=0o710, parents=True, exist_ok=True)
        self._root = root
        self._database = database
        self._trash = Trash(root / "trash")
        self.transaction = database.transaction
        self.added: Callable[[], None] = nobody_asks
        """Called after each new committed snapshot."""

    def prepare(self, key: str, parent: str = "", now_ns: int = 0) -> None:
        """Make an empty active snapshot on the committed one `parent` ("" for none).

        Its root directory is root's and 0755, whatever layers say of theirs: an archive of a
        directory that was private would make a container nobody else's.
        """
        with self._database.transaction():
            above = self._committed_id(parent) if parent else None
            if self.exists(key):
                raise SnapshotExists(key)
            row = self._database.execute(
                "INSERT INTO snapshots (key, kind, parent, created_ns) VALUES (?, ?, ?, ?)",
                (key, ACTIVE, above, now_ns),
            )
            self._make_directories(int(row.lastrowid or 0))

    def _make_directories(self, number: int) -> None:
        home = self._root / str(number)
        self._trash.put(home)
        (home / "work").mkdir(mode=0o700, parents=True)
        fs = home / "fs"
        fs.mkdir(mode=0o755)
        fs.chmod(0o755)

    def commit(
        self, key: str, chain_id: str, *, parent: str | None = None, size: int | None = None
    ) -> None:
        """Make the active snapshot `key` the committed one `chain_id`.

        If there is one of that chain ID already, this one is dropped. parent puts it on top of
        another committed snapshot than it was prepared on (layers unpack side by side, and find
        their place when those below are there). size is its bytes, where the caller counted.
        """
        with self._database.transaction():
            row = self._get(key)
            if row["kind"] != ACTIVE:
                raise NotActive(key)
            if not self.exists(chain_id):
                below = self._committed_id(parent) if parent else row["parent"]
                self._database.execute(
                    "UPDATE snapshots SET key = ?, kind = ?, parent = ?, size = ? WHERE id = ?",
                    (chain_id, COMMITTED, below, size, row["id"]),
                )
                self._replace_lost(chain_id, row["id"])
                drop = False
            else:
                self._database.execute("DELETE FROM snapshots WHERE id = ?", (row["id"],))
                drop = True
        home = self._root / str(row["id"])
        self._trash.put(home if drop else home / "work")
        self.added()

    def _replace_lost(self, chain_id: str, number: int) -> None:
        lost = self._find(_LOST + chain_id)
        if lost is not None:
            move = "UPDATE snapshots SET parent = ? WHERE parent = ?"
            self._database.execute(move, (number, lost["id"]))
            self._database.execute("DELETE FROM snapshots WHERE id = ?", (lost["id"],))

    def exists(self, key: str) -> bool:
        return self._find(key) is not None

    def directory(self, key: str) -> Path:
        """The directory of what this snapshot itself adds."""
        return self._fs(self._get(key)["id"])

    def chain(self, key: str) -> list[Path]:
        """Its directory and those below it, topmost first; [] for the key "".

        Ends with one whose root is opaque: it hides the rest, which the kernel would show.
        """
        rows = self._database.execute(_CHAIN, (key,)).fetchall()
        if key and not rows:
            raise SnapshotNotFound(key)
        for row in rows:
            if row["key"].startswith(_LOST):
                raise SnapshotLost(row["key"].removeprefix(_LOST))
        paths = [self._fs(row["id"]) for row in rows]
        ends = (number for number, path in enumerate(paths, 1) if is_opaque(path))
        return paths[: next(ends, None)]

    def overlay(self, key: str, *, volatile: bool = False) -> Overlay:
        """How to mount it: an active one to be written to, a committed one read-only."""
        row = self._get(key)
        paths = [str(path) for path in self.chain(key)]
        if row["kind"] == COMMITTED:
            return Overlay(lower=tuple(paths))
        work = str(self._root / str(row["id"]) / "work")
        return Overlay(lower=tuple(paths[1:]), upper=paths[0], work=work, volatile=volatile)

    def parent(self, key: str) -> str:
        """Key of the snapshot below, "" for none."""
        row = self._database.execute(
            "SELECT p.key FROM snapshots s JOIN snapshots p ON p.id = s.parent WHERE s.key = ?",
            (key,),
        ).fetchone()
        return "" if row is None else str(row["key"])

    def list_keys(self, prefix: str = "") -> list[str]:
        rows = self._database.execute(
            "SELECT key FROM snapshots WHERE substr(key, 1, ?) = ? ORDER BY key",
            (len(prefix), prefix),
        )
        return [str(row["key"]) for row in rows]

    def usage(self, key: str) -> int:
        """Bytes it adds itself. Counts files unless known: off the loop, use `tree_size`."""
        row = self._get(key)
        if row["size"] is not None:
            return int(row["size"])
        size = tree_size(self._fs(row["id"]))
        if row["kind"] == COMMITTED:
            self._database.execute("UPDATE snapshots SET size = ? WHERE id = ?", (size, row["id"]))
        return size

    def remove(self, key: str) -> None:
        """Remove it; nothing there is fine. Raises SnapshotInUse."""
        with self._database.transaction():
            row = self._find(key)
            if row is None:
                return
            if self._has_children(row["id"]):
                raise SnapshotInUse(key)
            self._database.execute("DELETE FROM snapshots WHERE id = ?", (row["id"],))
        self.remove_files([row["id"]])

    def remove_files(self, numbers: Sequence[int]) -> None:
        """Remove the directories of rows that were deleted before."""
        for number in numbers:
            self._trash.put(self._root / str(number))

    def sweep(self) -> None:
        """At start: remove directories without rows, and what was in the trash."""
        known = {str(row["id"]) for row in self._database.execute("SELECT id FROM snapshots")}
        for path in self._root.iterdir():
            if path.name != "trash" and path.name not in known:
                self._trash.put(path)
        self._trash.sweep()

    def doubted(self) -> set[str]:
        """Chain IDs of the committed snapshots that may not be on the disk."""
        return {_chain_id(row) for row in self._committed() if not row["durable"]}

    def missing(self) -> set[str]:
        """Chain IDs of the committed snapshots whose directory is gone, and of lost ones."""
        return {_chain_id(row) for row in self._committed() if not self._fs(row["id"]).is_dir()}

    def _committed(self) -> list[sqlite3.Row]:
        return self._database.execute(
            "SELECT id, key, durable FROM snapshots WHERE kind = ?", (COMMITTED,)
        ).fetchall()

    def parents(self) -> Mapping[str, str]:
        """The chain ID that each committed snapshot stands on ("" for nothing), bottom first."""
        rows = self._database.execute(_PARENTS, (COMMITTED,)).fetchall()
        return {_chain_id(row): row["parent"].removeprefix(_LOST) for row in rows}

    def lose(self, chain_id: str) -> None:
        """Mark a committed snapshot as lost, if it is not, and remove what is left of its files."""
        if not self.exists(chain_id):
            return
        number = self._committed_id(chain_id)
        with self._database.transaction():
            self._database.execute(
                "UPDATE snapshots SET key = ?, size = NULL WHERE id = ?", (_LOST + chain_id, number)
            )
            if not self._has_children(number):
                self._database.execute("DELETE FROM snapshots WHERE id = ?", (number,))
        self.remove_files([number])

    def restore_active(self) -> list[str]:
        """Make the directories of active snapshots that are gone anew, empty; their keys."""
        query = "SELECT id, key FROM snapshots WHERE kind = ?"
        restored = []
        for row in self._database.execute(query, (ACTIVE,)).fetchall():
            if not self._fs(row["id"]).is_dir():
                self._make_directories(row["id"])
                restored.append(str(row["key"]))
            (self._root / str(row["id"]) / "work").mkdir(mode=0o700, exist_ok=True)
        return restored

    def close(self) -> None:
        """Wait for removals under way."""
        self._trash.close()

    def _fs(self, number: int) -> Path:
        return self._root / str(number) / "fs"

    def _find(self, key: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._database.execute(
            "SELECT id, kind, parent, size FROM snapshots WHERE key = ?", (key,)
        ).fetchone()
        return row

    def _get(self, key: str) -> sqlite3.Row:
        row = self._find(key)
        if row is None:
            raise SnapshotNotFound(key)
        return row

    def _committed_id(self, key: str) -> int:
        row = self._get(key)
        if row["kind"] != COMMITTED:
            raise SnapshotNotFound(key)
        return int(row["id"])

    def _has_children(self, number: int) -> bool:
        query = "SELECT 1 FROM snapshots WHERE parent = ?"
        return self._database.execute(query, (number,)).fetchone() is not None


def _chain_id(row: sqlite3.Row) -> str:
    return str(row["key"]).removeprefix(_LOST)
