"""The daemon's SQLite database: one file, one connection, one thread.

Opening migrates it (`PRAGMA user_version`). WAL with synchronous=NORMAL: a commit costs tens of
microseconds and survives a killed daemon; a power cut may take the last commits, and the
containers they spoke of, with it (what it does to files: `durability`). Rows are `sqlite3.Row`.
The SQL lives with the slices.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from pier.errors import Failed

VERSION = 3
"""Number of the schema in schema.sql."""

_MOUNTED_IMAGES = """
CREATE TABLE container_images (
    container   TEXT NOT NULL REFERENCES containers ON DELETE CASCADE,
    image       TEXT NOT NULL,
    PRIMARY KEY (container, image)
) STRICT, WITHOUT ROWID;
CREATE INDEX container_images_by_image ON container_images (image);
DROP VIEW image_users;
CREATE VIEW image_users AS
    SELECT u.image, c.id AS container, c.name,
           c.state IN ('running', 'paused', 'restarting') AS running
    FROM (SELECT image, id AS container FROM containers
          UNION SELECT image, container FROM container_images) u
    JOIN containers c ON c.id = u.container;
"""

_DURABILITY = """
ALTER TABLE blobs ADD COLUMN durable INTEGER NOT NULL DEFAULT 0;
UPDATE blobs SET durable = 1;
CREATE TABLE numbered_snapshots (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    key         TEXT NOT NULL UNIQUE,
    kind        TEXT NOT NULL CHECK (kind IN ('committed', 'active', 'view')),
    parent      INTEGER REFERENCES snapshots ON DELETE RESTRICT,
    size        INTEGER,
    created_ns  INTEGER NOT NULL,
    durable     INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO numbered_snapshots
    SELECT id, key, kind, parent, size, created_ns, kind = 'committed' FROM snapshots;
DROP TABLE snapshots;
ALTER TABLE numbered_snapshots RENAME TO snapshots;
CREATE INDEX snapshots_by_parent ON snapshots (parent);
CREATE TABLE damaged_images (
    image       TEXT NOT NULL,
    reference   TEXT NOT NULL,
    reason      TEXT NOT NULL,
    PRIMARY KEY (image, reference)
) STRICT, WITHOUT ROWID;
CREATE TABLE last_run (place TEXT NOT NULL) STRICT;
"""
# What an earlier Pier kept was believed without a look; to read all of it again would take hours.

_MIGRATIONS: Mapping[int, str] = {1: _MOUNTED_IMAGES, 2: _DURABILITY}
"""Script that takes a database from version n to n + 1. Only ever grows."""

Parameters = Sequence[object] | Mapping[str, object]


class NewerDatabase(Failed):
    def __init__(self, path: Path, version: int) -> None:
        super().__init__(
            f"{path} was written by a newer Pier (schema {version}, this one knows {VERSION}); "
            "install that version, or start with another data root"
        )


_RESERVE = 4 * 1024 * 1024
"""Bytes of the log that are ours before they are needed: SQLite begins it anew at this length."""


class UnusableRecords(Failed):
    def __init__(self, path: Path, error: sqlite3.Error) -> None:
        super().__init__(f"the records in {path} cannot be used: {error}")


class NoSpace(Failed):
    def __init__(self) -> None:
        super().__init__("no space left on device: the daemon cannot write its records")


class Database:
    """The open database. Use it only on the thread that made it (the event loop's)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # The environment of every container is in it; SQLite gives its other files the same mode.
        path.touch(mode=0o600)
        path.chmod(0o600)
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=10.0)
        self._connection.row_factory = sqlite3.Row
        try:
            Path(f"{path}-reserve").unlink(missing_ok=True)
            self._open(path)
            _allocate(f"{path}-wal")
        except sqlite3.Error as error:
            self._connection.close()
            raise UnusableRecords(path, error) from error
        except BaseException:
            self._connection.close()
            raise

    def _open(self, path: Path) -> None:
        # Nobody else opens it: then the index of the log need not be a file, which SQLite maps, and
        # whose pages a full disk cannot give (SIGBUS).
        self.execute("PRAGMA locking_mode = EXCLUSIVE")
        self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA synchronous = NORMAL")
        self.execute("PRAGMA temp_store = MEMORY")
        version = int(self.execute("PRAGMA user_version").fetchone()[0])
        if version > VERSION:
            raise NewerDatabase(path, version)
        if version < VERSION:
            self._migrate(version)
        self.execute("PRAGMA foreign_keys = ON")  # last: a migration may make a table anew

    def _migrate(self, version: int) -> None:
        """Bring the schema to VERSION; each step is one transaction."""
        if version == 0:
            schema = files("pier.store").joinpath("schema.sql").read_text()
            self._run_script(schema, VERSION)
            return
        for step in range(version, VERSION):
            self._run_script(_MIGRATIONS[step], step + 1)

    def _run_script(self, script: str, version: int) -> None:
        # executescript() commits what is open, so the transaction has to be part of the script.
        try:
            self._connection.executescript(
                f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA user_version = {version};\nCOMMIT;"
            )
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.rollback()
            raise

    def execute(self, sql: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        """Run one statement; outside `transaction()` it commits by itself. Raises NoSpace."""
        try:
            return self._connection.execute(sql, parameters)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise NoSpace from error
            raise

    def executemany(self, sql: str, rows: Iterator[Parameters] | Sequence[Parameters]) -> None:
        """Run one statement for each of `rows`, all or none."""
        with self.transaction():
            self._connection.executemany(sql, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything in the block, or nothing. A nested block joins the outer one.

        BEGIN IMMEDIATE: what the block reads cannot change before it writes. Never `await` inside.
        """
        if self._connection.in_transaction:
            yield
            return
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        """Also after a commit that failed (no space left), which may leave its transaction open:
        what came later would join it, and never be committed.
        """
        if self._connection.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        """The log goes with the connection; its space is kept for the next one's."""
        self._connection.close()
        _allocate(f"{self._path}-reserve")


def _allocate(path: str) -> None:
    """So that on a full disk records can still be written: of what is removed, to make space."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, _RESERVE)
        finally:
            os.close(fd)
