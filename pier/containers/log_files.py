"""The files of one container's log: which there are, where the last lines begin, what follows.

    <path>              being written
    <path>.1 .2 ...     rotated, the newest first; .gz where compressed

Files are opened newest first and known by their inode, so a rotation meanwhile loses nothing and
shows nothing twice. What comes after a file that was read to its end is known by where in the log
it begins (`runtime.log_file.read_begin`), for the one that was read may be rotated away by then,
and some that were not. Everything here blocks; the caller uses a thread.
"""

import contextlib
import itertools
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pier.containers.log_records import JSON_FILE, Record, count_lines, decode, without_lines
from pier.runtime.log_file import read_begin
from pier.runtime.log_format import HEADER_BYTES, TRAILER_BYTES

READ_BYTES = 64 * 1024
"""Held for each reader that stalls; as records of short lines it is a multiple."""
_BACKWARDS_BYTES = 64 * 1024
_GZIP = 31
"""zlib's wbits for a gzip member."""


class FileKey(NamedTuple):
    device: int
    inode: int


class LogFile:
    """One file, open, read forwards from where it stands."""

    def __init__(self, fd: int, driver: str, *, compressed: bool, bounded: bool) -> None:
        found = os.fstat(fd)
        self._limit = found.st_size if bounded else None
        self.key = FileKey(found.st_dev, found.st_ino)
        self._inflated = 0
        self._fd = fd
        self._driver = driver
        self._rest = b""
        self._inflate = zlib.decompressobj(_GZIP) if compressed else None
        self.skip_lines = 0
        """Lines at the start of what is read next that nobody asked for."""

    def close(self) -> None:
        os.close(self._fd)

    @property
    def begin(self) -> int | None:
        """Where in the whole log it begins. None: not known, or not yet as it is empty."""
        return read_begin(self._fd)

    @property
    def end(self) -> int | None:
        """Where in the whole log what was read of it ends."""
        begin, packed = self.begin, self._inflate is not None
        if begin is None:
            return None
        return begin + (self._inflated if packed else os.lseek(self._fd, 0, os.SEEK_CUR))

    def read(self) -> list[Record] | None:
        """The next records; None at the end, for now. A damaged gzip file just ends."""
        wanted = READ_BYTES
        if self._limit is not None:
            wanted = min(wanted, self._limit - os.lseek(self._fd, 0, os.SEEK_CUR))
        data = os.read(self._fd, max(0, wanted))
        if not data:
            return None
        if self._inflate is not None:
            try:
                data = self._inflate.decompress(data)
            except zlib.error:
                return None
            self._inflated += len(data)
        decoded = decode(self._driver, self._rest + data)
        self._rest = decoded.rest
        return list(self._wanted(decoded.records))

    def _wanted(self, records: list[Record]) -> Iterator[Record]:
        for record in records:
            if not self.skip_lines:
                yield record
                continue
            lines = count_lines(record)
            if lines > self.skip_lines:
                yield without_lines(record, self.skip_lines)
            self.skip_lines -= min(lines, self.skip_lines)

    def seek_to_last(self, lines: int) -> int:
        """Stand before the last `lines` lines; return how many there are, at most `lines`."""
        if self._inflate is not None:
            return self._seek_by_reading(lines)
        if self._driver == JSON_FILE:
            return self._seek_backwards(lines)
        found = self._seek_by_blocks(lines)
        return self._seek_by_reading(lines) if found is None else found

    def _seek_backwards(self, lines: int) -> int:
        """A record of json-file is a line of the file: only its last part needs to be read."""
        end = os.lseek(self._fd, 0, os.SEEK_END)
        position, found = end, 0
        while position > 0:
            start = max(0, position - _BACKWARDS_BYTES)
            data = os.pread(self._fd, position - start, start)
            newlines = data.count(b"\n")
            # The newline that ends the line before the first wanted one is the one to find.
            if found + newlines > lines:
                offset = len(data)
                for _ in range(lines - found + 1):
                    offset = data.rfind(b"\n", 0, offset)
                os.lseek(self._fd, start + offset + 1, os.SEEK_SET)
                return lines
            found += newlines
            position = start
        os.lseek(self._fd, 0, os.SEEK_SET)
        return found

    def _seek_by_blocks(self, lines: int) -> int | None:
        """Blocks tell their length at their end too. None: damaged, or being written just now."""
        position, found = os.lseek(self._fd, 0, os.SEEK_END), 0
        while position > 0 and found < lines:
            length = int.from_bytes(
                os.pread(self._fd, TRAILER_BYTES, position - TRAILER_BYTES), "little"
            )
            start = position - TRAILER_BYTES - length - HEADER_BYTES
            if start < 0:
                return None
            block = decode(self._driver, os.pread(self._fd, position - start, start)).records
            if len(block) != 1:
                return None
            found += count_lines(block[0])
            position = start
        os.lseek(self._fd, position, os.SEEK_SET)
        self.skip_lines = max(0, found - lines)
        return min(found, lines)

    def _seek_by_reading(self, lines: int) -> int:
        total = 0
        while (records := self.read()) is not None:
            total += sum(count_lines(record) for record in records)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._rest = b""
        if self._inflate is not None:
            self._inflate = zlib.decompressobj(_GZIP)
            self._inflated = 0
        self.skip_lines = max(0, total - lines)
        return min(total, lines)


