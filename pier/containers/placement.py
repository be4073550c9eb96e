"""A container's mounts through its life: decided at create, ready at start, let go at exit."""

import asyncio
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from secrets import token_hex

from pier.containers import mounts
from pier.containers.binds import DEFAULT_PROPAGATION, LOCAL, mount_points, volumes_from_names
from pier.containers.daemon_root import RSLAVE, holds
from pier.containers.model import Container, MountPoint
from pier.containers.parts import Parts
from pier.containers.spec import ContainerSpec
from pier.errors import InvalidArgument, PierError
from pier.threads import Bulkhead
from pier.volumes import Volume

_THREADS = Bulkhead("looks at what containers mount", most=256)
"""A path of the host may be on a file system that hangs."""


class EmptyImage(InvalidArgument):
    def __init__(self, name: str) -> None:
        super().__init__(
            f'invalid mount config for type "image": image {name} has no layers to mount'
        )


class Placement:
    def __init__(self, parts: Parts, daemon_root: str) -> None:
        self._parts = parts
        self._daemon_root = daemon_root

    async def decide(
        self, spec: ContainerSpec, of_image: Collection[str], there: Collection[str]
    ) -> tuple[MountPoint, ...]:
        """The mount points of a new container; its volumes exist afterwards.

        of_image: those of its `volumes` only the image asks for. there: see `existing`. Raises
        InvalidArgument for what cannot be mounted, NotFound for an image that is not here.
        """
        others = {
            name: self._parts.store.get_other(name)
            for name in volumes_from_names(spec.host.volumes_from)
        }
        points = mount_points(
            spec,
            others,
            exists=there.__contains__,
            new_name=lambda: token_hex(32),
            daemon_root=self._daemon_root,
            of_image=of_image,
        )
        requests = {request.target: request for request in spec.host.mounts}
        placed: list[MountPoint] = []
        try:
            for point in points:
                if point.kind == "image":
                    placed.append(self._with_image(point))
                    continue
                asked = requests.get(point.destination)
                labels = dict(asked.volume_labels) if asked else {}
                options = dict(asked.volume_options) if asked else {}
                placed.append(self._with_volume(point, labels, options))
        except PierError:
            await self._remove_new(placed)
            raise
        return tuple(placed)

    def _with_image(self, point: MountPoint) -> MountPoint:
        """Whatever its name comes to mean, the container keeps this image."""
        image = self._parts.images.get(point.source)
        if not image.chain_id:
            raise EmptyImage(point.source)
        name = point.name or point.source
        return replace(point, source=image.id, name=name, chain_id=image.chain_id)

    def _with_volume(
        self, point: MountPoint, labels: dict[str, str], options: dict[str, str]
    ) -> MountPoint:
        if point.kind != "volume" or point.source:
            return point
        volumes = self._parts.volumes
        if point.anonymous and point.driver == LOCAL and volumes.find(point.name) is None:
            volume = volumes.create_anonymous(point.name, labels=labels, options=options)
        else:
            volume = self._named_volume(point, labels, options)
        return replace(point, source=str(volume.mountpoint))

    def _named_volume(
        self, point: MountPoint, labels: dict[str, str], options: dict[str, str]
    ) -> Volume:
        return self._parts.volumes.create(
            point.name, driver=point.driver, labels=labels, options=options
        )

    async def forget(self, container: Container) -> None:
        """The container was not made after all: its anonymous volumes go again."""
        await self._remove_new(container.mounts)

    async def _remove_new(self, points: Sequence[MountPoint]) -> None:
        for point in points:
            if (
                point.kind == "volume"
                and point.anonymous
                and not self._parts.volumes.users(point.name)
            ):
                await self._parts.volumes.remove(point.name, force=True)

    async def mount(self, container: Container) -> None:
        """Everything ready on the host. Raises BindSourceMissing and its like."""
        await self.hold_volumes(container)
        for point in container.mounts:
            if point.kind == "volume":
                self._tell(
                    point,
                    "mount",
                    container=container.id,
                    destination=point.destination,
                    propagation=point.propagation,
                    **{"read/write": str(point.writable).lower()},
                )
        directory = self._parts.mounts(container.id)
        overlay_of = self._parts.image_overlays(container).__getitem__
        if points := self._carried_out(container):
            await _THREADS.run(lambda: mounts.prepare(points, directory, overlay_of))

    async def hold_volumes(self, container: Container) -> None:
        """Count a container that runs among its volumes' users; also after a daemon restart."""
        for point in container.mounts:
            if point.kind == "volume":
                await self._parts.volumes.mount(point.name, container.id)

    def _tell(self, point: MountPoint, action: str, **attributes: str) -> None:
        self._parts.events.publish(
            "volume", action, point.name, {"driver": point.driver, **attributes}
        )

    async def unmount(self, container_id: str) -> None:
        await asyncio.to_thread(mounts.release, self._parts.mounts(container_id))
        container = self._parts.store.find(container_id)
        for point in container.mounts if container else ():
            if point.kind != "volume":
                continue
            if await self._parts.volumes.unmount(point.name, container_id):
                self._tell(point, "unmount", container=container_id)

    async def with_sources(self, container: Container) -> tuple[MountPoint, ...]:
        """The mount points with the host paths the runtime binds."""
        if not container.mounts:
            return ()
        points = mounts.with_sources(self._carried_out(container), self._parts.mounts(container.id))
        return await _THREADS.run(lambda: tuple(_as_it_is(point) for point in points))

    def _carried_out(self, container: Container) -> list[MountPoint]:
        """Its mounts; rslave of the daemon's root, a default, is left out where nothing travels."""
        return [
            replace(point, propagation=DEFAULT_PROPAGATION)
            if point.propagation == RSLAVE
            and holds(point.source, self._daemon_root)
            and not _travels(point)
            else point
            for point in container.mounts
        ]


def _travels(point: MountPoint) -> bool:
    try:
        mounts.check_propagation(point)
    except mounts.NotPropagated:
        return False
    return True


async def existing(spec: ContainerSpec) -> Collection[str]:
    """The host paths among what `spec` binds; in a thread: a server may not answer."""
    paths = [request.source for request in spec.host.mounts if request.kind == "bind"]
    if not paths:
        return ()
    return await _THREADS.run(lambda: {path for path in paths if os.path.exists(path)})  # noqa: PTH110 - never raises


def _as_it_is(point: MountPoint) -> MountPoint:
    """Nothing is mounted below a file; crun 1.8 fails to make one read-only recursively."""
    if point.kind == "tmpfs" or os.path.isdir(point.source):  # noqa: PTH112 - never raises
        return point
    return replace(point, readonly_non_recursive=True)
