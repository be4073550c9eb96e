"""Layer blobs become snapshots: verified, decompressed, hashed and extracted in one pass.

The steps for one layer, so that several may be on their way at once:

1. `Unpacker.prepare` makes a place (on the loop),
2. `extract` fills it (in a thread), from a file or as the bytes arrive,
3. `Unpacker.place` gives it its place in the chain (on the loop), bottom layer first.

`chain` does all of it for blobs that are already in the content store.
"""

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pier.archive.compression import chunks_of, decompressed
from pier.archive.layer import Extracted, extract_layer, inherit
from pier.errors import InvalidArgument
from pier.images.model import Progress
from pier.images.room import Room
from pier.oci.digest import Descriptor, Digest
from pier.oci.image import chain_ids
from pier.store.content import ContentStore, Ingest, SizeMismatch
from pier.store.leases import Leases
from pier.store.snapshots import Snapshotter

PREFIX = "unpack/"


class DiffIdMismatch(InvalidArgument):
    def __init__(self, expected: Digest, actual: Digest) -> None:
        super().__init__(f"layer has diff ID {actual}, its image says {expected}")


class LayerCountMismatch(InvalidArgument):
    def __init__(self, layers: int, diff_ids: int) -> None:
        super().__init__(f"manifest has {layers} layers, its config {diff_ids}")


def no_progress(done: int, total: int) -> None:
    """For whom nobody watches."""


def extract(
    chunks: Iterable[bytes],
    directory: Path,
    expected: Digest | None,
    *,
    ingest: Ingest | None = None,
    total: int = 0,
    progress: Progress = no_progress,
) -> Extracted:
    """Extract a layer's bytes into an empty directory. Blocks: for a thread.

    With an ingest the bytes are kept in it as they pass; it is verified before the diff ID
    is compared, so a broken download is told from a lying config. The caller commits it.
    total, where known, is also the bound: nobody can send more than was announced.
    """
    passed = _passed(chunks, ingest, total, progress)
    room = Room(directory, expected or "of this archive")
    extracted = extract_layer(passed, directory, room)
    if ingest is not None:
        ingest.verify(total or None)
    if expected is not None and extracted.diff_id != expected:
        raise DiffIdMismatch(expected, extracted.diff_id)
    return extracted


def _passed(
    chunks: Iterable[bytes], ingest: Ingest | None, total: int, progress: Progress
) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        if ingest is not None:
            ingest.write(chunk)
        done += len(chunk)
        if total and done > total:
            raise SizeMismatch(total, done)
        progress(done, total)
        yield chunk


class Unpacker:
    def __init__(self, content: ContentStore, snapshotter: Snapshotter, leases: Leases) -> None:
        self._content = content
        self._snapshotter = snapshotter
        self._leases = leases

    def sweep(self) -> None:
        """At start: remove what an interrupted unpacking left."""
        for key in self._snapshotter.list_keys(PREFIX):
            self._snapshotter.remove(key)

    def missing(self, diff_ids: Sequence[Digest]) -> list[int]:
        """Indexes of the layers that have no snapshot yet."""
        chain = chain_ids(diff_ids)
        return [index for index, key in enumerate(chain) if not self._snapshotter.exists(key)]

    def prepare(self, now_ns: int = 0) -> str:
        """A place for a layer to be extracted into; its key. Removed by `place` or `drop`."""
        key = PREFIX + uuid.uuid4().hex
        self._snapshotter.prepare(key, now_ns=now_ns)
        return key

    def directory(self, key: str) -> Path:
        return self._snapshotter.directory(key)

    def drop(self, key: str) -> None:
        self._snapshotter.remove(key)

    async def place(
        self,
        key: str,
        extracted: Extracted,
        parent: str,
        chain_id: str,
        lease: str = "",
        *,
        instead: bool = False,
    ) -> None:
        """Commit an extracted layer on top of the chain `parent` ("" for none).

        instead: take the place of one that is there.
        """
        if lease:
            self._leases.add(lease, "snapshot", chain_id)
        directories = self._snapshotter.chain(parent)
        await asyncio.to_thread(
            inherit, self._snapshotter.directory(key), directories, extracted.implied
        )
        with self._snapshotter.transaction():
            if instead:
                self._snapshotter.lose(chain_id)
            self._snapshotter.commit(key, chain_id, parent=parent or None, size=extracted.size)

    async def chain(
        self,
        diff_ids: Sequence[Digest],
        layers: Sequence[Descriptor],
        lease: str,
        progress: Callable[[int, int, int], None] | None = None,
    ) -> None:
        """Make the snapshots of `layers`, whose blobs are here, one after the other.

        progress gets the layer's index, bytes done and bytes in all, from other threads.
        """
        if len(layers) != len(diff_ids):
            raise LayerCountMismatch(len(layers), len(diff_ids))
        parent = ""
        for index, key in enumerate(chain_ids(diff_ids)):
            self._leases.add(lease, "snapshot", key)
            if not self._snapshotter.exists(key):
                report = _of_layer(index, progress)
                await self._one(layers[index], diff_ids[index], parent, key, report)
            parent = key

    async def again(self, layer: Descriptor, diff_id: Digest, parent: str, chain_id: str) -> None:
        """Make one snapshot anew, from its blob; the one that is there is lost then."""
        await self._one(layer, diff_id, parent, chain_id, no_progress, instead=True)

    async def _one(
        self,
        layer: Descriptor,
        diff_id: Digest,
        parent: str,
        chain_id: str,
        progress: Progress,
        *,
        instead: bool = False,
    ) -> None:
        key = self.prepare()
        path, directory = self._content.path(layer.digest), self.directory(key)
        size = self._content.size(layer.digest)
        try:
            extracted = await asyncio.to_thread(
                extract_file, path, directory, diff_id, size, progress
            )
            await self.place(key, extracted, parent, chain_id, instead=instead)
        finally:
            self.drop(key)


def extract_file(
    path: Path, directory: Path, expected: Digest, size: int, progress: Progress
) -> Extracted:
    with path.open("rb") as file:
        return extract(chunks_of(file), directory, expected, total=size, progress=progress)


def check_diff_id(path: Path, expected: Digest) -> None:
    """Raise DiffIdMismatch unless the blob at `path` unpacks to that diff ID. Blocks."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in decompressed(chunks_of(file)):
            hasher.update(chunk)
    actual = Digest("sha256:" + hasher.hexdigest())
    if actual != expected:
        raise DiffIdMismatch(expected, actual)


def _of_layer(index: int, progress: Callable[[int, int, int], None] | None) -> Progress:
    if progress is None:
        return no_progress
    report = progress
    return lambda done, total: report(index, done, total)
