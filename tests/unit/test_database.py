import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.store.database import VERSION, Database, NewerDatabase


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
