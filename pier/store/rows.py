"""Rows into values, one by one: a row that cannot be read does not take the others with it.

What is in a row was written by Pier; a disk, a hand or another version may have spoiled it since.
A list leaves such a row out and the log names it, once; who asks for that very row is told why.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import msgspec

from pier.errors import Failed

_log = logging.getLogger(__name__)
_UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError, RecursionError)

Value = TypeVar("Value")


class DamagedRecord(Failed):
    def __init__(self, kind: str, key: str, why: Exception) -> None:
        super().__init__(f"the record of {kind} {key} cannot be read: {why}")


class RowReader(Generic[Value]):
    """`kind` is a word for people; `key` names the column that tells rows apart."""

    def __init__(self, kind: str, key: str, parse: Callable[[sqlite3.Row], Value]) -> None:
        self._kind = kind
        self._key = key
        self._parse = parse
        self._reported: set[str] = set()

    def read(self, row: sqlite3.Row) -> Value:
        """Raises DamagedRecord."""
        try:
            return self._parse(row)
        except _UNREADABLE as error:
            raise DamagedRecord(self._kind, str(row[self._key]), error) from error

    def read_all(self, rows: Iterable[sqlite3.Row]) -> list[Value]:
        """Those that can be read."""
        found = []
        for row in rows:
            try:
                found.append(self.read(row))
            except DamagedRecord as error:
                self._report(str(row[self._key]), error)
        return found

    def _report(self, key: str, error: DamagedRecord) -> None:
        if key not in self._reported:
            self._reported.add(key)
            _log.error("%s; it is left out of lists", error)
