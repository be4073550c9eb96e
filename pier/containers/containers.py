"""The operations on containers that the API calls: looked up, checked, done, announced.

Longer stories have modules of their own; what is here finds the container and tells them.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from pier.containers import top
from pier.containers.attach import Attachment, parse_detach_keys
from pier.containers.commit import Committer
from pier.containers.connections import Connections
from pier.containers.creation import Creation
from pier.containers.files import Files
from pier.containers.inputs import Inputs
from pier.containers.lifecycle import Lifecycle
from pier.containers.logs import Logs
from pier.containers.model import Container
from pier.containers.parts import Parts, snapshot_key
from pier.containers.requests import (
    AttachRequest,
    LogChunk,
    LogQuery,
    Stats,
    TopRows,
    WaitResult,
)
from pier.containers.state import State
from pier.containers.stats import read_stats
from pier.containers.update import Updater
from pier.containers.waiting import Condition, Waiter, Waiters, parse_condition
from pier.errors import Conflict, PierError
from pier.linux.mount import Overlay
from pier.linux.trees import tree_size
from pier.runtime.orders import AttachOptions
from pier.store.snapshots import SnapshotNotFound


@dataclass(frozen=True, slots=True)
class Pruned:
    ids: Sequence[str]
    bytes_reclaimed: int


class Containers:
    """`get` and `list_` never touch a container's processes or files: one that is stuck cannot
    hold up the others.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        creation: Creation,
        lifecycle: Lifecycle,
        connections: Connections,
        updater: Updater,
        files: Files,
        committer: Committer,
        logs: Logs,
        inputs: Inputs,
    ) -> None:
        self._parts = parts
        self._lifecycle = lifecycle
        self._connections = connections
        self._logs = logs
        self._inputs = inputs
        self.create = creation.create
        self.settled = lifecycle.settled
        self.start = lifecycle.start
        self.restart = lifecycle.restart
        self.stop = lifecycle.stop
        self.stop_all = lifecycle.stop_all
        self.kill = lifecycle.kill
        self.pause = lifecycle.pause
        self.unpause = lifecycle.unpause
        self.connect = connections.connect
        self.disconnect = connections.disconnect
        self.rename = connections.rename
        self.update = updater.update
        self.files = files
        self.commit = committer.commit

    def get(self, name: str) -> Container:
        """By ID, name or unique prefix. Raises NoSuchContainer, AmbiguousPrefix."""
        return self._parts.store.get(name)

    def list_(self) -> list[Container]:
        """All, newest first."""
        return self._parts.store.list_()

    def known(self) -> list[Container]:
        """As `list_`, by what is in memory; for any thread, also while the database hangs."""
        return self._parts.store.known()

    async def remove(self, name: str, *, volumes: bool, force: bool, link: bool) -> None:
        if link:
            await self._connections.remove_link(name)
            return
        await self._lifecycle.remove(name, volumes=volumes, force=force)

    def overlay(self, container_id: str) -> Overlay | None:
        container = self._parts.store.find(container_id)
        return None if container is None else self._parts.overlay(container)

    async def usage(self, container_id: str) -> tuple[int, int]:
        """Bytes in the writable layer, and with the image's. Counts files, in a thread.

        A layer that is lost has none: its container is listed and pruned like the others.
        """
        container = self._parts.store.get(container_id)
        image = self._parts.images.find(container.image_id)
        own = 0
        with contextlib.suppress(SnapshotNotFound):
            directory = self._parts.snapshotter.directory(snapshot_key(container.id))
            own = await asyncio.to_thread(tree_size, directory)
        return own, own + (image.size if image else 0)

    def wait(self, name: str, condition: str) -> Waiter:
        """Registered when this returns; see `waiting`.

        Who waited when an earlier daemon ended asks this one again, maybe after `--rm`.
        """
        departed = self._parts.live.find_departed(name)
        if departed is not None:
            gone = Waiters().add(parse_condition(condition))
            gone.resolve(WaitResult(status_code=departed))
            return gone
        container = self._parts.store.get(name)
        live = self._parts.live[container.id]
        waiter = live.waiters.add(parse_condition(condition))
        ended = container.state in (State.CREATED, State.EXITED, State.DEAD)
        if waiter.condition is Condition.NOT_RUNNING and ended:
            waiter.resolve(WaitResult(status_code=container.status.exit_code))
        return waiter

    async def attach(self, name: str, request: AttachRequest) -> Attachment:
        """Raises NotFound, or Conflict where the container cannot be attached to."""
        container = self._parts.store.get(name)
        if container.state is State.PAUSED:
            raise Conflict(
                f"Container {container.id} is paused. Unpause the container before attach"
            )
        if container.state is State.RESTARTING:
            raise Conflict(
                f"Container {container.id} is restarting. Wait until the container is running"
            )
        parse_detach_keys(request.detach_keys)  # refused even where there is no terminal
        query = LogQuery(stdout=request.stdout, stderr=request.stderr)

        async def history() -> AsyncIterator[LogChunk]:
            return await self.logs(container.id, query)

        async def connect(sock: socket.socket, options: AttachOptions) -> None:
            await self._connect_client(container.id, sock, options)

        self._parts.announce(container, "attach")
        return Attachment(request, container.spec.tty, history, connect)

    async def _connect_client(
        self, container_id: str, sock: socket.socket, options: AttachOptions
    ) -> None:
        """To the monitor, or into the queue of those who wait for the start."""
        live = self._parts.live[container_id]
        container = self._parts.store.find(container_id)
        if live.monitor is not None:
            await live.monitor.attach(sock, options)
        elif container is not None and not container.state.active:
            live.clients.add(sock, options)

    async def resize(self, name: str, height: int, width: int) -> None:
        container = self._parts.store.get(name)
        monitor = self._parts.live[container.id].monitor
        if monitor is None:
            raise Conflict(f"container {container.id} is not running")
        await monitor.resize(height, width)
        self._parts.announce(container, "resize", height=str(height), width=str(width))

    async def top(self, name: str, ps_args: str) -> TopRows:
        container = self._running(name)
        rows = await top.top(container, ps_args)
        self._parts.announce(container, "top")
        return rows

    async def logs(self, name: str, query: LogQuery) -> AsyncIterator[LogChunk]:
        return await self._logs.read(self._parts.store.get(name), query)

    async def stats(self, name: str) -> Stats | None:
        """One sample, or None while nothing runs."""
        container = self._parts.store.get(name)
        if container.state not in (State.RUNNING, State.PAUSED):
            return None
        return await asyncio.to_thread(
            read_stats,
            self._inputs.cgroups_path(container),
            container.status.pid,
            networks=container.spec.host.network_mode != "host",
        )

    async def prune(
        self, *, until_ns: int, labels: Sequence[str], not_labels: Sequence[str]
    ) -> Pruned:
        """Remove what does not run, as far as it is older and has (not) these labels."""
        ids: list[str] = []
        reclaimed = 0
        for container in self.list_():
            if not _prunable(container, until_ns, labels, not_labels):
                continue
            try:
                size = (await self.usage(container.id))[0]
                await self._lifecycle.remove(container.id, volumes=False, force=False)
            except PierError:
                continue  # somebody started or removed it meanwhile
            ids.append(container.id)
            reclaimed += size
        self._parts.events.publish("container", "prune", "", {"reclaimed": str(reclaimed)})
        return Pruned(ids, reclaimed)

    def _running(self, name: str) -> Container:
        container = self._parts.store.get(name)
        if container.state not in (State.RUNNING, State.PAUSED):
            raise Conflict(f"container {container.id} is not running")
        return container


def _prunable(
    container: Container, until_ns: int, labels: Sequence[str], not_labels: Sequence[str]
) -> bool:
    own = container.spec.labels
    if container.state.active or container.state is State.REMOVING:
        return False
    if until_ns and container.created_ns >= until_ns:
        return False
    return all(has_label(own, label) for label in labels) and not any(
        has_label(own, label) for label in not_labels
    )


def has_label(labels: Mapping[str, str], wanted: str) -> bool:
    """`wanted` is "key" or "key=value"."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)
