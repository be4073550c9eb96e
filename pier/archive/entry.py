"""One member of a tar archive, and what can be wrong with an archive.

Names are bytes: tar has no encoding, and neither has a file system.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pier.errors import InvalidArgument

REGULAR = b"0"
HARD_LINK = b"1"
SYMLINK = b"2"
CHARACTER = b"3"
BLOCK = b"4"
DIRECTORY = b"5"
FIFO = b"6"


class InvalidArchive(InvalidArgument):
    """The bytes are no archive, or one that asks for what must not be done."""


class UnexpectedEnd(InvalidArchive):
    def __init__(self) -> None:
        super().__init__("unexpected EOF")


class Breakout(InvalidArchive):
    def __init__(self, name: bytes) -> None:
        super().__init__(f'invalid tar archive: "{show(name)}" is outside of the root')


class Extent(NamedTuple):
    """A stretch of a sparse file that has data."""

    offset: int
    length: int


@dataclass(slots=True)
class Entry:
    """A member. size is the file's; `stored` is how many bytes of data follow in the archive."""

    kind: bytes
    name: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    link: bytes = b""
    """Target of a symbolic link, or the name a hard link is to."""
    device: int = 0
    """As os.makedev() gives it."""
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)
    extents: Sequence[Extent] | None = None
    """Where the stored data belongs, if the file is sparse."""
    stored: int = 0


def show(name: bytes) -> str:
    """A name for an error message: printable, and not longer than a line."""
    return name[:200].decode(errors="backslashreplace")
