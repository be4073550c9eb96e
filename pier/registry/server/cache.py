"""Pull-through: another registry behind this one, whose content is kept as it passes.

A tag is asked about upstream each time (a HEAD; within `ttl_s`, not even that), so the cache is
never older than that; content by digest is served from here without asking. When the upstream
is down, slow, or answers 429, what is here is served as it is. A blob that is not here yet is
received once, however many ask, and passed on as it arrives; its last bytes only after the
digest was right, so nobody can take wrong content for a whole one. What a broken connection or a
restart interrupts goes on by Range. `evict` keeps it small.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from pier.errors import PierError
from pier.oci.digest import Descriptor, Digest
from pier.registry.client import RegistryClient
from pier.registry.credentials import ANONYMOUS, Credentials
from pier.registry.failures import BlobUnknown, ManifestUnknown, WrongContent
from pier.registry.repository import Repository
from pier.registry.server import faults
from pier.registry.server.contents import Contents, Stored
from pier.registry.server.evict import Bounds, Eviction, mark_used
from pier.registry.server.metrics import Metrics
from pier.registry.server.parsing import parse_manifest
from pier.registry.server.spool import Spool

logger = logging.getLogger(__name__)
_CHUNK = 256 * 1024
_HELD_BACK = 1


@dataclass(slots=True)
class Arriving:
    """One blob on its way in: a file that grows, and those who read along."""

    blob: Descriptor
    path: Path
    offset: int = 0
    verified: bool = False
    failure: PierError | None = None
    grown: asyncio.Condition = field(default_factory=asyncio.Condition)
    hasher: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    async def resume(self) -> None:
        """Count what an earlier attempt left."""
        if self.path.exists():
            self.offset = await asyncio.to_thread(self._rehash)

    def _rehash(self) -> int:
        with self.path.open("rb") as file:
            while chunk := file.read(1024 * 1024):
                self.hasher.update(chunk)
            return file.tell()

    async def write(self, chunk: bytes, /) -> None:
        await asyncio.to_thread(self._append, chunk)
        self.offset += len(chunk)
        async with self.grown:
            self.grown.notify_all()

    def _append(self, chunk: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(chunk)
        self.hasher.update(chunk)

    def check(self, host: str) -> None:
        actual = "sha256:" + self.hasher.hexdigest()
        if actual != self.blob.digest:
            self.path.unlink(missing_ok=True)
            raise WrongContent(host, f"blob {self.blob.digest} has digest {actual}")

    async def end(self, failure: PierError | None) -> None:
        async with self.grown:
            self.verified, self.failure = failure is None, failure
            self.grown.notify_all()

    async def serve(self, request: web.Request, metrics: Metrics) -> web.StreamResponse:
        """Answer a GET or HEAD with the bytes as they come."""
        headers = {
            "Docker-Content-Digest": self.blob.digest,
            "Content-Type": "application/octet-stream",
        }
        response = web.StreamResponse(headers=headers)
        response.content_length = self.blob.size
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(self.blob.size)})
        with self.path.open("rb") as file:
            if not self.offset:
                await self._more_than(0)
            await response.prepare(request)
            try:
                async for chunk in self._chunks(file.fileno()):
                    await response.write(chunk)
                    metrics.sent(len(chunk))
            except PierError as error:
                logger.warning("blob %s breaks off: %s", self.blob.digest, error)
                _break_off(request)
        await response.write_eof()
        return response

    async def _chunks(self, fd: int) -> AsyncIterator[bytes]:
        position = 0
        while position < self.blob.size:
            end = await self._more_than(position)
            while position < end:
                chunk = os.pread(fd, min(_CHUNK, end - position), position)
                if not chunk:
                    raise WrongContent("cache", "the file being received is gone")
                position += len(chunk)
                yield chunk

    async def _more_than(self, position: int) -> int:
        """Wait until bytes beyond `position` may be shown; how many may. Raises the failure."""
        async with self.grown:
            await self.grown.wait_for(
                lambda: self.verified or self.failure is not None or self._shown() > position
            )
        if self.failure is not None:
            raise self.failure
        return self._shown()

    def _shown(self) -> int:
        return self.offset if self.verified else min(self.offset, self.blob.size - _HELD_BACK)


class PullThrough:
    """The cache of one upstream. Use it as a context manager: it finishes or cancels fetches."""

    def __init__(
        self,
        client: RegistryClient,
        upstream: str,
        contents: Contents,
        spool: Spool,
        *,
        metrics: Metrics,
        credentials: Credentials = ANONYMOUS,
        ttl_s: float = 0.0,
        bounds: Bounds | None = None,
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._contents = contents
        self._spool = spool
        self._metrics = metrics
        self._credentials = credentials
        self._ttl_s = ttl_s
        self.eviction = Eviction(contents, bounds or Bounds(), metrics)
        self._asked: dict[str, float] = {}
        self._arriving: dict[Digest, Arriving] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    async def freshen_manifest(self, name: str, reference: str) -> None:
        """Have what the upstream has, if it can be asked; raises when there is nothing at all.

        What the manifest names counts as used too: a client that has the layers asks for no more.
        """
        await self._freshen(name, reference)
        with contextlib.suppress(faults.Fault):
            stored = await self._contents.manifest(name, reference)
            parsed = parse_manifest(stored.media_type, stored.data)
            await mark_used(self._contents, (stored.digest, *parsed.blobs, *parsed.manifests))

    async def _freshen(self, name: str, reference: str) -> None:
        here = await self._here(name, reference)
        if here is not None and self._is_fresh(name, reference):
            self._metrics.cache("manifest", "hit")
            return
        try:
            await self._fetch_manifest(name, reference, here)
        except ManifestUnknown:
            raise faults.manifest_unknown(reference) from None
        except PierError as error:
            if here is None:
                raise
            self._metrics.cache("manifest", "stale")
            logger.warning("serving %s:%s as it is here: %s", name, reference, error)

    async def _here(self, name: str, reference: str) -> Digest | None:
        try:
            return (await self._contents.manifest(name, reference)).digest
        except faults.Fault:
            return None

    def _is_fresh(self, name: str, reference: str) -> bool:
        if reference.startswith("sha256:"):
            return True
        asked = self._asked.get(f"{name}:{reference}")
        return asked is not None and time.monotonic() - asked < self._ttl_s

    async def _fetch_manifest(self, name: str, reference: str, here: Digest | None) -> None:
        repository = self._repository(name)
        if here is not None:
            there = await repository.resolve(reference)
            if there.digest == here:
                self._note(name, reference)
                self._metrics.cache("manifest", "hit")
                return
        manifest = await repository.manifest(reference)
        self._metrics.cache("manifest", "miss")
        tags = [] if reference.startswith("sha256:") else [reference]
        stored = Stored(manifest.media_type, manifest.digest, manifest.data)
        await self._contents.put_manifest(name, stored, tags, checked=False)
        self._note(name, reference)

    def _note(self, name: str, reference: str) -> None:
        if len(self._asked) > 10_000:
            self._asked.clear()
        self._asked[f"{name}:{reference}"] = time.monotonic()

    async def blob(self, name: str, digest: Digest) -> Arriving | None:
        """The blob on its way here, or None when it is here. Raises when it is nowhere."""
        if await self._contents.has_blob(name, digest):
            self._metrics.cache("blob", "hit")
            await mark_used(self._contents, [digest])
            return None
        arriving = self._arriving.get(digest)
        if arriving is not None:
            return arriving
        self._metrics.cache("blob", "miss")
        try:
            size = await self._repository(name).blob_size(digest)
        except BlobUnknown:
            raise faults.blob_unknown(digest) from None
        if digest in self._arriving:
            return self._arriving[digest]
        return self._begin(name, Descriptor("", digest, size))

    def _begin(self, name: str, blob: Descriptor) -> Arriving:
        path = self._spool.scratch(blob.digest)
        path.touch()
        arriving = Arriving(blob, path)
        self._arriving[blob.digest] = arriving
        # Outlives the request that began it: others read along, and the next one wants it too.
        task = asyncio.get_running_loop().create_task(self._receive(name, arriving))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return arriving

    async def _receive(self, name: str, arriving: Arriving) -> None:
        failure: PierError | None = None
        try:
            await arriving.resume()
            await self._repository(name).fetch(arriving.blob, arriving)
            arriving.check(self._upstream)
            await self._contents.adopt_blob(name, arriving.blob.digest, arriving.path)
            self.eviction.grown(arriving.blob.size)
        except PierError as error:
            failure = error
        except OSError as error:
            failure = faults_of(error)
        finally:
            del self._arriving[arriving.blob.digest]
            await arriving.end(failure)

    async def tags(self, name: str) -> list[str] | None:
        """The upstream's, or None when it cannot be asked."""
        with contextlib.suppress(PierError):
            return await self._repository(name).tags()
        return None

    def _repository(self, name: str) -> Repository:
        return self._client.repository(self._upstream, name, self._credentials)


def _break_off(request: web.Request) -> None:
    """The status is out already: only a cut connection tells the client."""
    if request.transport is not None:
        request.transport.abort()


def faults_of(error: OSError) -> PierError:
    """A full disk, seen from a client."""
    return WrongContent("cache", f"cannot keep the blob: {error.strerror}")
