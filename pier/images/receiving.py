"""One layer on its way from a registry to a directory.

One stream, several threads:

    network → ingest file + sha256 → decompress → sha256 (diff ID) → extract

What an earlier attempt left in the ingest is fed through first, and the network asked for the
rest. Nothing of a layer counts before its digest and its diff ID were right: the blob is
published and the directory becomes part of a committed snapshot only then.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pier.archive.compression import BrokenStream, chunks_of
from pier.archive.entry import InvalidArchive
from pier.archive.layer import Extracted, extract_layer
from pier.errors import InvalidArgument
from pier.images.room import Room
from pier.images.transfer import Meter, Pipe
from pier.images.unpack import DiffIdMismatch
from pier.oci.digest import Descriptor, Digest, DigestMismatch
from pier.registry.failures import WrongContent
from pier.registry.repository import Repository
from pier.store.content import ContentStore, Ingest, SizeMismatch
from pier.threads import blocking, settled


class LayerVerificationFailed(WrongContent):
    def __init__(self, host: str, digest: Digest, why: str) -> None:
        super().__init__(host, f"filesystem layer verification failed for digest {digest}: {why}")


class WrongLeftovers(LayerVerificationFailed):
    """What an earlier attempt left may be to blame: worth one attempt from nothing."""


class _TransferBroken(Exception):
    """Ends the extraction of a layer whose transfer ended."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What is to be received: a blob, what it must unpack to."""

    blob: Descriptor
    diff_id: Digest
    chain_id: Digest
    parent: str
    """Chain ID of what it stands on, "" for nothing."""

    @property
    def short_id(self) -> str:
        return self.blob.digest.partition(":")[2][:12]


class Extractors:
    """Threads that extract layers, as many as may be under way at once."""

    def __init__(self, workers: int, reserve_bytes: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(workers, "unpack")
        self._reserve_bytes = reserve_bytes

    def close(self) -> None:
        self._pool.shutdown()

    def start(self, layer: Layer, pipe: Pipe, directory: Path) -> asyncio.Future[Extracted]:
        """Extract what comes out of `pipe`; the thread ends with it."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._pool, self._extract, layer, pipe, directory)

    async def extract_stored(
        self, layer: Layer, content: ContentStore, directory: Path
    ) -> Extracted:
        """Extract a blob that is here already."""
        path = content.path(layer.blob.digest)
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._pool, self._extract_file, layer, path, directory)
        return await settled(work)

    def _extract_file(self, layer: Layer, path: Path, directory: Path) -> Extracted:
        with path.open("rb") as file:
            return extract_layer(chunks_of(file), directory, self._room(layer, directory))

    def _extract(self, layer: Layer, pipe: Pipe, directory: Path) -> Extracted:
        try:
            return extract_layer(pipe, directory, self._room(layer, directory))
        finally:
            pipe.close()

    def _room(self, layer: Layer, directory: Path) -> Room:
        return Room(directory, layer.blob.digest, self._reserve_bytes)


class _Sink:
    """Writes to the ingest and the pipe, one chunk at a time, in a thread."""

    def __init__(
        self, ingest: Ingest, pipe: Pipe, unpacking: asyncio.Future[Extracted], meter: Meter
    ) -> None:
        self._ingest = ingest
        self._pipe = pipe
        self._unpacking = unpacking
        self._meter = meter

    @property
    def offset(self) -> int:
        return self._ingest.offset

    async def write(self, chunk: bytes, /) -> None:
        self._stop_if_pointless()
        await self._in_thread(chunk, keep=True)
        self._meter(self._ingest.offset)

    async def feed(self) -> None:
        """Pass on what the ingest holds from an earlier attempt."""
        chunks = self._ingest.chunks()
        while chunk := await blocking(next, chunks, b""):
            self._stop_if_pointless()
            await self._in_thread(chunk, keep=False)

    async def _in_thread(self, chunk: bytes, *, keep: bool) -> None:
        await blocking(self._write, chunk, keep)

    def _write(self, chunk: bytes, keep: bool) -> None:
        if keep:
            self._ingest.write(chunk)
        self._pipe.put(chunk)

    def _stop_if_pointless(self) -> None:
        """A full disk ends the transfer. A bad archive does not: the digest tells whose fault."""
        if not self._unpacking.done():
            return
        error = self._unpacking.exception()
        if error is not None and not isinstance(error, InvalidArchive | BrokenStream):
            raise error


async def receive(
    repository: Repository,
    layer: Layer,
    content: ContentStore,
    extractors: Extractors,
    directory: Path,
    meter: Meter,
) -> Extracted:
    """Fetch and extract a layer side by side; afterwards the blob is in the content store.

    `directory` is empty, and of no use after an error. Raises WrongLeftovers when an earlier
    attempt had left a part of the bytes, LayerVerificationFailed when it had not.
    """
    with content.ingest(layer.blob.digest) as ingest:
        held = await blocking(ingest.resume)
        if held > layer.blob.size:
            ingest.restart()
        pipe = Pipe()
        unpacking = extractors.start(layer, pipe, directory)
        sink = _Sink(ingest, pipe, unpacking, meter)
        try:
            await sink.feed()
            await repository.fetch(layer.blob, sink, meter.waiting)
            _verify(ingest, layer, repository.registry, resumed=held > 0)
            pipe.end()
            extracted = await asyncio.shield(unpacking)
            check_diff_id(layer, extracted)
        except BaseException as error:
            pipe.break_off(_TransferBroken())
            await asyncio.wait({unpacking})
            unpacking.exception()
            if isinstance(error, InvalidArgument):
                ingest.abort()  # the right bytes of something that is no layer
            raise
        ingest.commit(layer.blob.size)
        return extracted


async def download(
    repository: Repository, blob: Descriptor, content: ContentStore, meter: Meter
) -> None:
    """Fetch a blob without extracting it."""
    pipe = Pipe()
    pipe.close()
    nothing: asyncio.Future[Extracted] = asyncio.get_running_loop().create_future()
    with content.ingest(blob.digest) as ingest:
        if await blocking(ingest.resume) > blob.size:
            ingest.restart()
        sink = _Sink(ingest, pipe, nothing, meter)
        await repository.fetch(blob, sink, meter.waiting)
        try:
            ingest.commit(blob.size)
        except (DigestMismatch, SizeMismatch) as error:
            raise LayerVerificationFailed(repository.registry, blob.digest, str(error)) from error


def _verify(ingest: Ingest, layer: Layer, host: str, *, resumed: bool) -> None:
    """Raise LayerVerificationFailed, and forget the bytes, unless they are the right ones."""
    try:
        ingest.verify(layer.blob.size)
    except (DigestMismatch, SizeMismatch) as error:
        ingest.restart()
        kind = WrongLeftovers if resumed else LayerVerificationFailed
        raise kind(host, layer.blob.digest, str(error)) from error


def check_diff_id(layer: Layer, extracted: Extracted) -> None:
    if extracted.diff_id != layer.diff_id:
        raise DiffIdMismatch(layer.diff_id, extracted.diff_id)