class LogFiles:
    """A log from its oldest file to whatever is written while it is read.

    bounded: only what is there when it is opened; a container that never stops writing would
    otherwise never be read to the end.
    """

    def __init__(
        self, path: Path, driver: str, tail: int | None = None, *, bounded: bool = False
    ) -> None:
        self._path = path
        self._bounded = bounded
        self._driver = driver
        self._files = self._open_all()
        self._left_at: int | None = None
        """Where in the log the file before ended."""
        self.missed_bytes = 0
        """Of the log that were rotated away unread; the caller sets it back."""
        if tail is not None:
            self._keep_last(tail)

    def close(self) -> None:
        for file in self._files:
            file.close()
        self._files = []

    def read(self) -> list[Record] | None:
        """The next records; None once everything there is now was read.

        Go on reading after that: what was written or rotated since then follows.
        """
        while True:
            if self._files:
                records = self._files[0].read()
                if records is not None:
                    self._compare(self._files[0])
                    return records
            if not self._next_file():
                return None

    def _next_file(self) -> bool:
        """Leave a file that was read to its end, unless it is the last and still being written."""
        if len(self._files) < 2:
            if self._bounded:
                return False
            newer = self._newer_than(self._files[0] if self._files else None)
            # The file before is read once more: more may have come between our last reading of
            # it and the rotation.
            self._files += newer
            return bool(newer)
        left = self._files.pop(0)
        self._left_at = left.end
        left.close()
        return True

    def _compare(self, file: LogFile) -> None:
        """Whether `file`, of which something was read, follows on the one before."""
        left_at, self._left_at = self._left_at, None
        if left_at is not None and file.begin is not None:
            self.missed_bytes += max(0, file.begin - left_at)

    def _newer_than(self, known: LogFile | None) -> list[LogFile]:
        """What was begun after `known`, oldest first; of a log that had no file, the newest."""
        files = self._open_all()
        first = _place_after(known, files) if known else len(files) - 1
        for file in files[: max(0, first)]:
            file.close()
        return files[max(0, first) :]

    def _open_all(self) -> list[LogFile]:
        files: list[LogFile] = []
        seen: set[FileKey] = set()
        missing = 0
        for forms in _candidates(self._path):
            file = self._open(forms)
            if file is None:
                missing += 1
                if missing > 1:  # one alone may be on its way to the next number
                    break
                continue
            missing = 0
            if file.key in seen:
                file.close()
                continue
            seen.add(file.key)
            files.append(file)
        return files[::-1]

    def _open(self, forms: tuple[Path, ...]) -> LogFile | None:
        """The first of the forms that is there."""
        for path in forms:
            with contextlib.suppress(FileNotFoundError):
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                packed = path.suffix == ".gz"
                return LogFile(fd, self._driver, compressed=packed, bounded=self._bounded)
        return None

    def _keep_last(self, lines: int) -> None:
        """Go back from the newest file until there are enough lines; forget the older ones."""
        first = len(self._files)
        while first > 0 and lines > 0:
            first -= 1
            lines -= self._files[first].seek_to_last(lines)
        if lines == 0 and first == len(self._files) and self._files:
            first -= 1
            self._files[first].seek_to_last(0)
        for file in self._files[:first]:
            file.close()
        self._files = self._files[first:]


def _place_after(known: LogFile, files: list[LogFile]) -> int:
    """Which of `files`, oldest first, is the first that was begun after `known`.

    Where that is gone, or compressed, and where they begin is not known, only the file being
    written is certain to be newer. It may be missing, in the middle of a rotation: then what was
    read last is the newest of them, and none is newer.
    """
    for place, file in enumerate(files):
        if file.key == known.key:
            return place + 1
    begin = known.begin
    for place, file in enumerate(files):
        if begin is not None and file.begin is not None and file.begin > begin:
            return place
    written_now = not files or begin is None or files[-1].begin is None
    return len(files) - 1 if written_now else len(files)


def _candidates(path: Path) -> Iterator[tuple[Path, ...]]:
    """Newest first, without end. A number may exist in both forms for a moment.

    Plain is the whole one; it goes once the packed one is there, so who misses it finds that.
    """
    yield (path,)
    for number in itertools.count(1):
        plain = path.with_name(f"{path.name}.{number}")
        yield plain, plain.with_name(f"{plain.name}.gz")
