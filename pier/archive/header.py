"""Tar headers as bytes, read and written. Pure.

POSIX pax (IEEE 1003.1, "pax Interchange Format"), with GNU's base-256 numbers, long names and
sparse files, and SCHILY.xattr records for extended attributes. uname and gname are ignored:
a layer's owners are numeric.
"""

import struct
from collections.abc import Mapping
from os import major, makedev, minor

from pier.archive.entry import (
    CHARACTER,
    DIRECTORY,
    REGULAR,
    Entry,
    Extent,
    InvalidArchive,
)

BLOCK_SIZE = 512
ZERO_BLOCK = bytes(BLOCK_SIZE)
END = bytes(2 * BLOCK_SIZE)

PAX = b"x"
PAX_GLOBAL = b"g"
GNU_LONG_NAME = b"L"
GNU_LONG_LINK = b"K"
GNU_SPARSE = b"S"

XATTR = b"SCHILY.xattr."
_MAX_ID = 2**32 - 2
MAX_SIZE = 2**63 - 1
_MAX_OCTAL_ID = 0o7777777
_MAX_OCTAL_SIZE = 0o77777777777
_NAME = 100
_SECOND_NS = 1_000_000_000

_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12s")
_SUM_AT = 148
_OLD_REGULAR = (b"\0", b"7")


def padding(size: int) -> int:
    """Zeros between `size` bytes of data and the next header."""
    return -size % BLOCK_SIZE


