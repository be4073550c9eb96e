"""After a daemon restart: every record is compared with the machine and put right.

`state.reconcile` decides, from the record, a living monitor and an exit file; here it is carried
out. Containers are restored one after another, and one that cannot be, or not soon, does not keep
the others: it is tried again in the background, for a container that nobody watches would be
"running" for ever.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from pier.containers.commit import FROZEN_MARK
from pier.containers.connections import Connections
from pier.containers.exec import Execs
from pier.containers.launch import check_descriptors
from pier.containers.model import Container
from pier.containers.parts import Parts, log, snapshot_key
from pier.containers.placement import Placement
from pier.containers.removal import Remover
from pier.containers.state import Action, State, reconcile
from pier.containers.supervisor import Supervisor
from pier.containers.waiting import set_within
from pier.errors import PierError
from pier.linux import cgroup
from pier.runtime.monitors import Monitor, adopt, read_exit

PATIENCE_S = 5.0
"""How long one container may keep the others waiting: its monitor or its process may be stuck."""
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0


class Restorer:
    def __init__(
        self,
        parts: Parts,
        supervisor: Supervisor,
        remover: Remover,
        placement: Placement,
        connections: Connections,
        execs: Execs,
        group_of: Callable[[Container], str],
    ) -> None:
        self._parts = parts
        self._group_of = group_of
        self._connections = connections
        self._execs = execs
        self._placement = placement
        self._supervisor = supervisor
        self._remover = remover

    async def restore(self) -> None:
        """Before the first request is served. Restarts by policy come last, in the background."""
        for container in reversed(self._parts.store.list_()):
            done = asyncio.Event()
            self._parts.spawn(self._persist(container.id, done))
            if not await set_within(done, PATIENCE_S):
                log.warning("container %s: not restored yet; the others go on", container.id)
        for container in self._parts.store.list_():
            with _logged(container, "its files are not looked at"):
                await self._mend_files(container)
        known = set(self._parts.store.ids())
        self._remover.sweep(known)
        await self._parts.networks.sweep(known)
        for container in reversed(self._parts.store.list_()):
            try:
                self._go_on(container)
            except Exception:
                log.exception("container %s: not started again", container.id)

    async def _persist(self, container_id: str, done: asyncio.Event) -> None:
        """Restore one container, again and again; `done` after the first attempt."""
        delay_s = FIRST_RETRY_S
        while (container := self._parts.store.find(container_id)) is not None:
            try:
                await self._restore_one(container)
                return
            except PierError as error:
                log.warning("container %s: not restored: %s", container_id, error)
            except Exception:
                log.exception("container %s: not restored", container_id)
            finally:
                done.set()
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, LONGEST_RETRY_S)

    def _go_on(self, container: Container) -> None:
        """What its policy has in store for a container that is not running."""
        if wants_start(container):
            self._parts.store.update(replace(container, state=State.RESTARTING))
            self._parts.spawn(self._supervisor.restart_now(container.id))
        elif container.spec.host.auto_remove and not container.state.active:
            self._parts.spawn(self._remover.auto_remove(container.id))

    async def _mend_files(self, container: Container) -> None:
        """A loss of power may bring back the record of a removed container, or take new files."""
        directory = self._parts.directory(container.id)
        if directory.is_dir() or self._parts.live[container.id].lock.locked():
            return
        files = self._parts.snapshotter.directory(snapshot_key(container.id))
        if container.state.active or any(files.iterdir()):
            log.warning("container %s: its log and its files in /etc were lost", container.id)
            directory.mkdir(mode=0o710)
            return
        log.warning("container %s: its files are gone; it is removed", container.id)
        async with self._parts.live[container.id].lock:
            await self._remover.remove(container, volumes=False)

    async def _restore_one(self, container: Container) -> None:
        check_descriptors()
        live = self._parts.live[container.id]
        live.adopted = True
        async with live.lock:
            bundle = self._parts.bundle(container.id)
            monitor = await adopt(bundle)
            ended = read_exit(bundle)
            alive = monitor is not None and ended is None
            action = reconcile(container.state, alive=alive, exit_recorded=ended is not None)
            log.debug("container %s: %s", container.id, action.value)
            match action:
                case Action.ADOPT:
                    assert monitor is not None
                    await self._adopt(container, monitor)
                case Action.KILL | Action.SWEEP:
                    live.monitor = monitor
                    await self._supervisor.take_down(container.id)
                case Action.FINISH_REMOVAL:
                    live.monitor = monitor
                    await self._supervisor.take_down(container.id)
                    await self._remover.finish(container)
        if container.state in (State.RUNNING, State.PAUSED):
            with _logged(container, "its execs are not known"):
                await self._execs.restore(container)
        if action in (Action.SETTLE, Action.LOST):
            live.monitor = monitor
            await self._supervisor.settle(container.id, ended or self._supervisor.lost())

    async def _adopt(self, container: Container, monitor: Monitor) -> None:
        """Supervise it, whatever else cannot be taken in hand again.

        Where the process has ended and its monitor still reads what children of it write, the
        exit is settled like any other; its pid may be somebody else's by now.
        """
        if not monitor.over:
            container = await self._taken_in_hand(container, monitor)
        self._supervisor.supervise(container, monitor)
        self._parts.hold_names(container.id)

    async def _taken_in_hand(self, container: Container, monitor: Monitor) -> Container:
        with _logged(container, "frozen or not is not known"):
            container = self._agreeing(container)
        with _logged(container, "its network is not taken in hand again"):
            await self._adopt_networks(container, await monitor.kept())
        with _logged(container, "its networks may not be those of its record"):
            await self._connections.settle(container)
        with _logged(container, "its volumes are not known to be in use"):
            await self._placement.hold_volumes(container)
        return container

    async def _adopt_networks(self, container: Container, name_sockets: Sequence[int]) -> None:
        try:
            await self._parts.networks.adopt(container.id, container.status.pid, name_sockets)
        finally:
            for fd in name_sockets:
                os.close(fd)

    def _agreeing(self, container: Container) -> Container:
        """Pause and unpause change the control group first: what was never told is undone.

        A process that is frozen though its record says that it runs could not even be killed.
        """
        group = self._group_of(container)
        mark = self._parts.bundle(container.id) / FROZEN_MARK
        if container.state is State.RUNNING or mark.exists():
            cgroup.thaw(group)
            mark.unlink(missing_ok=True)
        if container.state is State.PAUSED and not cgroup.frozen(group):
            container = replace(container, state=State.RUNNING)
            self._parts.store.update(container)
        return container


@contextlib.contextmanager
def _logged(container: Container, what: str) -> Iterator[None]:
    """The block may fail: the container is to be supervised all the same."""
    try:
        yield
    except Exception:
        log.exception("container %s: %s", container.id, what)


def wants_start(container: Container) -> bool:
    """Whether its restart policy has it run again now that the daemon is back."""
    policy, status = container.spec.host.restart, container.status
    if container.state is State.RESTARTING:
        return True
    if container.state is not State.EXITED or not status.started_ns:
        return False
    match policy.name:
        case "always":
            return True
        case "unless-stopped":
            return not status.stopped_by_user
        case "on-failure":
            tries_left = not policy.max_retries or status.restart_count < policy.max_retries
            return status.exit_code != 0 and tries_left
    return False
