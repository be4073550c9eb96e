"""A tar stream as entries with their data, in bounded memory, whatever the stream says.

Lean on purpose: a layer of small files is limited by this loop. Reads any ustar, PAX or GNU
archive, sparse files in all four forms. Global PAX headers are skipped, as Docker does.
"""

from collections.abc import Iterable, Iterator, Mapping

from pier.archive.entry import (
    DIRECTORY,
    HARD_LINK,
    REGULAR,
    Entry,
    InvalidArchive,
    UnexpectedEnd,
    show,
)
from pier.archive.header import (
    BLOCK_SIZE,
    GNU_LONG_LINK,
    GNU_LONG_NAME,
    GNU_SPARSE,
    MAX_SIZE,
    PAX,
    PAX_GLOBAL,
    ZERO_BLOCK,
    apply_records,
    padding,
    parse_extents,
    parse_header,
    parse_number,
    parse_records,
)

MAX_HEADER = 1024 * 1024
"""Bytes that PAX records and long names of one entry, or a sparse map may have."""
_VOLUME_LABEL = b"V"
_DUMP_DIRECTORY = b"D"
_CONTIGUOUS = b"7"
_MAX_METADATA_BLOCKS = 16
"""Headers about one entry that may follow one another."""
_OLD_MAP = 386
_OLD_MAP_REAL_SIZE = 483


class _Source:
    """Chunks of any length as exact reads."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._chunk = memoryview(b"")
        self._position = 0

    def _next(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._chunk = memoryview(chunk)
                self._position = 0
                return True
        return False

    def block(self) -> bytes | None:
        """The next header block; None at the end of the stream."""
        end = self._position + BLOCK_SIZE
        if end <= len(self._chunk):
            block = self._chunk[self._position : end].tobytes()
            self._position = end
            return block
        if self._position == len(self._chunk) and not self._next():
            return None
        return self.read(BLOCK_SIZE)

    def read(self, size: int) -> bytes:
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes, in pieces as they came."""
        while size:
            if self._position == len(self._chunk) and not self._next():
                raise UnexpectedEnd
            end = min(self._position + size, len(self._chunk))
            piece = self._chunk[self._position : end]
            self._position = end
            size -= len(piece)
            yield piece

    def skip(self, size: int) -> None:
        end = self._position + size
        if end <= len(self._chunk):
            self._position = end
            return
        for _ in self.pieces(size):
            pass

    def drain(self) -> None:
        """Read to the end: what follows the archive belongs to its digest."""
        while self._next():
            pass
        self._position = len(self._chunk)


