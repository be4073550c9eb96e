r"""Output as log records, a whole chunk at a time: the throughput of a container's log. Pure.

A container that writes as fast as it can is limited by this module, so no Python code runs per
line: a chunk is escaped as a whole and cut into records by `bytes.replace`. All records of a
chunk have its time.

json-file, as Docker's readers know it (surface k.1), one record a line:
    {"log":"text\n","stream":"stdout","time":"2006-01-02T15:04:05.999999999Z"}
    with "attrs":{..} before "time" where the container has them. A line longer than 16 KiB comes
    as several records; all but the last lack the \n inside. Invalid UTF-8 becomes U+FFFD.

local, denser, our own: blocks, little endian, readable in both directions:
    u32 length | u64 time, ns since epoch | u8 stream (1 stdout, 2 stderr) | u8 flags | u16 0 |
    `length` bytes as they were written | u32 length
    A block holds whole lines; flag 1 (PARTIAL): its last line goes on in the next block of the
    same stream, or was never ended.
"""

import json
import struct
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

STDOUT = "stdout"
STDERR = "stderr"
LINE_LIMIT = 16 * 1024
PARTIAL = 1

_HEAD = b'{"log":"'
_ESCAPED = bytes(range(32)).replace(b"\n", b"") + b'"\\'
_PLAIN = bytes(set(range(256)) - set(_ESCAPED))
_SHORT = {9: b"\\t", 13: b"\\r", 8: b"\\b", 12: b"\\f", 34: b'\\"', 92: b"\\\\"}
_BLOCK = struct.Struct("<IQBBH")
_LENGTH = struct.Struct("<I")
_NUMBERS = {STDOUT: 1, STDERR: 2}
_NAMES = {number: name for name, number in _NUMBERS.items()}


class Encoder(Protocol):
    """Keeps the unfinished last line of each stream until more comes, or `finish`.

    `count` says how many lines there are in records it made.
    """

    def encode(self, stream: str, data: bytes, now_ns: int) -> bytes: ...
    def finish(self, stream: str, now_ns: int) -> bytes: ...
    def count(self, records: bytes) -> int: ...


