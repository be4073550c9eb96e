"""`docker cp`, export and diff: a container's file system, looked at and changed from outside.

surface.md k.7, k.8. A running container is reached through its own root, where its mounts are; a
stopped one is mounted for the time of the work, under its lock.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import replace

from pier.archive.changes import Change, list_changes
from pier.archive.tarball import ExtractOptions, extract_tree, write_tree
from pier.containers.model import Container, MountPoint
from pier.containers.outflow import written_by
from pier.containers.parts import Parts, snapshot_key
from pier.containers.path_stat import (
    PathNotFound,
    absolute,
    base_name,
    check_writable,
    resolve_directory,
    stat_path,
)
from pier.containers.requests import PathStat
from pier.containers.state import State
from pier.containers.to_oci import INIT_PATH
from pier.containers.users import resolve_user
from pier.containers.view import View, in_view, kernel_devices, open_root_alone
from pier.errors import Conflict, Failed
from pier.images.feed import work_on
from pier.linux.mount import open_overlay
from pier.threads import Bulkhead

_ETC = ("hosts", "hostname", "resolv.conf")
_COPIES = Bulkhead("copies and exports", most=256, of_one=64)
_LOOKS = Bulkhead("looks at files", most=256, of_one=64)
"""The files may be a file system that hangs, and a client may stop reading or sending.

