"""What the operations on containers work with: made by the engine, handed to each of them."""

import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pier.containers.live import LiveContainers
from pier.containers.model import Container
from pier.containers.spec import LogSpec, Ulimit
from pier.containers.store import ContainerStore
from pier.events import Events
from pier.images.store import Images
from pier.linux.mount import Overlay
from pier.networks.networks import Networks
from pier.runtime.oci_runtime import Runtimes
from pier.runtime.orders import RuntimeInfo
from pier.runtime.spawners import Spawner
from pier.store.database import Database
from pier.store.snapshots import Snapshotter
from pier.volumes import Volumes

log = logging.getLogger("pier.containers")

Spawn = Callable[[Coroutine[Any, Any, None]], object]  # a coroutine's other types mean nothing here
"""Starts a task in the engine's group; what it raises is logged, and ends nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What the daemon's settings say where a container's spec says nothing."""

    log: LogSpec
    shm_bytes: int
    stop_timeout_s: int
    runtime: str
    cgroup_parent: str
    cgroupns_mode: str
    ipc_mode: str
    init: bool = False
    init_path: str = ""
    no_new_privileges: bool = False
    seccomp_profile: str = "builtin"
    """builtin, unconfined, or the JSON of a profile."""
    ulimits: Mapping[str, Ulimit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    database: Database
    store: ContainerStore
    live: LiveContainers
    images: Images
    snapshotter: Snapshotter
    networks: Networks
    volumes: Volumes
    runtimes: Runtimes
    spawner: Spawner
    events: Events
    defaults: Defaults
    spawn: Spawn
    directory: Callable[[str], Path]
    """A container's directory below the data root: log, hosts, resolv.conf, hostname."""
    bundle: Callable[[str], Path]
    """A container's directory below the exec root."""
    shm: Callable[[str], Path]
    """Where the /dev/shm of a container that shares it is mounted."""
    mounts: Callable[[str], Path]
    """Where what a container mounts is made ready: parts of volumes, images."""
    stubs: Path
    """The lowest layer of every root file system: mount points and empty files; see `stubs`."""
    clock_ns: Callable[[], int] = time.time_ns

    def announce(self, container: Container, action: str, **attributes: str) -> None:
        """Publish a container event with the attributes Docker gives every one of them."""
        everything = {
            **container.spec.labels,
            "image": container.spec.image,
            "name": container.name,
            **attributes,
        }
        self.events.publish("container", action, container.id, everything)

    def hold_names(self, container_id: str) -> None:
        """Have a container's monitor hold its DNS's sockets: questions wait for the next daemon."""
        monitor = self.live[container_id].monitor
        sockets = self.networks.name_sockets(container_id)
        if monitor is not None and sockets:
            monitor.keep(sockets)

    def overlay(self, container: Container, *, volatile: bool = False) -> Overlay:
        """The container's root file system, stubs included."""
        layers = self.snapshotter.overlay(snapshot_key(container.id), volatile=volatile)
        return layers._replace(lower=(*layers.lower, str(self.stubs)))

    def image_overlays(self, container: Container) -> Mapping[str, Overlay]:
        """The images it mounts, by their IDs.

        Raises NoSuchImage, SnapshotNotFound. On the event loop, where the database is.
        """
        found = {}
        for point in container.mounts:
            if point.kind == "image":
                chain_id = point.chain_id or self.images.get(point.source).chain_id
                chain = self.snapshotter.chain(chain_id)
                found[point.source] = Overlay(tuple(str(path) for path in chain))
        return found

    def runtime_of(self, container: Container) -> RuntimeInfo:
        return self.runtimes.get(container.spec.host.runtime or self.defaults.runtime)


def snapshot_key(container_id: str) -> str:
    return f"container/{container_id}"
