"""What a user does to a container's process: start, stop, restart, kill, pause, remove.

Each operation looks the container up, takes its lock for the change of state and never while
waiting for the process to end: the exit is settled under the same lock by the supervisor.
"""

import asyncio
import contextlib
from dataclasses import replace
from signal import SIGKILL

from pier.containers.attach import parse_detach_keys
from pier.containers.model import Container
from pier.containers.parts import Parts, log
from pier.containers.removal import RemovalInProgress, Remover
from pier.containers.signals import InvalidSignal, parse_signal
from pier.containers.spec import ContainerSpec
from pier.containers.state import Operation, State, next_state
from pier.containers.store import NoSuchContainer
from pier.containers.supervisor import Supervisor
from pier.containers.waiting import Condition, Waiter
from pier.errors import Conflict, Failed, NotModified, PierError, in_context
from pier.runtime.monitors import Monitor, MonitorLost
from pier.store.rows import DamagedRecord

SETTLE_PATIENCE_S = 2.0
"""How long who asks waits for an end that is known and not recorded yet."""
KILL_PATIENCE_S = 10.0
"""How long a SIGKILL may take to show before the daemon says so."""


class NotRunning(Conflict):
    def __init__(self, doing: str, container: Container) -> None:
        super().__init__(f"{doing}: container {container.id} is not running")


class MustStopFirst(Conflict):
    def __init__(self, name: str, state: State) -> None:
        if state is State.PAUSED:
            why = "container is paused and must be unpaused first"
        elif state is State.RESTARTING:
            why = "container is restarting: stop the container before removing or force remove"
        else:
            why = "container is running: stop the container before removing or force remove"
        super().__init__(f'cannot remove container "{name}": {why}')