Looks are counted apart: a client whose look is refused says "no such directory".
"""


class FilesGone(Conflict):
    def __init__(self, container: Container) -> None:
        super().__init__(
            f"container {container.id} is {container.state.value}: its files cannot be read"
        )


class CopyFailed(Failed):
    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))


class Files:
    """Paths are the user's, relative to the container's root. Names are looked up first."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def archive_stat(self, name: str, path: str) -> PathStat:
        """Raises PathNotFound."""
        container = self._get(name)
        wanted = absolute(path)
        async with self._view(container) as view:
            return await _LOOKS.run(
                lambda: in_view(view, lambda root: stat_path(root, wanted, name)),
                owner=container.id,
            )

    async def archive_get(self, name: str, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        """What is at `path` as a tar stream, members named by its last part.

        Raises PathNotFound before the first byte.
        """
        found = await self.archive_stat(name, path)
        container = self._get(name)
        self._parts.announce(container, "archive-path")
        return found, self._tar(container, absolute(path))

    async def archive_put(
        self,
        name: str,
        path: str,
        body: AsyncIterator[bytes],
        *,
        no_overwrite_dir_non_dir: bool,
        copy_uid_gid: bool,
    ) -> None:
        """Extract a tar stream, compressed or not, into the existing directory `path`.

        Raises PathNotFound, NotADirectoryPoint, MountReadOnly, RootReadOnly, and what
        extract_tree raises; what was extracted before stays.
        """
        container = self._get(name)
        wanted = absolute(path)
        async with self._view(container) as view:

            def extract(chunks: Iterator[bytes]) -> None:
                def work(root: int) -> None:
                    where = resolve_directory(root, wanted, name)
                    check_writable(
                        where,
                        container.mounts,
                        readonly_rootfs=container.spec.host.readonly_rootfs,
                    )
                    owner = _owner(root, container) if copy_uid_gid else None
                    options = ExtractOptions(owner=owner, keep_kinds=no_overwrite_dir_non_dir)
                    extract_tree(chunks, root, os.fsencode(where), options)

                in_view(view, work)

            try:
                await work_on(body, extract, _COPIES, container.id)
            except OSError as error:
                raise CopyFailed(error) from error
        self._parts.announce(container, "extract-to-dir")

    async def export(self, name: str) -> AsyncIterator[bytes]:
        """The root file system as a tar stream, without anything mounted in it."""
        container = self._get(name)
        self._parts.announce(container, "export")
        return self._exported(container)

    async def changes(self, name: str) -> list[Change]:
        """What the container changed of its image, sorted by path."""
        container = self._get(name)
        overlay = self._parts.overlay(container)
        upper = self._parts.snapshotter.directory(snapshot_key(container.id))
        return await asyncio.to_thread(
            list_changes,
            upper,
            [type(upper)(path) for path in overlay.lower],
            ignore=(os.fsencode(INIT_PATH.strip("/")),),
        )

    def _get(self, name: str) -> Container:
        container = self._parts.store.get(name)
        if container.state in (State.DEAD, State.REMOVING):
            raise FilesGone(container)
        return container

    async def _tar(self, container: Container, path: str) -> AsyncGenerator[bytes, None]:
        """`path` is absolute."""
        name = os.fsencode(base_name(path))
        async with self._view(container) as view:
            empty = kernel_devices(view)
            chunks = written_by(
                lambda write: in_view(
                    view,
                    lambda root: write_tree(root, os.fsencode(path), write, name=name, empty=empty),
                ),
                _COPIES,
                container.id,
            )
            async with contextlib.aclosing(chunks):
                async for chunk in chunks:
                    yield chunk

    async def _exported(self, container: Container) -> AsyncGenerator[bytes, None]:
        async with self._view(container) as view:
            overlay = view.overlay
            opened = (
                (lambda: open_root_alone(view.pid)) if view.pid else (lambda: open_overlay(overlay))
            )
            root = await _COPIES.run(opened, owner=container.id)
            try:
                chunks = written_by(
                    lambda write: write_tree(root, b"", write), _COPIES, container.id
                )
                async with contextlib.aclosing(chunks):
                    async for chunk in chunks:
                        yield chunk
            finally:
                os.close(root)

    @contextlib.asynccontextmanager
    async def _view(self, container: Container) -> AsyncGenerator[View, None]:
        """A stopped container's lock is held meanwhile: its overlay may be mounted only once."""
        live = self._parts.live[container.id]
        now = self._get(container.id)
        if now.state in (State.RUNNING, State.PAUSED) and now.status.pid:
            yield self._running_view(now)
            return
        async with live.lock:
            now = self._get(container.id)
            if now.state in (State.RUNNING, State.PAUSED) and now.status.pid:
                yield self._running_view(now)
                return
            async with self._volumes(now) as points, self._scratch(now) as view:
                yield replace(view, points=points)

    def _running_view(self, container: Container) -> View:
        return replace(self._stopped_view(container), pid=container.status.pid)

    def _stopped_view(self, container: Container) -> View:
        return View(
            overlay=self._parts.overlay(container),
            scratch=self._parts.mounts(container.id),
            image_overlay=self._parts.image_overlays(container).__getitem__,
        )

    @contextlib.asynccontextmanager
    async def _scratch(self, container: Container) -> AsyncGenerator[View, None]:
        view = self._stopped_view(container)
        view.scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            yield view
        finally:
            with contextlib.suppress(OSError):
                view.scratch.rmdir()

    @contextlib.asynccontextmanager
    async def _volumes(self, container: Container) -> AsyncGenerator[list[MountPoint], None]:
        """The mount points with volumes' directories, and the files in /etc, as sources."""
        user = f"files/{container.id}"
        points = []
        try:
            for point in container.mounts:
                if point.kind == "volume":
                    source = await self._parts.volumes.mount(point.name, user)
                    points.append(replace(point, source=str(source)))
                else:
                    points.append(point)
            yield sorted([*points, *self._etc(container)], key=lambda p: p.destination.split("/"))
        finally:
            for point in container.mounts:
                if point.kind == "volume":
                    await self._parts.volumes.unmount(point.name, user)

    def _etc(self, container: Container) -> Iterator[MountPoint]:
        """The files a container is given, as far as it has been started once."""
        taken = {point.destination for point in container.mounts}
        for name in _ETC:
            source = self._parts.directory(container.id) / name
            if source.exists() and f"/etc/{name}" not in taken:
                yield MountPoint(kind="bind", destination=f"/etc/{name}", source=str(source))


def _owner(root_fd: int, container: Container) -> tuple[int, int] | None:
    """The container's user, in its own files' words; None if it has none."""
    if not container.spec.user:
        return None
    user = resolve_user(root_fd, container.spec.user)
    return user.uid, user.gid


__all__ = ["CopyFailed", "Files", "FilesGone", "PathNotFound"]
