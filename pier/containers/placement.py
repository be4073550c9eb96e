"""A container's mounts through its life: decided at create, ready at start, let go at exit."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

from pier.containers import mounts
from pier.containers.binds import InvalidMount, mount_points, volumes_from_names
from pier.containers.model import Container, MountPoint
from pier.containers.parts import Parts
from pier.containers.spec import ContainerSpec
from pier.errors import NotSupported, PierError


class Placement:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def decide(self, spec: ContainerSpec) -> tuple[MountPoint, ...]:
        """The mount points of a new container; its volumes exist afterwards.

        Raises InvalidArgument for what cannot be mounted, NotFound for a container of
        `volumes_from` that is not there.
        """
        others = {
            name: self._parts.store.get(name) for name in volumes_from_names(spec.host.volumes_from)
        }
        points = mount_points(
            spec, others, exists=lambda path: Path(path).exists(), new_name=lambda: token_hex(32)
        )
        requests = {request.target: request for request in spec.host.mounts}
        placed: list[MountPoint] = []
        try:
            for point in points:
                if point.kind == "image":
                    raise NotSupported("image mounts are not supported by Pier yet")
                asked = requests.get(point.destination)
                labels = dict(asked.volume_labels) if asked else {}
                options = dict(asked.volume_options) if asked else {}
                placed.append(self._with_volume(point, labels, options))
        except PierError:
            await self._remove_new(placed)
            raise
        return tuple(placed)

    def _with_volume(
        self, point: MountPoint, labels: dict[str, str], options: dict[str, str]
    ) -> MountPoint:
        if point.kind != "volume" or point.source:
            return point
        volumes = self._parts.volumes
        if point.anonymous and volumes.find(point.name) is None:
            volume = volumes.create_anonymous(point.name, labels=labels, options=options)
        else:
            volume = volumes.create(point.name, driver=point.driver, labels=labels, options=options)
        return replace(point, source=str(volume.mountpoint))

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
        """Everything ready on the host. Raises InvalidMount for a source that is gone."""
        for point in container.mounts:
            if point.kind == "volume":
                await self._parts.volumes.mount(point.name, container.id)
            elif point.kind == "bind":
                _prepare_bind(point)

    async def unmount(self, container_id: str) -> None:
        container = self._parts.store.find(container_id)
        for point in container.mounts if container else ():
            if point.kind == "volume":
                await self._parts.volumes.unmount(point.name, container_id)

    def with_sources(self, container: Container) -> tuple[MountPoint, ...]:
        """The mount points with the host paths the runtime binds: subpaths resolved."""
        return tuple(mounts.with_source(point) for point in container.mounts)

    def copy_up(self, root_fd: int, points: Sequence[MountPoint]) -> None:
        """Fill volumes that are empty with what the image has at their place. Blocks."""
        for point in points:
            mounts.copy_up(root_fd, point.destination, Path(point.source))


def _prepare_bind(point: MountPoint) -> None:
    source = Path(point.source)
    if source.exists() or source.is_symlink():
        return
    if not point.create_source:
        raise InvalidMount("bind", f"bind source path does not exist: {point.source}")
    source.mkdir(parents=True, exist_ok=True)
