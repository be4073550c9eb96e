"""Collecting what an answer about a container needs from the engine's parts."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from pier.api.call import Engine
from pier.api.schema.containers import Defaults, Graph, Port, View
from pier.api.schema.endpoints import EndpointSettings, from_endpoint
from pier.api.schema.networks import live_settings
from pier.containers.model import Container
from pier.containers.spec import EndpointSpec
from pier.containers.state import State
from pier.containers.store import link_names
from pier.errors import NotFound, PierError


class Views:
    """Views of containers, for one answer: what several share is looked up once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._images: dict[str, str] = {}
        self._linked: dict[str, list[str]] | None = None
        self._networks = {network.name: network.id for network in engine.networks.list_()}

    def view(self, container: Container) -> View:
        """What a list shows. No process and no file system is touched."""
        return View(
            container=container,
            endpoints=self.endpoints(container),
            ports=self._ports(container),
            image_name=self._image_name(container),
            links=tuple(self._links(container)),
            names=tuple(self._names(container)),
        )

    def _names(self, container: Container) -> list[str]:
        """Its own, and those by which containers that are linked to it know it."""
        if self._linked is None:
            self._linked = defaultdict(list)
            for user in self._engine.containers.list_():
                for alias, other_id in link_names(user).items():
                    self._linked[other_id].append(f"/{user.name}/{alias}")
        return sorted([f"/{container.name}", *self._linked.get(container.id, ())])

    def _links(self, container: Container) -> Iterator[str]:
        """Kept by ID, shown by name; one to a container that is gone, or damaged, is not shown."""
        for text in container.spec.host.links:
            other_id, _, alias = text.partition(":")
            with contextlib.suppress(PierError):
                other = self._engine.containers.get(other_id)
                yield f"/{other.name}:/{container.name}/{alias}"

    def endpoints(self, container: Container) -> Mapping[str, EndpointSettings]:
        """By network name: those it has while it runs, and those it asked for."""
        asked = container.spec.endpoints
        live = {
            endpoint.network.name: live_settings(
                asked.get(endpoint.network.name, EndpointSpec()), endpoint
            )
            for endpoint in self._engine.networks.endpoints(container.id)
        }
        waiting = {
            name: self._waiting(container, name, settings)
            for name, settings in asked.items()
            if name not in live
        }
        return live | waiting

    def _waiting(self, container: Container, name: str, spec: EndpointSpec) -> EndpointSettings:
        settings = from_endpoint(spec)
        if container.state is not State.CREATED:  # as in Docker: known from the first start on
            settings.network_id = self._networks.get(name, "")
        return settings

    def _ports(self, container: Container) -> Sequence[Port]:
        return [
            Port(
                port=published.port,
                protocol=published.protocol,
                host_ip=published.host_ip,
                host_port=published.host_port,
            )
            for published in self._engine.networks.published(container.id)
        ]

    def _image_name(self, container: Container) -> str:
        """The name asked for, while it still means the same image; else the image's ID."""
        asked = container.spec.image
        if asked not in self._images:
            image = self._engine.images.find(asked)
            self._images[asked] = image.id if image else ""
        same = self._images[asked] == container.image_id
        return asked if same else container.image_id


async def sizes(engine: Engine, container: Container) -> tuple[int, int]:
    """Bytes of the writable layer, and of the whole root file system. Walks directories."""
    rw, root_fs = await engine.containers.usage(container.id)
    return int(rw), int(root_fs)


def graph(engine: Engine, container: Container) -> Graph | None:
    """Where the layers are; None when the snapshot is gone."""
    try:
        overlay = engine.containers.overlay(container.id)
    except NotFound:
        return None
    if overlay is None:
        return None
    merged = f"{engine.paths.bundle(container.id)}/rootfs"
    return Graph(
        data={
            "ID": container.id,
            "LowerDir": ":".join(overlay.lower),
            "MergedDir": merged if container.state.active else "",
            "UpperDir": overlay.upper,
            "WorkDir": overlay.work,
        }
    )


def _defaults(engine: Engine) -> Defaults:
    settings = getattr(engine, "settings", None)
    return Defaults(
        runtime=engine.default_runtime,
        ipc_mode=getattr(settings, "default_ipc_mode", "") or "private",
        cgroupns_mode=getattr(settings, "default_cgroupns_mode", "") or "host",
    )


async def full_view(engine: Engine, container: Container, *, size: bool) -> View:
    """What inspect shows."""
    plain = Views(engine).view(container)
    rw, root_fs = await sizes(engine, container) if size else (None, None)
    pid = container.status.pid
    return View(
        container=container,
        endpoints=plain.endpoints,
        ports=plain.ports,
        links=plain.links,
        image_name=plain.image_name,
        directory=str(engine.paths.container(container.id)),
        exec_ids=engine.execs.list_ids(container.id),
        graph=graph(engine, container),
        size_rw=rw,
        size_root_fs=root_fs,
        defaults=_defaults(engine),
        sandbox_path=f"/proc/{pid}/ns/net" if container.state.active and pid else "",
    )