class TarReader:
    """Iterate for the entries; between two of them, `pieces` gives the data of the first.

    At the end of the archive the rest of the stream has been read.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._source = _Source(chunks)
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._next()) is not None:
            yield entry
        self._source.drain()

    def pieces(self) -> Iterator[memoryview]:
        """What is left of the present entry's stored data. A piece is valid until the next."""
        left, self._left = self._left, 0
        return self._source.pieces(left)

    def read(self, limit: int) -> bytes:
        """The present entry's data, whole; raises InvalidArchive if it is longer than `limit`."""
        if self._left > limit:
            raise InvalidArchive(f"archive member of {self._left} bytes exceeds {limit}")
        return b"".join(self.pieces())

    def _skip_rest(self) -> None:
        self._source.skip(self._left + self._padding)
        self._left = self._padding = 0

    def _begin(self, stored: int) -> None:
        self._left = stored
        self._padding = padding(stored)

    def _block(self) -> bytes | None:
        """The next header block, or None after the last entry."""
        self._skip_rest()
        block = self._source.block()
        if block != ZERO_BLOCK:
            return block
        second = self._source.block()
        if second is not None and second != ZERO_BLOCK:
            raise InvalidArchive("invalid tar header")
        return None

    def _next(self) -> Entry | None:
        """The next entry with all that the headers before it say about it."""
        records: list[tuple[bytes, bytes]] = []
        room = MAX_HEADER
        for _ in range(_MAX_METADATA_BLOCKS):
            block = self._block()
            if block is None:
                if records:
                    raise UnexpectedEnd
                return None
            entry = parse_header(block)
            self._begin(entry.stored)
            if entry.kind == PAX:
                records += parse_records(self.read(room))
            elif entry.kind == GNU_LONG_NAME:
                records.append((b"path", self.read(room).partition(b"\0")[0]))
            elif entry.kind == GNU_LONG_LINK:
                records.append((b"linkpath", self.read(room).partition(b"\0")[0]))
            elif entry.kind not in (PAX_GLOBAL, _VOLUME_LABEL):
                return self._complete(entry, block, records)
            else:
                continue
            room -= entry.stored
        raise InvalidArchive("invalid tar archive: too many headers about one entry")

    def _complete(self, entry: Entry, block: bytes, records: list[tuple[bytes, bytes]]) -> Entry:
        sparse = apply_records(entry, records) if records else {}
        if entry.kind == _DUMP_DIRECTORY:
            entry.kind = DIRECTORY
            self._skip_rest()
        if HARD_LINK <= entry.kind < _CONTIGUOUS:
            entry.size = entry.stored = 0
        elif entry.kind not in (REGULAR, GNU_SPARSE):
            raise InvalidArchive(f"invalid tar archive: unhandled type {show(entry.kind)!r}")
        self._begin(entry.stored)
        if entry.kind == GNU_SPARSE:
            self._old_map(entry, block)
        elif sparse:
            self._pax_map(entry, sparse)
        return entry

    def _old_map(self, entry: Entry, block: bytes) -> None:
        """GNU's old form: four extents in the header, 21 in each block after it."""
        entry.kind = REGULAR
        entry.size = parse_number(block[_OLD_MAP_REAL_SIZE : _OLD_MAP_REAL_SIZE + 12])
        numbers = _old_numbers(block[_OLD_MAP : _OLD_MAP + 96])
        extended = block[482] != 0
        for _ in range(MAX_HEADER // BLOCK_SIZE):
            if not extended:
                break
            more = self._source.read(BLOCK_SIZE)
            numbers += _old_numbers(more[:504])
            extended = more[504] != 0
        self._set_extents(entry, numbers)

    def _pax_map(self, entry: Entry, sparse: Mapping[bytes, bytes]) -> None:
        """GNU's forms 0.0 and 0.1 have the map in the records, 1.0 before the data."""
        entry.name = sparse.get(b"name", entry.name)
        entry.size = _number(sparse.get(b"realsize") or sparse.get(b"size") or b"0")
        if b"major" in sparse:
            self._set_extents(entry, self._leading_map(entry))
        elif b"map" in sparse:
            self._set_extents(entry, [_number(text) for text in sparse[b"map"].split(b",")])
        elif b"offset" in sparse:
            offsets = sparse[b"offset"].split(b",")
            lengths = sparse.get(b"numbytes", b"").split(b",")
            if len(offsets) != len(lengths):
                raise InvalidArchive("invalid tar archive: bad map of a sparse file")
            pairs = zip(offsets, lengths, strict=True)
            self._set_extents(entry, [_number(text) for pair in pairs for text in pair])

    def _leading_map(self, entry: Entry) -> list[int]:
        """Decimal lines, padded to a block: how many extents, then each one's two numbers."""
        lines: list[bytes] = []
        rest = b""
        wanted = 1
        read = 0
        while len(lines) < wanted:
            if self._left < BLOCK_SIZE or read >= MAX_HEADER:
                raise InvalidArchive("invalid tar archive: bad map of a sparse file")
            *complete, rest = (rest + self._source.read(BLOCK_SIZE)).split(b"\n")
            lines += complete
            if len(rest) > BLOCK_SIZE:
                raise InvalidArchive("invalid tar archive: bad map of a sparse file")
            read += BLOCK_SIZE
            self._left -= BLOCK_SIZE
            entry.stored -= BLOCK_SIZE
            if lines:
                wanted = 1 + 2 * _number(lines[0])
        return [_number(text) for text in lines[1:wanted]]

    def _set_extents(self, entry: Entry, numbers: list[int]) -> None:
        if len(numbers) % 2 or not 0 <= entry.size <= MAX_SIZE:
            raise InvalidArchive("invalid tar archive: bad map of a sparse file")
        entry.extents = parse_extents(numbers, entry.size)
        if sum(extent.length for extent in entry.extents) != entry.stored:
            raise InvalidArchive("invalid tar archive: a sparse file's data and map disagree")


def _old_numbers(data: bytes) -> list[int]:
    """Pairs of twelve-byte numbers up to the first empty one."""
    numbers: list[int] = []
    for start in range(0, len(data), 24):
        if data[start] == 0:
            break
        numbers.append(parse_number(data[start : start + 12]))
        numbers.append(parse_number(data[start + 12 : start + 24]))
    return numbers


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19:
        raise InvalidArchive("invalid tar archive: bad map of a sparse file")
    return int(text)