class Lifecycle:
    def __init__(self, parts: Parts, supervisor: Supervisor, remover: Remover) -> None:
        self._parts = parts
        self._supervisor = supervisor
        self._remover = remover

    async def settled(self, name: str) -> Container:
        """The record of `name`; an end that is known is in it, unless recording it takes long.

        A client reads the last of the output before that is done, and asks for the code next.
        """
        container = self._parts.store.get(name)
        live = self._parts.live[container.id]
        over = live.monitor is None or live.monitor.over  # None: what it needed is taken down
        if container.state not in (State.RUNNING, State.PAUSED) or not over:
            return container
        waiter = live.waiters.add(Condition.NEXT_EXIT)
        try:
            await _ended(waiter, SETTLE_PATIENCE_S)
        finally:
            waiter.close()
        return self._parts.store.get(container.id)

    async def start(self, name: str, *, detach_keys: str = "") -> None:
        """Raises NotModified if it runs, Conflict if paused or being removed, RuntimeFailed."""
        parse_detach_keys(detach_keys)
        found = await self.settled(name)
        async with self._parts.live[found.id].lock:
            container = self._parts.store.get(found.id)
            if container.state is State.PAUSED:
                raise Conflict("cannot start a paused container, try unpause instead")
            if container.state in (State.REMOVING, State.DEAD):
                raise Conflict("container is marked for removal and cannot be started")
            if container.state is State.RESTARTING:
                raise NotModified(f"container {name} is restarting")
            next_state(container.name, container.state, Operation.START)
            await self._supervisor.start(container)

    async def stop(self, name: str, *, timeout_s: int | None, signal: str) -> None:
        """Signal, wait, SIGKILL. Raises NotModified if nothing runs. timeout_s < 0: no limit."""
        container = self._parts.store.get(name)
        if not container.state.active:
            raise NotModified(f"container {name} is not running")
        number = _signal_to(f"cannot stop container: {name}", signal or _stop_signal(container))
        patience_s = self._patience(container, timeout_s)
        await self._stop(container, number, patience_s)
        self._parts.announce(self._parts.store.find(container.id) or container, "stop")

    def _patience(self, container: Container, timeout_s: int | None) -> float | None:
        """Seconds until SIGKILL; None: for ever."""
        for asked in (timeout_s, container.spec.stop_timeout_s):
            if asked is not None:
                return None if asked < 0 else float(asked)
        return float(self._parts.defaults.stop_timeout_s)

    async def stop_all(self, timeout_s: int) -> None:
        """The machine goes down: all that runs is stopped, and comes back by its policy.

        timeout_s: until SIGKILL, more where a container asked for more; < 0: no limit.
        """
        async with asyncio.TaskGroup() as group:
            for container in self._parts.store.list_():
                if container.state.active:
                    group.create_task(self._stop_for_shutdown(container, timeout_s))

    async def _stop_for_shutdown(self, container: Container, timeout_s: int) -> None:
        own_s = container.spec.stop_timeout_s
        unlimited = timeout_s < 0 or (own_s is not None and own_s < 0)
        patience_s = None if unlimited else float(max(timeout_s, own_s or 0))
        number = parse_signal(_stop_signal(container))
        try:
            await self._stop(container, number, patience_s, by_user=False)
        except (PierError, OSError) as error:
            log.warning("container %s: not stopped: %s", container.id, error)

    async def _stop(
        self, container: Container, number: int, patience_s: float | None, *, by_user: bool = True
    ) -> None:
        self._call_off_restart(container, by_user=by_user)
        waiter = self._parts.live[container.id].waiters.add(Condition.NOT_RUNNING)
        try:
            if not self._runs(container.id):
                return
            await self._signal(container, number)
            if await _ended(waiter, patience_s):
                return
            await self._signal(container, SIGKILL)
            if not await _ended(waiter, KILL_PATIENCE_S):
                raise Failed(f"container {container.id}: did not end after SIGKILL")
        finally:
            waiter.close()

    def _runs(self, container_id: str) -> bool:
        container = self._parts.store.find(container_id)
        return container is not None and container.state in (State.RUNNING, State.PAUSED)

    def _call_off_restart(self, container: Container, *, by_user: bool) -> None:
        """The next exit is the last; a restart that is pending does not happen."""
        live = self._parts.live[container.id]
        live.exit_on_next = True
        live.retry.set()
        now = self._parts.store.find(container.id)
        if now is None:
            return
        state = State.EXITED if now.state is State.RESTARTING else now.state
        status = replace(now.status, stopped_by_user=by_user or now.status.stopped_by_user)
        self._parts.store.update(replace(now, state=state, status=status))

    async def restart(self, name: str, *, timeout_s: int | None, signal: str) -> None:
        """Stop, if it runs, and start. An --rm container survives the exit in between."""
        container = self._parts.store.get(name)
        live = self._parts.live[container.id]
        live.restarting_by_user = True
        try:
            if container.state.active:
                doing = f"Cannot restart container {name}"
                number = _signal_to(doing, signal or _stop_signal(container))
                await self._stop(container, number, self._patience(container, timeout_s))
                self._parts.announce(container, "stop")
            await self.start(container.id)
        finally:
            live.restarting_by_user = False
        self._parts.announce(self._parts.store.get(container.id), "restart")

    async def kill(self, name: str, signal: str) -> None:
        """Send a signal; SIGKILL (the default) also waits for the end. Raises NotRunning."""
        doing = f"cannot kill container: {name}"
        number = _signal_to(doing, signal or "SIGKILL")
        try:
            container = self._parts.store.get(name)
        except NoSuchContainer as error:
            raise in_context(error, doing) from error
        if not container.state.active:
            raise NotRunning(doing, container)
        if number == SIGKILL or self._ends_it(container, number):
            self._call_off_restart(container, by_user=True)
        if container.state is State.RESTARTING:
            return
        waiter = self._parts.live[container.id].waiters.add(Condition.NOT_RUNNING)
        try:
            await self._signal(container, number)
            if number == SIGKILL and not await _ended(waiter, KILL_PATIENCE_S):
                raise Failed(f"container {container.id}: did not end after SIGKILL")
        finally:
            waiter.close()

    def _ends_it(self, container: Container, number: int) -> bool:
        stop_signal = container.spec.stop_signal
        return not stop_signal or parse_signal(stop_signal) == number

    async def _signal(self, container: Container, number: int) -> None:
        """Deliver a signal, thawing a paused container so that it can act on it."""
        monitor = await self._monitor(container.id)
        if monitor is None:
            return
        try:
            await monitor.signal(number)
        except MonitorLost:
            return
        self._parts.announce(container, "kill", signal=str(int(number)))
        now = self._parts.store.find(container.id)
        if now is not None and now.state is State.PAUSED:
            await self.unpause(container.id)

    async def _monitor(self, container_id: str) -> Monitor | None:
        """None: its process has ended. It may be about to be adopted, after a restart."""
        live = self._parts.live[container_id]
        if live.monitor is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KILL_PATIENCE_S), live.lock:
                    pass
        return live.monitor

    async def pause(self, name: str) -> None:
        found = self._parts.store.get(name)
        async with self._parts.live[found.id].lock:
            container = self._parts.store.get(found.id)
            if container.state is State.PAUSED:
                raise Conflict(f"Container {container.id} is already paused")
            if container.state is State.RESTARTING:
                raise Conflict(
                    f"Container {container.id} is restarting, wait until the container is running"
                )
            if container.state is not State.RUNNING:
                raise Conflict(f"container {container.id} is not running")
            runtime = self._parts.runtime_of(container)
            await self._parts.runtimes.pause(runtime, container.id)
            try:
                self._parts.store.update(replace(container, state=State.PAUSED))
            except BaseException:  # no space left: nobody could stop what runs by its record
                await self._parts.runtimes.resume(runtime, container.id)
                raise
        self._parts.announce(container, "pause")

    async def unpause(self, name: str) -> None:
        found = self._parts.store.get(name)
        async with self._parts.live[found.id].lock:
            container = self._parts.store.get(found.id)
            if container.state is not State.PAUSED:
                raise Failed(f"Container {container.id} is not paused")
            await self._parts.runtimes.resume(self._parts.runtime_of(container), container.id)
            self._parts.store.update(replace(container, state=State.RUNNING))
        self._parts.announce(container, "unpause")

    async def remove(self, name: str, *, volumes: bool, force: bool) -> None:
        """Raises MustStopFirst unless `force`, RemovalInProgress if another is at it.

        One whose record cannot be read goes by force: it may run.
        """
        try:
            container = await self.settled(name)
        except DamagedRecord:
            if not force:
                raise
            await self._remove_damaged(self._parts.store.id_of(name))
            return
        if container.state is State.REMOVING:
            raise RemovalInProgress(name)
        if container.state.active:
            if not force:
                raise MustStopFirst(name, container.state)
            await self._stop(container, SIGKILL, KILL_PATIENCE_S)
        async with self._parts.live[container.id].lock:
            now = self._parts.store.find(container.id)
            if now is None:
                return  # --rm was quicker
            if now.state.active:
                raise MustStopFirst(name, now.state)
            await self._remover.remove(now, volumes=volumes)

    async def _remove_damaged(self, container_id: str) -> None:
        """What was asked is replaced by nothing. Its anonymous volumes stay: nobody knows them."""
        bare = Container(
            id=container_id, name="", image_id="", state=State.REMOVING, spec=ContainerSpec()
        )
        async with self._parts.live[container_id].lock:
            self._parts.store.update(bare)
            await self._supervisor.take_down(container_id)
            await self._remover.finish(bare)


async def _ended(waiter: Waiter, patience_s: float | None) -> bool:
    try:
        async with asyncio.timeout(patience_s):
            await waiter.result()
    except TimeoutError:
        return False
    return True


def _stop_signal(container: Container) -> str:
    return container.spec.stop_signal or "SIGTERM"


def _signal_to(doing: str, text: str) -> int:
    try:
        return parse_signal(text)
    except InvalidSignal as error:
        raise in_context(error, doing) from error
