"""Uploads under way: files on the local disk that grow until their digest is checked.

    <root>/<uuid>@<repository>     what has arrived; the file's size is the upload's offset

So an upload survives a restart of the registry. The running hash does not: it is made anew from
the file when it is needed.
"""

import asyncio
import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from pier.oci.digest import Digest
from pier.registry.server import faults

_WRITE = 1024 * 1024
BROKEN = (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, ConnectionError)
"""What reading a request's body raises when the client has gone."""


@dataclass(slots=True)
class Upload:
    """One upload. Use it as a context manager: one request at a time works on it."""

    uuid: str
    path: Path
    offset: int = 0
    hasher: "hashlib._Hash | None" = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __aenter__(self) -> Self:
        if self.lock.locked():
            raise faults.range_invalid("another request is writing to this upload")
        await self.lock.acquire()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.lock.release()

    async def append(self, body: AsyncIterator[bytes], limit: int | None = None) -> None:
        """Take the body in. When it breaks off, what has arrived is kept and the error raised."""
        with self.path.open("ab") as file:
            pending = bytearray()
            try:
                async for chunk in body:
                    pending += chunk
                    if limit is not None and self.offset + len(pending) > limit:
                        raise faults.Fault(400, "SIZE_INVALID", "more bytes than announced")
                    if len(pending) >= _WRITE:
                        full, pending = pending, bytearray()
                        await asyncio.to_thread(self._write, file.fileno(), full)
            finally:
                self._write(file.fileno(), pending)

    def _write(self, fd: int, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            written = os.write(fd, view)
            if self.hasher is not None:
                self.hasher.update(view[:written])
            self.offset += written
            view = view[written:]

    async def digest(self) -> Digest:
        """Of everything that has arrived."""
        if self.hasher is None:
            self.hasher = await asyncio.to_thread(_hash_file, self.path)
        return Digest("sha256:" + self.hasher.hexdigest())


def _hash_file(path: Path) -> "hashlib._Hash":
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")


class Spool:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._live: dict[str, Upload] = {}
        root.mkdir(parents=True, exist_ok=True)

    def create(self, name: str) -> Upload:
        upload_id = str(uuid.uuid4())
        path = self._path(name, upload_id)
        path.touch(exist_ok=False)
        upload = Upload(upload_id, path, hasher=hashlib.sha256())
        self._live[path.name] = upload
        return upload

    def get(self, name: str, upload_id: str) -> Upload:
        """The upload of that repository; raises BLOB_UPLOAD_UNKNOWN."""
        try:
            path = self._path(name, str(uuid.UUID(upload_id)))
        except ValueError:
            raise faults.upload_unknown() from None
        if not path.exists():
            self._live.pop(path.name, None)
            raise faults.upload_unknown()
        upload = self._live.get(path.name)
        if upload is None:
            upload = Upload(upload_id, path, path.stat().st_size)
            self._live[path.name] = upload
        return upload

    def drop(self, upload: Upload) -> None:
        """Forget an upload and its bytes; a file adopted elsewhere is no longer here."""
        upload.path.unlink(missing_ok=True)
        self._live.pop(upload.path.name, None)

    def expire(self, age_s: float) -> int:
        """Remove uploads nobody has written to for so long; how many."""
        removed = 0
        oldest_s = time.time() - age_s
        for path in self._root.iterdir():
            live = self._live.get(path.name)
            if live is not None and live.lock.locked():
                continue
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest_s:
                    path.unlink()
                    self._live.pop(path.name, None)
                    removed += 1
        return removed

    def scratch(self, digest: Digest) -> Path:
        """Where the pull-through cache receives a blob: found again after a restart."""
        return self._root / digest.replace(":", "-")

    def _path(self, name: str, upload_id: str) -> Path:
        return self._root / f"{upload_id}@{name.replace('/', '+')}"[:255]
