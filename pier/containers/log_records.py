"""Log files' bytes as records, and records as `docker logs` shows them. Pure.

The formats are pier.runtime.log_format's; the shape of the answer is surface.md k.1. A record's
moment is shown as text of fixed width, "2006-01-02T15:04:05.000000000Z", and texts of fixed width
compare as the moments do; it is only brought into that form where somebody looks at it.
"""

import contextlib
import io
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote_plus

import msgspec

from pier.containers.requests import LogChunk, LogQuery
from pier.runtime.log_format import (
    HEADER_BYTES,
    LINE_LIMIT,
    LONGEST_BYTES,
    TRAILER_BYTES,
    DamagedBlock,
    decode_blocks,
)

JSON_FILE = "json-file"
LOCAL = "local"
_CHUNK_BYTES = 64 * 1024
_SECOND_NS = 1_000_000_000


class Record(NamedTuple):
    """Lines of one stream with one moment (RFC 3339, UTC); only the last may lack its end."""

    stream: str
    moment: str
    data: bytes
    attributes: Mapping[str, str]


class Decoded(NamedTuple):
    records: list[Record]
    rest: bytes
    """What was not a whole record yet."""


class _Line(msgspec.Struct):
    log: str = ""
    stream: str = "stdout"
    time: str = ""
    attrs: dict[str, str] | None = None


_decoder = msgspec.json.Decoder(_Line)


def decode(driver: str, data: bytes) -> Decoded:
    """All whole records at the start of `data`. Lines that are damaged are left out."""
    return _decode_lines(data) if driver == JSON_FILE else _decode_blocks(data)


def _decode_lines(data: bytes) -> Decoded:
    end = data.rfind(b"\n") + 1
    whole, rest = data[:end], data[end:]
    try:
        lines = _decoder.decode_lines(whole)
    except (msgspec.DecodeError, UnicodeDecodeError):
        lines = list(_valid_lines(whole))
    return Decoded([_from_line(line) for line in lines], rest[:LONGEST_BYTES])


def _valid_lines(data: bytes) -> Iterator[_Line]:
    """One at a time: a machine that crashed leaves zeros and halves behind, others any bytes."""
    for line in data.split(b"\n"):
        with contextlib.suppress(msgspec.DecodeError):
            yield _decoder.decode(line.decode(errors="replace"))


def _from_line(line: _Line) -> Record:
    return Record(line.stream, line.time, line.log.encode(errors="replace"), line.attrs or {})


def _decode_blocks(data: bytes) -> Decoded:
    records, used = [], 0
    try:
        for block in decode_blocks(data):
            records.append(Record(block.stream, moment(block.time_ns), block.data, {}))
            used += HEADER_BYTES + len(block.data) + TRAILER_BYTES
    except DamagedBlock:
        used = len(data)  # nothing more can be read
    return Decoded(records, data[used:])


def moment(time_ns: int) -> str:
    seconds, fraction = divmod(time_ns, _SECOND_NS)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:09d}Z"


def full_width(text: str) -> str:
    """RFC 3339 in UTC with nine digits of a second's fraction."""
    head, _, fraction = text.removesuffix("Z").partition(".")
    return f"{head}.{fraction:0<9.9}Z"


def count_lines(record: Record) -> int:
    return record.data.count(b"\n") + (not record.data.endswith(b"\n"))


def without_lines(record: Record, count: int) -> Record:
    """All but the first `count` lines."""
    return record._replace(data=b"".join(split_lines(record.data)[count:]))


def split_lines(data: bytes) -> list[bytes]:
    """Each with its newline; bytes.splitlines takes a progress bar's returns for ends, too."""
    return io.BytesIO(data).readlines()


class Filter:
    """Chooses and shows records for one query."""

    def __init__(self, query: LogQuery) -> None:
        self._streams = {
            name for name, wanted in (("stdout", query.stdout), ("stderr", query.stderr)) if wanted
        }
        self._since = moment(query.since_ns) if query.since_ns > 0 else ""
        self._until = moment(query.until_ns) if query.until_ns > 0 else ""
        self._timestamps = query.timestamps
        self._details = query.details
        self.ended = False
        """A record later than `until` was seen."""

    def chunks(self, records: Iterable[Record]) -> list[LogChunk]:
        """Neighbours of one stream come together, as far as they are not too long."""
        chunks: list[LogChunk] = []
        stream, size = "", 0
        lines: list[bytes] = []
        for record in self._chosen(records):
            if lines and (record.stream != stream or size >= _CHUNK_BYTES):
                chunks.append(LogChunk(stream, lines))
                lines, size = [], 0
            stream = record.stream
            lines += self._shown(record)
            size += len(record.data)
        if lines:
            chunks.append(LogChunk(stream, lines))
        return chunks

    def missed(self, size_bytes: int) -> LogChunk:
        """What a reader is told who was slower than the rotation of the files."""
        text = f"pier: {size_bytes} bytes of this log were rotated away before they were read\n"
        return LogChunk("stderr" if "stderr" in self._streams else "stdout", [text.encode()])

    def _chosen(self, records: Iterable[Record]) -> Iterator[Record]:
        timed = self._since or self._until
        for record in records:
            when = full_width(record.moment) if timed else ""
            if self._until and when > self._until:
                self.ended = True
                return
            if record.stream in self._streams and when >= self._since:
                yield record

    def _shown(self, record: Record) -> Iterable[bytes]:
        """`[moment ][details ]line`, for every line of the record; of long lines the pieces."""
        lines = split_lines(record.data)
        if len(record.data) > LINE_LIMIT:
            lines = [piece for line in lines for piece in _pieces(line)]
        if not (self._timestamps or self._details):
            return lines
        prefix = f"{full_width(record.moment)} ".encode() if self._timestamps else b""
        if self._details:
            prefix += format_details(record.attributes).encode() + b" "
        return [prefix + line for line in lines]


def _pieces(line: bytes) -> Iterator[bytes]:
    """As Docker's reader has them: it takes a line in parts."""
    while len(line) > LINE_LIMIT + 1:
        yield line[:LINE_LIMIT]
        line = line[LINE_LIMIT:]
    yield line


def format_details(attributes: Mapping[str, str]) -> str:
    pairs = sorted(attributes.items())
    return ",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in pairs)
