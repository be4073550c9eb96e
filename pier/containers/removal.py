"""Removing a container: its row first, then its files.

A daemon killed in between leaves a directory without a row, which the next start sweeps.
"""

import asyncio
import shutil
from collections.abc import Collection
from dataclasses import replace

from pier.containers.model import Container
from pier.containers.parts import Parts, log, snapshot_key
from pier.containers.requests import WaitResult
from pier.containers.state import State
from pier.errors import Conflict, PierError


class RemovalInProgress(Conflict):
    def __init__(self, name: str) -> None:
        super().__init__(f"removal of container {name} is already in progress")


class Remover:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def remove(self, container: Container, *, volumes: bool) -> None:
        """Remove a container without a process. The caller holds its lock."""
        if container.state is State.REMOVING:
            raise RemovalInProgress(container.name)
        if not volumes:
            # A removal that a crash cuts short is finished by what the record says.
            kept = tuple(replace(mount, anonymous=False) for mount in container.mounts)
            container = replace(container, mounts=kept)
        self._parts.store.update(replace(container, state=State.REMOVING))
        await self.finish(container)

    async def finish(self, container: Container) -> None:
        """The part that may be repeated: a removal a crash cut short ends here too.

        Anonymous volumes go with it; mounts of those that are to stay do not call them so.
        """
        parts = self._parts
        parts.live.depart(container.id, container.status.exit_code)
        parts.store.delete(container.id)
        await asyncio.to_thread(shutil.rmtree, parts.directory(container.id), ignore_errors=True)
        await self._remove_snapshot(container.id)
        await self._remove_anonymous_volumes(container)
        live = parts.live[container.id]
        live.clients.close()
        parts.live.drop(container.id)
        parts.announce(container, "destroy")
        live.waiters.removed(WaitResult(status_code=container.status.exit_code))

    async def auto_remove(self, container_id: str) -> None:
        """`--rm`: remove after the exit, with the anonymous volumes, unless somebody else did."""
        async with self._parts.live[container_id].lock:
            container = self._parts.store.find(container_id)
            if container is None or container.state is State.REMOVING or container.state.active:
                return
            await self.remove(container, volumes=True)

    async def _remove_snapshot(self, container_id: str) -> None:
        self._parts.snapshotter.remove(snapshot_key(container_id))

    def sweep(self, known: Collection[str]) -> None:
        """At start: remove directories, bundles and snapshots of containers without a row.

        What cannot be looked through (no descriptors are left) is left to the next start.
        """
        for parent in (self._parts.directory(""), self._parts.bundle("")):
            try:
                left = [path for path in parent.iterdir() if path.name not in known]
            except FileNotFoundError:
                continue
            except OSError:
                log.exception("%s: nothing was removed", parent)
                continue
            for path in left:
                log.info("removing what is left of container %s", path.name)
                shutil.rmtree(path, ignore_errors=True)
        for key in self._parts.snapshotter.list_keys(snapshot_key("")):
            if key.removeprefix(snapshot_key("")) not in known:
                self._parts.snapshotter.remove(key)

    async def _remove_anonymous_volumes(self, container: Container) -> None:
        for mount in container.mounts:
            if mount.kind != "volume" or not mount.anonymous:
                continue
            try:
                await self._parts.volumes.remove(mount.name)
            except PierError as error:
                log.info("container %s: volume stays: %s", container.id, error)