class JsonLines:
    """The json-file format. attributes: constant for the container."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self._attributes = b""
        if attributes:
            text = json.dumps(dict(attributes), ensure_ascii=False, separators=(",", ":"))
            self._attributes = b',"attrs":' + text.encode()
        self._tails: dict[str, bytes] = {}
        self._clock = Clock()

    def encode(self, stream: str, data: bytes, now_ns: int) -> bytes:
        text = self._tails.get(stream, b"") + data
        end = self._end(stream, now_ns)
        cut = text.rfind(b"\n") + 1
        whole, rest = text[:cut], text[cut:]
        records = _records(whole, end)
        while len(rest) > LINE_LIMIT:
            piece, rest = _split_long(rest)
            records += _HEAD + escape(piece) + end
        self._tails[stream] = rest
        return records

    def finish(self, stream: str, now_ns: int) -> bytes:
        rest = self._tails.pop(stream, b"")
        return _HEAD + escape(rest) + self._end(stream, now_ns) if rest else b""

    def count(self, records: bytes) -> int:
        return records.count(b"\n")

    def _end(self, stream: str, now_ns: int) -> bytes:
        moment = self._clock.format(now_ns)
        return b'","stream":"%b"%b,"time":"%b"}\n' % (stream.encode(), self._attributes, moment)


class Blocks:
    """The local format."""

    def __init__(self) -> None:
        self._tails: dict[str, bytes] = {}

    def encode(self, stream: str, data: bytes, now_ns: int) -> bytes:
        text = self._tails.get(stream, b"") + data
        cut = text.rfind(b"\n") + 1
        rest = text[cut:]
        block = _block(stream, text[:cut], now_ns, 0)
        if len(rest) > LINE_LIMIT:
            block += _block(stream, rest, now_ns, PARTIAL)
            rest = b""
        self._tails[stream] = rest
        return block

    def finish(self, stream: str, now_ns: int) -> bytes:
        return _block(stream, self._tails.pop(stream, b""), now_ns, PARTIAL)

    def count(self, records: bytes) -> int:
        return sum(block.data.count(b"\n") + block.partial for block in decode_blocks(records))


class Clock:
    """RFC3339Nano as Go writes it: trailing zeros of the fraction are left out."""

    def __init__(self) -> None:
        self._second = -1
        self._text = b""

    def format(self, now_ns: int) -> bytes:
        second, fraction = divmod(now_ns, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        if not fraction:
            return self._text + b"Z"
        return b"%b.%bZ" % (self._text, (b"%09d" % fraction).rstrip(b"0"))


class Block(NamedTuple):
    stream: str
    time_ns: int
    partial: bool
    data: bytes


HEADER_BYTES = _BLOCK.size
TRAILER_BYTES = _LENGTH.size
LONGEST_BYTES = 16 << 20
"""No record is longer: what claims to be is damaged."""


class DamagedBlock(ValueError):
    """Where the next one begins is not known."""


def block_bytes(header: bytes) -> int:
    """How long the block is that begins so; 0 if none does."""
    if len(header) < HEADER_BYTES:
        return 0
    length, _, number, _, _ = _BLOCK.unpack(header)
    return HEADER_BYTES + int(length) + TRAILER_BYTES if number in _NAMES else 0


def decode_blocks(data: bytes) -> Iterator[Block]:
    """The whole blocks at the start of `data`; an unfinished last one is left out.

    A block takes HEADER_BYTES + len(block.data) + TRAILER_BYTES. Raises DamagedBlock.
    """
    position = 0
    while position + HEADER_BYTES <= len(data):
        length, time_ns, number, flags, _ = _BLOCK.unpack_from(data, position)
        if length > LONGEST_BYTES or number not in _NAMES:
            raise DamagedBlock
        start = position + HEADER_BYTES
        position = start + length + TRAILER_BYTES
        if position > len(data):
            return
        text = data[start : start + length]
        yield Block(_NAMES[number], time_ns, bool(flags & PARTIAL), text)


def escape(data: bytes) -> bytes:
    r"""The inside of a JSON string, except that \n stays: it marks where records end."""
    data = _valid(data)
    special = data.translate(None, _PLAIN)
    if not special:
        return data
    # The backslash first: the other replacements write some.
    for byte in sorted(set(special), key=lambda byte: byte != 92):
        data = data.replace(bytes((byte,)), _SHORT.get(byte) or b"\\u%04x" % byte)
    return data


def _valid(data: bytes) -> bytes:
    if data.isascii():
        return data
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode(errors="replace").encode()
    return data


def _records(whole: bytes, end: bytes) -> bytes:
    """Records for lines that are all ended. Those without a long line go in one piece."""
    records = b""
    start = 0
    while start < len(whole):
        stop = _reach(whole, start)
        if stop > start:
            text = escape(whole[start:stop]).replace(b"\n", b"\\n" + end + _HEAD)
            records += _HEAD + text[: -len(_HEAD)]
            start = stop
            continue
        piece, _ = _split_long(whole[start : start + LINE_LIMIT + 4])
        records += _HEAD + escape(piece) + end
        start += len(piece)
    return records


def _reach(whole: bytes, start: int) -> int:
    """How far lines of at most LINE_LIMIT go on from `start`, in steps of many lines."""
    while start < len(whole):
        found = whole.rfind(b"\n", start, start + LINE_LIMIT + 1)
        if found < 0:
            return start
        start = found + 1
    return start


def _split_long(text: bytes) -> tuple[bytes, bytes]:
    """Cut after LINE_LIMIT bytes, or a little before: not inside a UTF-8 sequence."""
    cut = LINE_LIMIT
    while cut > LINE_LIMIT - 4 and text[cut] & 0xC0 == 0x80:
        cut -= 1
    if text[cut] & 0xC0 == 0x80:
        cut = LINE_LIMIT
    return text[:cut], text[cut:]


def _block(stream: str, data: bytes, now_ns: int, flags: int) -> bytes:
    if not data:
        return b""
    header = _BLOCK.pack(len(data), now_ns, _NUMBERS[stream], flags, 0)
    return header + data + _LENGTH.pack(len(data))
