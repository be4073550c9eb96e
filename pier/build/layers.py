"""Snapshots become layers: the files of a step as a blob, a chain, a row of the cache.

Files first: the layer is written to the content store while nobody knows it; then, without a
pause on the loop, the blob, the snapshot and the cache's row appear together.
"""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from pier.archive.layer_writer import Written, write_layer
from pier.archive.walk import Directory, walk
from pier.build.cache import StepKey
from pier.build.cache_store import CacheStore, StepResult
from pier.linux.mount import Overlay
from pier.linux.paths import STRICTLY_BELOW, open_in_root
from pier.oci.digest import Digest
from pier.oci.image import next_chain_id
from pier.store.content import ContentStore
from pier.store.database import Database
from pier.store.snapshots import Snapshotter
from pier.threads import blocking

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
        """What that snapshot itself adds."""
        return self._snapshotter.directory(key)

    def drop(self, key: str) -> None:
        self._snapshotter.remove(key)

    def lower(self, chain_id: str) -> list[Path]:
        """The directories of a committed chain, topmost first."""
        return self._snapshotter.chain(chain_id)

    def has(self, result: StepResult) -> bool:
        """Whether the files of a result are here, and its layer's bytes."""
        if result.diff_id is not None and not self._has_bytes(result.diff_id):
            return False
        return not result.chain_id or self._snapshotter.exists(result.chain_id)

    def _has_bytes(self, diff_id: Digest) -> bool:
        query = "SELECT 1 FROM layers WHERE diff_id = ?"
        return self._database.execute(query, (diff_id,)).fetchone() is not None

    async def commit(
        self, key: str, chain_id: str, step: StepKey, created_ns: int, clamp_ns: int | None
    ) -> StepResult:
        """Make the snapshot `key` on `chain_id` a layer, and remember it as the step's result.

        A step that changed nothing leaves no layer. clamp_ns: no file may be younger.
        """
        upper = self._snapshotter.directory(key)
        with self._content.ingest(None) as ingest:
            written = await blocking(_write, upper, ingest.write, clamp_ns)
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

    def put_on(self, below: str, chain_id: str, diff_id: Digest, size: int) -> str:
        """Have the layer that is the top of `chain_id` on top of `below` too; its chain ID there.

        The files are the same ones, by hard links: a committed snapshot never changes.
        """
        target = next_chain_id(below, diff_id)
        if not self._snapshotter.exists(target):
            key = self.prepare("")
            try:
                link_tree(self.directory(chain_id), self.directory(key))
                self._snapshotter.commit(key, target, parent=below or None, size=size)
            except BaseException:
                self.drop(key)
                raise
        return target

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


def link_tree(source: Path, target: Path) -> None:
    """The same tree again: directories anew, in every respect alike, and files as hard links."""
    source_fd, target_fd = os.open(source, _DIRECTORY), os.open(target, _DIRECTORY)
    try:
        made = [_linked(found, target_fd) for found in walk(source_fd)]
        for path, status in reversed(made):
            fd = open_in_root(target_fd, path, _DIRECTORY, resolve=STRICTLY_BELOW)
            try:
                os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
            finally:
                os.close(fd)
    finally:
        os.close(source_fd)
        os.close(target_fd)


def _linked(found: Directory, target_fd: int) -> tuple[bytes, os.stat_result]:
    fd = open_in_root(target_fd, found.path, _DIRECTORY, resolve=STRICTLY_BELOW)
    try:
        os.fchown(fd, found.stat.st_uid, found.stat.st_gid)
        os.fchmod(fd, stat.S_IMODE(found.stat.st_mode))
        for attribute in os.listxattr(found.fd):
            os.setxattr(fd, attribute, os.getxattr(found.fd, attribute))
        for file in found.files:
            os.link(file.name, file.name, src_dir_fd=found.fd, dst_dir_fd=fd, follow_symlinks=False)
        for name in found.below:
            os.mkdir(name, dir_fd=fd)
    finally:
        os.close(fd)
    return found.path, found.stat
