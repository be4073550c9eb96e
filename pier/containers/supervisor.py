"""From start to exit: brings a container up, watches its monitor, settles the exit.

The record says RUNNING only after the process runs; that update is the commit point of a start.
An exit is settled under the container's lock: everything is taken down, the exit recorded, the
restart decided; only then do those who wait hear of it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from pier.containers import state
from pier.containers.health import Prober
from pier.containers.launch import Launch, Step, bring_up, take_down
from pier.containers.live import Live
from pier.containers.model import Container, Health
from pier.containers.parts import Parts, log
from pier.containers.removal import Remover
from pier.containers.requests import WaitResult
from pier.containers.state import Operation, State, next_state
from pier.errors import PierError
from pier.runtime.monitors import Monitor, MonitorLost, RuntimeFailed, read_exit
from pier.runtime.orders import Exit

LOST_EXIT_CODE = 255
START_FAILED_CODE = 128
SETTLE_AGAIN_S = 5.0


class Supervisor:
    def __init__(
        self, parts: Parts, steps: Sequence[Step], prober: Prober, remover: Remover
    ) -> None:
        self._parts = parts
        self._steps = steps
        self._prober = prober
        self._remover = remover

    async def start(self, container: Container, *, restarts: int = 0) -> None:
        """Bring `container` up. The caller holds its lock and has checked its state.

        Raises RuntimeFailed, or what the networks and mounts raise; the failure is recorded and
        nothing of the attempt is left.
        """
        live = self._parts.live[container.id]
        live.exit_on_next = live.oom = False
        volatile = container.spec.host.auto_remove
        overlay = self._parts.overlay(container, volatile=volatile)
        launch = Launch(container=container, overlay=overlay)
        try:
            await bring_up(self._steps, launch)
        except Exception as error:
            self._start_failed(container, error)
            raise
        self._set_running(launch, restarts)

    def _start_failed(self, container: Container, error: Exception) -> None:
        code = error.exit_code if isinstance(error, RuntimeFailed) else START_FAILED_CODE
        status = replace(container.status, pid=0, exit_code=code, error=str(error))
        was = State.EXITED if container.status.started_ns else State.CREATED
        failed = replace(container, state=was, status=status)
        self._parts.store.update(failed)
        live = self._parts.live[container.id]
        live.clients.close()
        live.waiters.exited(WaitResult(status_code=code, error=""))
        if container.spec.host.auto_remove:
            self._parts.spawn(self._remover.auto_remove(container.id))

    def _set_running(self, launch: Launch, restarts: int) -> None:
        assert launch.monitor is not None
        container = launch.container
        status = replace(
            container.status,
            pid=launch.pid,
            exit_code=0,
            error="",
            oom_killed=False,
            started_ns=self._parts.clock_ns(),
            restart_count=restarts,
            stopped_by_user=False,
            health=Health() if self._prober.wanted(container.spec) else None,
        )
        running = replace(container, state=State.RUNNING, status=status)
        self._parts.store.update(running)
        self._parts.announce(running, "start")
        self.supervise(running, launch.monitor)

    def supervise(self, container: Container, monitor: Monitor) -> None:
        """Watch a running container from now on: after a start, or after a daemon restart."""
        live = self._parts.live[container.id]
        live.monitor = monitor
        monitor.on_oom = lambda: self._oom(container)
        monitor.on_detached = lambda _client: self._parts.announce(container, "detach")
        self._parts.spawn(self._watch(container.id, monitor))
        if container.status.health is not None:
            live.health = asyncio.Event()
            self._parts.spawn(self._prober.probe(container, live.health))

    def _oom(self, container: Container) -> None:
        self._parts.live[container.id].oom = True
        self._parts.announce(container, "oom")

    async def _watch(self, container_id: str, monitor: Monitor) -> None:
        try:
            ended = await monitor.wait()
        except MonitorLost:
            ended = read_exit(self._parts.bundle(container_id)) or self.lost()
        await self._settle_at_last(container_id, ended)

    async def _settle_at_last(self, container_id: str, ended: Exit) -> None:
        """Again where it cannot be (the disk is full, say), or it would be "running" for ever."""
        while True:
            try:
                await self.settle(container_id, ended)
                return
            except Exception:
                log.exception("container %s: its end is not settled yet", container_id)
            await asyncio.sleep(SETTLE_AGAIN_S)

    def lost(self) -> Exit:
        """The exit of a container that ended while nobody was watching."""
        return Exit(LOST_EXIT_CODE, oom_killed=False, finished_ns=self._parts.clock_ns())

    async def settle(self, container_id: str, ended: Exit) -> None:
        """The process is gone: take everything down, record it, decide what comes next."""
        live = self._parts.live[container_id]
        async with live.lock:
            container = self._parts.store.find(container_id)
            if container is None or container.state not in (State.RUNNING, State.PAUSED):
                return
            live.health.set()
            await self.take_down(container_id)
            live.monitor = None
            delay_s = self._restart_delay(container, ended, live)
            exited = self._record_exit(container, ended, live, delay_s)
        ran_s = max(ended.finished_ns - container.status.started_ns, 0) // 1_000_000_000
        self._parts.announce(exited, "die", exitCode=str(ended.code), execDuration=str(ran_s))
        live.waiters.exited(WaitResult(status_code=ended.code, error=ended.error))
        if delay_s is not None:
            self._parts.spawn(self._retry(container_id, delay_s))
        elif container.spec.host.auto_remove and not live.restarting_by_user:
            await self._remover.auto_remove(container_id)

    async def take_down(self, container_id: str) -> None:
        """Remove all a running container needs; what is stuck is logged and left to the sweep."""
        try:
            await take_down(self._steps, container_id)
        except* (OSError, PierError) as stuck:
            log.warning("container %s: %s", container_id, stuck.exceptions)

    def _restart_delay(self, container: Container, ended: Exit, live: Live) -> float | None:
        host, status = container.spec.host, container.status
        by_user = live.exit_on_next or (
            host.restart.name == "unless-stopped" and status.stopped_by_user
        )
        return state.restart(
            host.restart,
            exit_code=ended.code,
            ran_s=(ended.finished_ns - status.started_ns) / 1e9,
            last_delay_s=status.restart_delay_s,
            retries=status.restart_count,
            stopped_by_user=by_user or host.auto_remove,
        )

    def _record_exit(
        self, container: Container, ended: Exit, live: Live, delay_s: float | None
    ) -> Container:
        health = container.status.health
        status = replace(
            container.status,
            pid=0,
            exit_code=ended.code,
            error=ended.error,
            oom_killed=ended.oom_killed,
            # The monitor saw the end before the daemon heard of the beginning.
            finished_ns=max(ended.finished_ns, container.status.started_ns),
            restart_delay_s=delay_s or 0.0,
            health=replace(health, status="unhealthy") if health else None,
        )
        after = next_state(container.name, container.state, Operation.EXIT)
        if delay_s is not None:
            after = next_state(container.name, after, Operation.RETRY)
            live.retry = asyncio.Event()
        exited = replace(container, state=after, status=status)
        self._parts.store.update(exited)
        return exited

    async def _retry(self, container_id: str, delay_s: float) -> None:
        """Start again after the delay, unless somebody calls it off."""
        live = self._parts.live[container_id]
        try:
            async with asyncio.timeout(delay_s):
                await live.retry.wait()
        except TimeoutError:
            await self.restart_now(container_id)

    async def restart_now(self, container_id: str) -> None:
        """Carry out a restart that was decided; quietly nothing if it was called off."""
        live = self._parts.live[container_id]
        async with live.lock:
            container = self._parts.store.find(container_id)
            if container is None or container.state is not State.RESTARTING:
                return
            try:
                await self.start(container, restarts=container.status.restart_count + 1)
            except PierError as error:
                log.warning("container %s: restart failed: %s", container_id, error)
