"""Snapshots become layers: the files of a step as a blob, a chain, a row of the cache.

Files first: the layer is written to the content store while nobody knows it; then, without a
pause on the loop, the blob, the snapshot and the cache's row appear together.
"""

import asyncio
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from pier.archive.layer_writer import Written, write_layer
from pier.archive.walk import walk
from pier.build.cache import StepKey
from pier.build.cache_store import CacheStore, StepResult
from pier.linux.mount import Overlay
from pier.oci.digest import Digest
from pier.oci.image import next_chain_id
from pier.store.content import ContentStore
from pier.store.database import Database
from pier.store.snapshots import Snapshotter

KEY_PREFIX = "build/"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Layers:
    """Makes the snapshots that steps work in, and keeps what came of them."""

    def __init__(
        self,
        database: Database,
        content: ContentStore,
        snapshotter: Snapshotter,
        cache: CacheStore,
        now: Callable[[], int],
    ) -> None:
        self._database = database
        self._content = content
        self._snapshotter = snapshotter
        self._cache = cache
        self._now = now

    def prepare(self, chain_id: str) -> str:
        """A snapshot to work in on top of `chain_id`; its key."""
        key = KEY_PREFIX + secrets.token_hex(16)
        self._snapshotter.prepare(key, chain_id, self._now())
        return key

    def overlay(self, key: str) -> Overlay:
        return self._snapshotter.overlay(key)

    def directory(self, key: str) -> Path:
        return self._snapshotter.directory(key)

    def drop(self, key: str) -> None:
        self._snapshotter.remove(key)

    def lower(self, chain_id: str) -> list[Path]:
        """The directories of a committed chain, topmost first."""
        return self._snapshotter.chain(chain_id)

    def has(self, chain_id: str) -> bool:
        return not chain_id or self._snapshotter.exists(chain_id)

    async def commit(
        self, key: str, chain_id: str, step: StepKey, created_ns: int, clamp_ns: int | None
    ) -> StepResult:
        """Make the snapshot `key` on `chain_id` a layer, and remember it as the step's result.

        A step that changed nothing leaves no layer. clamp_ns: no file may be younger.
        """
        upper = self._snapshotter.directory(key)
        with self._content.ingest(None) as ingest:
            written = await asyncio.to_thread(_write, upper, ingest.write, clamp_ns)
            if not written.entries:
                ingest.abort()
                self._snapshotter.remove(key)
                result = StepResult(chain_id, created_ns=created_ns)
                self._cache.add(step, result, self._now())
                return result
            with self._database.transaction():
                blob = ingest.commit()
                result = self._keep(key, chain_id, blob, written, created_ns)
                self._cache.add(step, result, self._now())
        return result

    def _keep(
        self, key: str, parent: str, blob: Digest, written: Written, created_ns: int
    ) -> StepResult:
        chain_id = next_chain_id(parent, blob)
        self._snapshotter.commit(key, chain_id, size=written.size)
        self._database.execute(
            "INSERT INTO layers (diff_id, digest, media_type) VALUES (?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (blob, blob, LAYER_TYPE),
        )
        return StepResult(chain_id, blob, blob, written.size, created_ns)

    def sweep(self) -> None:
        """At daemon start: remove the snapshots of builds that were interrupted."""
        for key in self._snapshotter.list_keys(KEY_PREFIX):
            self._snapshotter.remove(key)


def _write(upper: Path, write: Callable[[bytes], object], clamp_ns: int | None) -> Written:
    if clamp_ns is not None:
        clamp_times(upper, clamp_ns)
    return write_layer(upper, write)


def clamp_times(directory: Path, latest_ns: int) -> None:
    """Give everything below that is younger the time `latest_ns`."""
    root_fd = os.open(directory, _DIRECTORY)
    try:
        for found in walk(root_fd):
            for file in found.files:
                if file.stat.st_mtime_ns > latest_ns:
                    os.utime(
                        file.name,
                        ns=(latest_ns, latest_ns),
                        dir_fd=found.fd,
                        follow_symlinks=False,
                    )
            if found.path and found.stat.st_mtime_ns > latest_ns:
                os.utime(found.fd, ns=(latest_ns, latest_ns))
    finally:
        os.close(root_fd)
