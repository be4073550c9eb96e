import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.store.database import VERSION, Database, NewerDatabase, NoSpace


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "pier.db")
    yield database
    database.close()


def count(database: Database) -> int:
    return int(database.execute("SELECT count(*) FROM leases").fetchone()[0])


def add(database: Database, name: str) -> None:
    database.execute("INSERT INTO leases VALUES (?, 1)", (name,))


def add_twice(database: Database) -> None:
    with database.transaction():
        add(database, "a")
        add(database, "a")


def test_a_new_database_has_the_present_schema(database: Database) -> None:
    assert database.execute("PRAGMA user_version").fetchone()[0] == VERSION
    assert database.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert database.execute("PRAGMA foreign_keys").fetchone()[0] == 1


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    first = Database(tmp_path / "pier.db")
    add(first, "a")
    first.close()
    second = Database(tmp_path / "pier.db")
    assert count(second) == 1
    second.close()


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        add_twice(database)
    assert count(database) == 0


def test_a_nested_transaction_joins_the_outer_one(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError), database.transaction():
        add_twice(database)
    assert count(database) == 0


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    first = Database(tmp_path / "pier.db")
    first.execute(f"PRAGMA user_version = {VERSION + 1}")
    first.close()
    with pytest.raises(NewerDatabase, match="newer Pier"):
        Database(tmp_path / "pier.db")


def test_a_database_of_the_first_schema_is_brought_up(tmp_path: Path) -> None:
    first = Database(tmp_path / "pier.db")
    tables = {row["name"] for row in first.execute("SELECT name FROM sqlite_master")}
    for gone in ("VIEW image_users", "TABLE container_images", "TABLE damaged_images",
                 "TABLE last_run"):  # fmt: skip
        first.execute(f"DROP {gone}")
    first.execute("ALTER TABLE blobs DROP COLUMN durable")
    first.execute("ALTER TABLE snapshots DROP COLUMN durable")
    first.execute("INSERT INTO snapshots VALUES (3, 'below', 'committed', NULL, 1, 1)")
    first.execute("INSERT INTO snapshots VALUES (7, 'above', 'active', 3, NULL, 1)")
    first.execute("CREATE VIEW image_users AS SELECT image, id AS container FROM containers")
    first.execute("INSERT INTO containers VALUES ('c', 'n', 'i', 'running', '', '', '', 1)")
    first.execute("PRAGMA user_version = 1")
    first.close()
    second = Database(tmp_path / "pier.db")
    assert {row["name"] for row in second.execute("SELECT name FROM sqlite_master")} == tables
    second.execute("INSERT INTO container_images VALUES ('c', 'mounted')")
    users = [tuple(row) for row in second.execute("SELECT * FROM image_users ORDER BY image")]
    assert users == [("i", "c", "n", 1), ("mounted", "c", "n", 1)]
    kept = [tuple(row) for row in second.execute("SELECT id, parent, durable FROM snapshots")]
    assert kept == [(3, None, 1), (7, 3, 0)]
    second.execute("DELETE FROM snapshots WHERE id = 7")
    made = second.execute("INSERT INTO snapshots (key, kind, created_ns) VALUES ('n', 'active', 1)")
    assert made.lastrowid == 8  # no number is used twice
    with pytest.raises(sqlite3.IntegrityError):
        second.execute("UPDATE snapshots SET parent = 99")
    second.close()


def test_nobody_else_reads_what_containers_were_told(tmp_path: Path) -> None:
    path = tmp_path / "pier.db"
    path.touch(mode=0o644)
    database = Database(path)
    database.execute("CREATE TABLE t (a)")
    assert {p.stat().st_mode & 0o777 for p in tmp_path.glob("pier.db*")} == {0o600}
    assert len(list(tmp_path.glob("pier.db*"))) == 2
    database.close()
    assert {p.stat().st_mode & 0o777 for p in tmp_path.glob("pier.db*")} == {0o600}


def test_without_space_nothing_is_half_written_and_later_writes_are_kept(tmp_path: Path) -> None:
    """A commit that failed must not stay open: everything after it would be lost silently."""
    database = Database(tmp_path / "pier.db")
    database.execute("CREATE TABLE t (a)")
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages + 4}")

    def fill() -> None:
        for _ in range(100):
            database.execute("INSERT INTO t VALUES (?)", ("x" * 4000,))

    with pytest.raises(NoSpace), database.transaction():
        fill()
    with pytest.raises(NoSpace):
        fill()
    database.execute("DELETE FROM t")
    with database.transaction():
        database.execute("INSERT INTO t VALUES ('kept')")
    database.close()
    again = Database(tmp_path / "pier.db")
    assert [row["a"] for row in again.execute("SELECT a FROM t")] == ["kept"]
    again.close()