def parse_number(field: bytes) -> int:
    """Octal text, or base 256 with the top bit set (GNU)."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False)
        bits = len(field) * 8
        value &= (1 << (bits - 1)) - 1
        return value - (1 << (bits - 1)) if field[0] & 0x40 else value
    text = field.partition(b"\0")[0].strip()
    if not text:
        return 0
    try:
        return int(text, 8)
    except ValueError:
        raise InvalidArchive("invalid tar archive: bad number in a header") from None


def check_sum(block: bytes) -> None:
    """Raise InvalidArchive unless the checksum is right (unsigned, or signed as of old)."""
    stated = parse_number(block[_SUM_AT : _SUM_AT + 8])
    total = sum(block) - sum(block[_SUM_AT : _SUM_AT + 8]) + 8 * 0x20
    if stated == total:
        return
    high = sum(1 for byte in block[:_SUM_AT] + block[_SUM_AT + 8 :] if byte > 127)
    if stated != total - 256 * high:
        raise InvalidArchive("invalid tar header")


def parse_header(block: bytes) -> Entry:
    """One header block on its own, without what PAX records before it said."""
    check_sum(block)
    (
        name,
        mode,
        uid,
        gid,
        size,
        mtime,
        _,
        kind,
        link,
        magic,
        _,
        _,
        _,
        major_,
        minor_,
        prefix,
        _,
    ) = _HEADER.unpack(block)
    name = name.partition(b"\0")[0]
    if magic == b"ustar\0" and prefix[0]:
        name = prefix.partition(b"\0")[0] + b"/" + name
    if kind in _OLD_REGULAR:
        kind = DIRECTORY if name.endswith(b"/") else REGULAR
    length = parse_number(size)
    if not 0 <= length <= MAX_SIZE:
        raise InvalidArchive("invalid tar archive: negative size")
    entry = Entry(
        kind,
        name,
        parse_number(mode) & 0o7777,
        checked_id(parse_number(uid)),
        checked_id(parse_number(gid)),
        length,
        parse_number(mtime) * _SECOND_NS,
        link.partition(b"\0")[0],
    )
    entry.stored = length
    if CHARACTER <= kind < DIRECTORY:
        entry.device = _device(parse_number(major_), parse_number(minor_))
    return entry


def _device(major_: int, minor_: int) -> int:
    if not (0 <= major_ < 2**12 and 0 <= minor_ < 2**20):
        raise InvalidArchive("invalid tar archive: bad device number")
    return makedev(major_, minor_)


def checked_id(number: int) -> int:
    """A user or group ID that chown(2) can take; -1 would mean "leave it"."""
    if not 0 <= number <= _MAX_ID:
        raise InvalidArchive(f"invalid tar archive: bad user or group ID {number}")
    return number


def parse_records(data: bytes) -> list[tuple[bytes, bytes]]:
    """PAX records, in order: `length key=value` and a newline, the length counting itself."""
    records = []
    position = 0
    while position < len(data) and data[position] != 0:
        space = data.find(b" ", position, position + 20)
        length = _decimal(data[position:space]) if space > 0 else 0
        end = position + length
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if length < 5 or end > len(data) or data[end - 1 : end] != b"\n" or not equals or not key:
            raise InvalidArchive("invalid tar archive: bad PAX record")
        records.append((key, value))
        position = end
    return records


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise InvalidArchive("invalid tar archive: bad number in a PAX record")
    return int(text)


def parse_pax_time(text: bytes) -> int:
    """Nanoseconds of "seconds[.fraction]", perhaps negative."""
    sign = -1 if text.startswith(b"-") else 1
    seconds, _, fraction = text.lstrip(b"-").partition(b".")
    return sign * (
        _decimal(seconds or b"0") * _SECOND_NS + _decimal(fraction[:9].ljust(9, b"0") or b"0")
    )


def apply_records(entry: Entry, records: list[tuple[bytes, bytes]]) -> Mapping[bytes, bytes]:
    """Change `entry` as the PAX records before it say; return those about sparse files."""
    sparse: dict[bytes, list[bytes]] = {}
    xattrs: dict[bytes, bytes] = {}
    for key, value in records:
        match key:
            case b"path":
                entry.name = value
            case b"linkpath":
                entry.link = value
            case b"size":
                entry.size = entry.stored = min(_decimal(value), MAX_SIZE)
            case b"uid":
                entry.uid = checked_id(_decimal(value))
            case b"gid":
                entry.gid = checked_id(_decimal(value))
            case b"mtime":
                entry.mtime_ns = parse_pax_time(value)
            case _ if key.startswith(XATTR):
                xattrs[key[len(XATTR) :]] = value
            case _ if key.startswith(b"GNU.sparse."):
                # 0.0 repeats offset and numbytes for each extent.
                sparse.setdefault(key[len(b"GNU.sparse.") :], []).append(value)
    entry.xattrs = xattrs
    return {name: b",".join(values) for name, values in sparse.items()}


def parse_extents(numbers: list[int], size: int) -> list[Extent]:
    """Pairs of offset and length, ascending and inside the file."""
    extents = [Extent(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]
    end = 0
    for extent in extents:
        if extent.offset < end or extent.length < 0 or extent.offset + extent.length > size:
            raise InvalidArchive("invalid tar archive: bad map of a sparse file")
        end = extent.offset + extent.length
    return extents


def format_entry(entry: Entry) -> bytes:
    """The header blocks of `entry`: PAX records first, if ustar cannot say it all."""
    records = _records(entry)
    block = _ustar(entry)
    if not records:
        return block
    data = b"".join(_record(key, value) for key, value in sorted(records.items()))
    pax = Entry(PAX, b"PaxHeaders/" + entry.name[-64:].lstrip(b"/"), size=len(data))
    pax.stored = len(data)
    return _ustar(pax) + data + bytes(padding(len(data))) + block


def _records(entry: Entry) -> dict[bytes, bytes]:
    records = {XATTR + name: value for name, value in entry.xattrs.items()}
    if len(entry.name) > _NAME or not entry.name.isascii():
        records[b"path"] = entry.name
    if len(entry.link) > _NAME or not entry.link.isascii():
        records[b"linkpath"] = entry.link
    if entry.stored > _MAX_OCTAL_SIZE:
        records[b"size"] = b"%d" % entry.stored
    if entry.uid > _MAX_OCTAL_ID:
        records[b"uid"] = b"%d" % entry.uid
    if entry.gid > _MAX_OCTAL_ID:
        records[b"gid"] = b"%d" % entry.gid
    if entry.mtime_ns % _SECOND_NS or not 0 <= entry.mtime_ns // _SECOND_NS <= _MAX_OCTAL_SIZE:
        records[b"mtime"] = _format_time(entry.mtime_ns)
    if entry.extents is not None:
        records |= {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0"}
        records |= {b"GNU.sparse.name": entry.name, b"GNU.sparse.realsize": b"%d" % entry.size}
    return records


def _format_time(time_ns: int) -> bytes:
    seconds, fraction = divmod(abs(time_ns), _SECOND_NS)
    text = f"{'-' if time_ns < 0 else ''}{seconds}.{fraction:09d}"
    return text.rstrip("0").rstrip(".").encode()


def _record(key: bytes, value: bytes) -> bytes:
    """A record; its length counts the digits of the length."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _ustar(entry: Entry) -> bytes:
    link = entry.link if entry.kind != REGULAR else b""
    special = CHARACTER <= entry.kind < DIRECTORY
    seconds = min(max(entry.mtime_ns // _SECOND_NS, 0), _MAX_OCTAL_SIZE)
    block = bytearray(
        _HEADER.pack(
            entry.name[:_NAME],
            b"%07o\0" % entry.mode,
            b"%07o\0" % min(entry.uid, _MAX_OCTAL_ID),
            b"%07o\0" % min(entry.gid, _MAX_OCTAL_ID),
            b"%011o\0" % min(entry.stored, _MAX_OCTAL_SIZE),
            b"%011o\0" % seconds,
            b" " * 8,
            entry.kind,
            link[:_NAME],
            b"ustar\0",
            b"00",
            b"",
            b"",
            b"%07o\0" % (major(entry.device) if special else 0),
            b"%07o\0" % (minor(entry.device) if special else 0),
            b"",
            b"",
        )
    )
    block[_SUM_AT : _SUM_AT + 8] = b"%06o\0 " % sum(block)
    return bytes(block)
