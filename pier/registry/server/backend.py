"""Where a registry keeps things: keys and bytes, in a directory or in object storage.

    blobs/sha256/<hex>                                content
    repositories/<name>/blobs/<hex>                   the repository may serve this blob
    repositories/<name>/manifests/<hex>               the same for a manifest; JSON: type, subject
    repositories/<name>/tags/<tag>                    a digest
    repositories/<name>/referrers/<subject>/<hex>     JSON: a descriptor, as the API lists it

`<name>` has `+` for `/`, which no repository's name contains. Whatever appears, appears whole:
`put` and `adopt` are atomic and, once they have returned, survive a power cut.
"""

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing."""

    name: str
    size: int
    used_s: float
    """When it was last stored or touched, in seconds since the epoch."""


class Backend(Protocol):
    async def get(self, key: str) -> bytes | None:
        """The whole of a small object."""

    async def put(self, key: str, data: bytes) -> None: ...

    async def adopt(self, key: str, path: Path) -> None:
        """Store the local file `path` under `key`; the file is gone afterwards."""

    async def size(self, key: str) -> int | None:
        """Bytes, None without such an object."""

    async def modified_s(self, key: str) -> float | None:
        """When it was stored, in seconds since the epoch."""

    def local(self, key: str) -> Path | None:
        """The file an object is, for backends that have files; it may be missing."""

    def read(self, key: str, first: int, size: int) -> AsyncIterator[bytes]:
        """Bytes of an object, in chunks."""

    async def names(self, prefix: str) -> list[str]:
        """What is directly below `prefix`, sorted."""

    async def entries(self, prefix: str) -> list[Entry]:
        """The objects directly below `prefix`."""

    async def touch(self, key: str) -> None:
        """Note that an object was used, where that can be kept; none is fine."""

    async def delete(self, key: str) -> None:
        """Remove an object; none is fine."""

    async def close(self) -> None: ...


class Directory:
    """A backend in a directory of the local file system."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tmp = root / "tmp"
        self._tmp.mkdir(parents=True, exist_ok=True)
        for leftover in self._tmp.iterdir():
            leftover.unlink()

    async def get(self, key: str) -> bytes | None:
        try:
            return (self._root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    async def put(self, key: str, data: bytes) -> None:
        await asyncio.to_thread(self._put, key, data)

    def _put(self, key: str, data: bytes) -> None:
        temporary = self._tmp / secrets.token_hex(16)
        temporary.write_bytes(data)
        self._move(temporary, key)

    async def adopt(self, key: str, path: Path) -> None:
        await asyncio.to_thread(self._move, path, key)

    def _move(self, path: Path, key: str) -> None:
        """Content to the disk, then its name, then the directory: the order survives power cuts."""
        _sync(path, os.O_RDONLY)
        target = self._root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        _sync(target.parent, os.O_RDONLY | os.O_DIRECTORY)

    async def size(self, key: str) -> int | None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return (self._root / key).stat().st_size
        return None

    async def modified_s(self, key: str) -> float | None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return (self._root / key).stat().st_mtime
        return None

    def local(self, key: str) -> Path | None:
        return self._root / key

    async def read(self, key: str, first: int, size: int) -> AsyncIterator[bytes]:
        with (self._root / key).open("rb") as file:
            file.seek(first)
            while size > 0:
                chunk = await asyncio.to_thread(file.read, min(size, _CHUNK))
                if not chunk:
                    return
                size -= len(chunk)
                yield chunk

    async def names(self, prefix: str) -> list[str]:
        return await asyncio.to_thread(self._names, prefix)

    def _names(self, prefix: str) -> list[str]:
        try:
            return sorted(os.listdir(self._root / prefix))  # noqa: PTH208 -- names are enough
        except (FileNotFoundError, NotADirectoryError):
            return []

    async def entries(self, prefix: str) -> list[Entry]:
        return await asyncio.to_thread(self._entries, prefix)

    def _entries(self, prefix: str) -> list[Entry]:
        found = []
        for name in self._names(prefix):
            with contextlib.suppress(FileNotFoundError):
                about = (self._root / prefix / name).stat()
                found.append(Entry(name, about.st_size, max(about.st_atime, about.st_mtime)))
        return found

    async def touch(self, key: str) -> None:
        """The time of access alone: the other one says when it was stored."""
        path = self._root / key
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))

    async def delete(self, key: str) -> None:
        (self._root / key).unlink(missing_ok=True)

    async def close(self) -> None:
        return


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
