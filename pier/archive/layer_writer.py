"""An upper directory becomes an image layer: overlayfs's marks back to names.

The other direction of `layer`. The root itself has no entry: a layer does not change it.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pier.archive.entry import REGULAR, Entry
from pier.archive.layer import OPAQUE, WHITEOUT, is_opaque, is_whiteout
from pier.archive.walk import Directory, Found, join, walk
from pier.archive.writer import TarWriter, Write


@dataclass(frozen=True, slots=True)
class Written:
    """What went into a layer. size counts the bytes of regular files, hard links once."""

    size: int
    entries: int


def write_layer(upper: Path, write: Write, *, ignore: Collection[bytes] = ()) -> Written:
    """Write `upper` as an uncompressed layer, the same bytes for the same tree.

    ignore has paths (b"etc/hosts") to leave out, directories with all in them: the places the
    engine itself mounts on. The digest of what is written is the layer's diff ID.
    """
    writer = TarWriter(write)
    root_fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for directory in walk(root_fd):
            _write_directory(writer, directory, ignore)
    finally:
        os.close(root_fd)
    writer.close()
    return Written(writer.size, writer.entries)


def _write_directory(writer: TarWriter, directory: Directory, ignore: Collection[bytes]) -> None:
    if directory.path:
        writer.directory(directory.path, directory)
    if is_opaque(directory.fd):
        writer.entry(Entry(REGULAR, join(directory.path, OPAQUE), mode=0))
    for found in directory.files:
        if found.path not in ignore:
            _write_file(writer, directory, found)
    directory.below = [
        name
        for name in directory.below
        # Read again, it would be a mark that deletes something else.
        if not name.startswith(WHITEOUT) and join(directory.path, name) not in ignore
    ]


def _write_file(writer: TarWriter, directory: Directory, found: Found) -> None:
    if is_whiteout(found.stat):
        name = join(directory.path, WHITEOUT + found.name)
        writer.entry(Entry(REGULAR, name, mode=0))
    elif not found.name.startswith(WHITEOUT):
        writer.file(found.path, directory.fd, found)
