"""After a daemon restart: every record is compared with the machine and put right.

`state.reconcile` decides, from the record, a living monitor and an exit file; here it is carried
out. Containers are restored one after another, and one that cannot be does not keep the others.
"""

from collections.abc import Callable
from dataclasses import replace

from pier.containers.commit import FROZEN_MARK
from pier.containers.connections import Connections
from pier.containers.model import Container
from pier.containers.parts import Parts, log
from pier.containers.placement import Placement
from pier.containers.removal import Remover
from pier.containers.state import Action, State, reconcile
from pier.containers.supervisor import Supervisor
from pier.errors import PierError
from pier.linux import cgroup
from pier.runtime.monitors import Monitor, adopt, read_exit


class Restorer:
    def __init__(
        self,
        parts: Parts,
        supervisor: Supervisor,
        remover: Remover,
        placement: Placement,
        connections: Connections,
        group_of: Callable[[Container], str],
    ) -> None:
        self._parts = parts
        self._group_of = group_of
        self._connections = connections
        self._placement = placement
        self._supervisor = supervisor
        self._remover = remover

    async def restore(self) -> None:
        """Before the first request is served. Restarts by policy come last, in the background."""
        for container in reversed(self._parts.store.list_()):
            try:
                await self._restore_one(container)
            except (PierError, OSError):
                log.exception("container %s: not restored", container.id)
        known = set(self._parts.store.ids())
        self._remover.sweep(known)
        await self._parts.networks.sweep(known)
        for container in reversed(self._parts.store.list_()):
            if wants_start(container):
                self._parts.store.update(replace(container, state=State.RESTARTING))
                self._parts.spawn(self._supervisor.restart_now(container.id))
            elif container.spec.host.auto_remove and not container.state.active:
                self._parts.spawn(self._remover.auto_remove(container.id))

    async def _restore_one(self, container: Container) -> None:
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
            case Action.SETTLE | Action.LOST:
                self._parts.live[container.id].monitor = monitor
                await self._supervisor.settle(container.id, ended or self._supervisor.lost())
            case Action.KILL | Action.SWEEP:
                self._parts.live[container.id].monitor = monitor
                await self._supervisor.take_down(container.id)
            case Action.FINISH_REMOVAL:
                self._parts.live[container.id].monitor = monitor
                await self._supervisor.take_down(container.id)
                await self._remover.finish(container)

    async def _adopt(self, container: Container, monitor: Monitor) -> None:
        container = self._agreeing(container)
        await self._parts.networks.adopt(container.id, container.status.pid)
        await self._connections.settle(container)
        await self._placement.hold_volumes(container)
        self._supervisor.supervise(container, monitor)

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
