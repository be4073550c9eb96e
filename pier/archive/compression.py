"""Compressed streams, chunk by chunk, in bounded memory.

What a stream is compressed with is told by its first bytes, never by a name or a media type.
Several members or frames one after another are one stream, as every gzip and zstd tool has it.
"""

import lzma
import re
from bz2 import BZ2Decompressor
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO, Literal, Protocol, cast

from backports import zstd
from isal import igzip_lib, isal_zlib

from pier.errors import InvalidArgument

CHUNK = 1024 * 1024
_XZ_MEMORY = 256 * 1024 * 1024
_GZIP_WINDOW = 31
_HEAD = 6
_ZEROS = re.compile(rb"\0*")
_FIRST_STEP = 4 * 1024
"""A member is given little at first: what it does not take is copied."""
_MEMBERS = 1000
_MEMBER_BYTES = 256
"""A member must be worth the making of its decompressor, save some: a stream of nothing but empty
ones would cost a thousand times what it took to send."""

Kind = Literal["", "gzip", "zstd", "bzip2", "xz"]

_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)
_SKIPPABLE = b"\x2a\x4d\x18"
"""End of the magic of a zstd frame without content: 0x184D2A5?, little-endian."""

_ISAL_ERROR = cast("type[Exception]", igzip_lib.IsalError)  # its stub says it is an instance
_BROKEN: tuple[type[Exception], ...] = (
    _ISAL_ERROR,
    zstd.ZstdError,
    lzma.LZMAError,
    OSError,
    EOFError,
    ValueError,
)


class BrokenStream(InvalidArgument):
    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f"invalid {kind} stream: {why}")


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


def detect(head: bytes) -> Kind:
    """What a stream that begins with `head` (six bytes are enough) is compressed with."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[1:4] == _SKIPPABLE and head[0] & 0xF0 == 0x50:
        return "zstd"
    return ""


def chunks_of(stream: BinaryIO, size: int = CHUNK) -> Iterator[bytes]:
    """A file's bytes, from where it stands."""
    while chunk := stream.read(size):
        yield chunk


def decompressed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The plain bytes of a stream; raises BrokenStream. Plain input passes as it is.

    No chunk that comes out of a decompressor is longer than CHUNK.
    """
    source = iter(chunks)
    head = b""
    while len(head) < _HEAD and (chunk := next(source, None)) is not None:
        head += chunk
    kind = detect(head)
    stream = chain((head,) if head else (), source)
    return _members(stream, kind) if kind else stream


def _decompressor(kind: Kind) -> _Decompressor:
    match kind:
        case "gzip":
            gzip: _Decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            return gzip
        case "zstd":
            return zstd.ZstdDecompressor()
        case "bzip2":
            return BZ2Decompressor()
        case _:
            return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def _members(chunks: Iterator[bytes], kind: Kind) -> Iterator[bytes]:
    """Member after member; zeros after the last one are padding (gzip(1) and tar(1) agree)."""
    member, begun = _decompressor(kind), False
    credit = _MEMBERS * _MEMBER_BYTES
    for chunk in chunks:
        position, step = 0, CHUNK if begun else _FIRST_STEP
        while position < len(chunk):
            if not begun and member.eof:
                position = _ZEROS.match(chunk, position).end()  # type: ignore[union-attr]  # it always matches
                if position == len(chunk):
                    break
                member, step = _decompressor(kind), _FIRST_STEP
                credit -= _MEMBER_BYTES
                if credit < 0:
                    raise BrokenStream(kind, "too many empty members")
            begun = True
            piece = chunk[position : position + step]
            for plain in _member(member, piece, kind):
                credit = min(credit + len(plain), _MEMBERS * _MEMBER_BYTES)
                yield plain
            position += len(piece) - (len(member.unused_data) if member.eof else 0)
            begun, step = not member.eof, 2 * step
    if begun:
        raise BrokenStream(kind, "unexpected end")


def _member(member: _Decompressor, data: bytes, kind: Kind) -> Iterator[bytes]:
    """All that comes out of one member for `data`."""
    try:
        while True:
            plain = member.decompress(data, CHUNK)
            data = b""
            if plain:
                yield plain
            if member.eof or (member.needs_input and len(plain) < CHUNK):
                return
    except _BROKEN as error:
        raise BrokenStream(kind, str(error)) from error


def gzipped(chunks: Iterable[bytes], level: int = 1) -> Iterator[bytes]:
    """gzip, the same bytes for the same content: no name, no time. level: isal's 0 to 3."""
    packer = isal_zlib.compressobj(level, isal_zlib.DEFLATED, _GZIP_WINDOW)
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()


def zstandard(chunks: Iterable[bytes], level: int = 3) -> Iterator[bytes]:
    packer = zstd.ZstdCompressor(level=level)
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()
