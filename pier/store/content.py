"""Blobs by digest, and the ingests they come in by.

    <root>/blobs/sha256/<hex>   a blob: complete, verified, never changed
    <root>/ingest/<name>        bytes on their way in; named after the expected digest where known

An ingest writes its file from any thread; the row is added on the database's thread by
`Ingest.commit`, after the file has its place. A row always has its file, until power is lost:
see `durability`.
"""

import contextlib
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from pier.errors import InvalidArgument, NotFound
from pier.oci.digest import Descriptor, Digest, DigestMismatch, digest_of, encoded
from pier.store.database import Database
from pier.store.durability import nobody_asks

READ_LIMIT = 4 * 1024 * 1024
"""No manifest or config is longer; the distribution specification asks registries for 4 MiB."""
_STALE_S = 24 * 3600
_CHUNK = 1024 * 1024


class BlobNotFound(NotFound):
    def __init__(self, digest: str) -> None:
        super().__init__(f"content {digest}: not found")


class BlobTooBig(InvalidArgument):
    def __init__(self, digest: str, size: int, limit: int) -> None:
        super().__init__(f"content {digest} has {size} bytes, more than the {limit} allowed here")


class SizeMismatch(InvalidArgument):
    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"content has {actual} bytes, expected {expected}")


class Ingest:
    """One blob on its way in. Write in any one thread; `commit` on the database's.

    As a context manager it closes at the end of the block. What was not committed stays to be
    resumed if the digest was known beforehand, and is removed otherwise.
    """

    def __init__(
        self,
        path: Path,
        expected: Digest | None,
        publish: Callable[[Path, Digest, int], None],
        release: Callable[[Path], None],
    ) -> None:
        self._path = path
        self._expected = expected
        self._publish = publish
        self._release = release
        self._hasher = hashlib.sha256()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._done = False
        self.offset = 0
        """Bytes received so far."""

    def resume(self) -> int:
        """Count what an earlier attempt left; return the offset to go on from."""
        self._restart()
        while chunk := os.pread(self._fd, _CHUNK, self.offset):
            self._hasher.update(chunk)
            self.offset += len(chunk)
        os.lseek(self._fd, self.offset, os.SEEK_SET)
        return self.offset

    def restart(self) -> None:
        """Forget everything received: the sender cannot go on where it stopped."""
        self._restart()
        os.ftruncate(self._fd, 0)

    def _restart(self) -> None:
        self._hasher = hashlib.sha256()
        self.offset = os.lseek(self._fd, 0, os.SEEK_SET)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append `data`. The first write of an ingest not resumed drops what was left there."""
        if self.offset == 0:
            os.ftruncate(self._fd, 0)
        view = memoryview(data)
        self._hasher.update(view)
        written = 0
        while written < len(view):
            written += os.write(self._fd, view[written:])
        self.offset += written
        return written

    def chunks(self) -> Iterator[bytes]:
        """What has been received so far, from the beginning."""
        position = 0
        while chunk := os.pread(self._fd, min(_CHUNK, self.offset - position), position):
            position += len(chunk)
            yield chunk

    @property
    def digest(self) -> Digest:
        """Of what has been received so far."""
        return Digest("sha256:" + self._hasher.hexdigest())

    def verify(self, size: int | None = None) -> Digest:
        """Raise SizeMismatch or DigestMismatch unless the bytes are those that were expected."""
        if size is not None and self.offset != size:
            raise SizeMismatch(size, self.offset)
        digest = self.digest
        if self._expected is not None and digest != self._expected:
            raise DigestMismatch(self._expected, digest)
        return digest

    def commit(self, size: int | None = None) -> Digest:
        """Verify, give the file its place, add the row. Wrong bytes are removed."""
        try:
            digest = self.verify(size)
        except InvalidArgument:
            self.abort()
            raise
        self._publish(self._path, digest, self.offset)
        self._done = True
        self.close()
        return digest

    def abort(self) -> None:
        """Remove what was received."""
        if not self._done:
            self._done = True
            self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Stop here; twice is fine. See the class for what becomes of the bytes."""
        if self._fd < 0:
            return
        if not self._done and self._expected is None:
            self._path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1
        self._release(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class ContentStore:
    def __init__(
        self, root: Path, database: Database, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._database = database
        self._clock_ns = clock_ns
        self._blobs = root / "blobs" / "sha256"
        self._ingests = root / "ingest"
        for directory in (self._blobs, self._ingests):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._busy: set[Path] = set()
        self.added: Callable[[], None] = nobody_asks
        """Called after each new blob."""

    def find_size(self, digest: Digest) -> int | None:
        row = self._database.execute(
            "SELECT size FROM blobs WHERE digest = ?", (digest,)
        ).fetchone()
        return None if row is None else int(row["size"])

    def has(self, digest: Digest) -> bool:
        return self.find_size(digest) is not None

    def size(self, digest: Digest) -> int:
        size = self.find_size(digest)
        if size is None:
            raise BlobNotFound(digest)
        return size

    def path(self, digest: Digest) -> Path:
        """Where the blob's file is; raises BlobNotFound."""
        self.size(digest)
        return self._path(digest)

    def _path(self, digest: Digest) -> Path:
        return self._blobs / encoded(digest)

    def open(self, digest: Digest) -> BinaryIO:
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError as error:
            raise BlobNotFound(digest) from error

    def read(self, digest: Digest, limit: int = READ_LIMIT) -> bytes:
        """A small blob, whole; raises BlobTooBig."""
        size = self.size(digest)
        if size > limit:
            raise BlobTooBig(digest, size, limit)
        try:
            return self._path(digest).read_bytes()
        except FileNotFoundError as error:
            raise BlobNotFound(digest) from error

    def add(self, data: bytes, media_type: str = "") -> Descriptor:
        """Keep `data`; the same bytes twice are kept, and written, once."""
        digest = digest_of(data)
        if self.has(digest):
            return Descriptor(media_type, digest, len(data))
        with self.ingest(None) as ingest:
            ingest.write(data)
            return Descriptor(media_type, ingest.commit(), len(data))

    def ingest(self, expected: Digest | None) -> Ingest:
        """A way in. Only one at a time gets the resumable place of an expected digest."""
        path = self._ingests / (encoded(expected) if expected else uuid.uuid4().hex)
        if path in self._busy:
            path = self._ingests / uuid.uuid4().hex
        self._busy.add(path)
        try:
            return Ingest(path, expected, self._publish, self._busy.discard)
        except OSError:
            self._busy.discard(path)
            raise

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """An empty directory on the blobs' file system, gone at the end; see `adopt`."""
        path = self._ingests / uuid.uuid4().hex
        self._busy.add(path)
        path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            shutil.rmtree(path)
            self._busy.discard(path)

    def adopt(self, path: Path, digest: Digest, size: int) -> None:
        """Make a file of a workspace, whose digest the caller computed, a blob."""
        self._publish(path, digest, size)

    def _publish(self, path: Path, digest: Digest, size: int) -> None:
        path.replace(self._path(digest))
        self._database.execute(
            "INSERT INTO blobs (digest, size, created_ns) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET durable = 0, created_ns = excluded.created_ns",
            (digest, size, self._clock_ns()),
        )
        self.added()

    def remove_files(self, digests: list[Digest]) -> None:
        """Remove the files of rows that were deleted before."""
        for digest in digests:
            self._path(digest).unlink(missing_ok=True)

    def missing(self) -> list[Digest]:
        """Blobs whose file is not there, or has another length."""
        with os.scandir(self._blobs) as entries:
            found = {entry.name: entry.stat().st_size for entry in entries}
        return [
            Digest(row["digest"])
            for row in self._database.execute("SELECT digest, size FROM blobs")
            if found.get(encoded(row["digest"])) != row["size"]
        ]

    def doubted(self) -> list[Digest]:
        """Blobs that may not be on the disk."""
        rows = self._database.execute("SELECT digest FROM blobs WHERE durable = 0")
        return [Digest(row["digest"]) for row in rows]

    def is_whole(self, digest: Digest) -> bool:
        """Whether the file of a blob has the bytes it should have. Blocks: for a thread."""
        try:
            with self._path(digest).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == encoded(digest)
        except OSError:
            return False

    def discard(self, digest: Digest) -> None:
        """Drop a blob that no image names, and what is left of its file."""
        self._database.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
        self.remove_files([digest])

    def remove_leftovers(self) -> int:
        """Remove what interrupted transfers left to be resumed; the bytes it had."""
        removed = 0
        for path in self._ingests.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path not in self._busy and path.is_file():
                    size = path.stat().st_size
                    path.unlink()
                    removed += size
        return removed

    def sweep(self) -> None:
        """At start: remove files without rows, and ingests nobody came back for in a day."""
        known = {
            encoded(row["digest"]) for row in self._database.execute("SELECT digest FROM blobs")
        }
        for path in self._blobs.iterdir():
            if path.name not in known:
                path.unlink()
        oldest_s = self._clock_ns() // 1_000_000_000 - _STALE_S
        for path in self._ingests.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path in self._busy:
                    continue
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.stat().st_mtime < oldest_s:
                    path.unlink()
