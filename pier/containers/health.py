"""Health checks: probes in a running container and their verdict. surface.md k.2.

`judge` decides (pure); `Prober` runs the probes, one task per container, until told to stop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from pier.containers.model import Container, Health, ProbeResult
from pier.containers.parts import Parts, log
from pier.containers.spec import ContainerSpec, Healthcheck
from pier.containers.state import State
from pier.containers.waiting import set_within
from pier.oci.duration import format_duration
from pier.runtime.orders import Captured

DEFAULT_INTERVAL_NS = 30_000_000_000
DEFAULT_TIMEOUT_NS = 30_000_000_000
DEFAULT_START_INTERVAL_NS = 5_000_000_000
DEFAULT_RETRIES = 3
KEPT_RESULTS = 5
OUTPUT_LIMIT = 4096
NO_CODE = -1
"""Of a probe that took too long, and of one that could not be run."""
AFTER_ERROR_S = 5.0

RunProbe = Callable[[Container, Sequence[str], float], Awaitable[Captured]]
"""Runs a command in a container for at most so many seconds."""


def judge(
    health: Health, check: Healthcheck, result: ProbeResult, *, since_start_ns: int
) -> Health:
    """The verdict after one more probe. Failures in the start period do not count."""
    recent = (*health.log, result)[-KEPT_RESULTS:]
    if result.exit_code == 0:
        return Health(status="healthy", failing_streak=0, log=recent)
    if health.status == "starting" and since_start_ns < check.start_period_ns:
        return replace(health, log=recent)
    streak = health.failing_streak + 1
    unhealthy = streak >= (check.retries or DEFAULT_RETRIES)
    status = "unhealthy" if unhealthy else health.status
    return Health(status=status, failing_streak=streak, log=recent)


def pause_ns(health: Health, check: Healthcheck, *, since_start_ns: int) -> int:
    """How long to wait for the next probe: shorter while the container starts."""
    if health.status == "starting" and since_start_ns < check.start_period_ns:
        return check.start_interval_ns or DEFAULT_START_INTERVAL_NS
    return check.interval_ns or DEFAULT_INTERVAL_NS


def probe_command(check: Healthcheck, shell: Sequence[str]) -> tuple[str, ...]:
    """What to run; () for no probe at all."""
    match check.test:
        case ("CMD", *argv):
            return tuple(argv)
        case ("CMD-SHELL", line):
            return (*(shell or ("/bin/sh", "-c")), line)
        case _:
            return ()


class Prober:
    def __init__(self, parts: Parts, run: RunProbe) -> None:
        self._parts = parts
        self._run = run

    def wanted(self, spec: ContainerSpec) -> bool:
        return spec.healthcheck is not None and bool(probe_command(spec.healthcheck, spec.shell))

    async def probe(self, container: Container, stop: asyncio.Event) -> None:
        """Probe until `stop` is set: the container ended, or another start has its own prober.

        Whatever goes wrong: without a next probe a container would be healthy for ever.
        """
        while not stop.is_set():
            try:
                if not await self._probe_next(container.id, stop):
                    return
            except Exception:
                log.exception("container %s: health check", container.id)
                await set_within(stop, AFTER_ERROR_S)

    async def _probe_next(self, container_id: str, stop: asyncio.Event) -> bool:
        """Wait for the time of the next probe, and do it. False: there will be none."""
        now = self._parts.store.find(container_id)
        if now is None or now.status.health is None or now.spec.healthcheck is None:
            return False
        check = now.spec.healthcheck
        since = self._parts.clock_ns() - now.status.started_ns
        wait_s = pause_ns(now.status.health, check, since_start_ns=since) / 1e9
        if await set_within(stop, wait_s):
            return False
        now = self._parts.store.find(container_id)
        if now is not None and now.state is State.RUNNING:
            await self._probe_once(now, check, stop)
        return True

    async def _probe_once(
        self, container: Container, check: Healthcheck, stop: asyncio.Event
    ) -> None:
        result = await self._result(container, check)
        now = self._parts.store.find(container.id)
        if stop.is_set() or now is None or now.status.health is None:
            return
        since = result.started_ns - now.status.started_ns
        health = judge(now.status.health, check, result, since_start_ns=since)
        self._parts.store.update(replace(now, status=replace(now.status, health=health)))
        if health.status != now.status.health.status:
            self._parts.announce(now, f"health_status: {health.status}")

    async def _result(self, container: Container, check: Healthcheck) -> ProbeResult:
        timeout_ns = check.timeout_ns or DEFAULT_TIMEOUT_NS
        started_ns = self._parts.clock_ns()
        try:
            captured = await self._run(
                container, probe_command(check, container.spec.shell), timeout_ns / 1e9
            )
        except Exception as error:  # what could not be probed has not shown that it is healthy
            log.info("container %s: health check: %r", container.id, error)
            code, output = NO_CODE, str(error)[:OUTPUT_LIMIT]
        else:
            code, output = _outcome(captured, timeout_ns)
        return ProbeResult(
            started_ns=started_ns, ended_ns=self._parts.clock_ns(), exit_code=code, output=output
        )


def _outcome(captured: Captured, timeout_ns: int) -> tuple[int, str]:
    """Exit code and output; what a probe wrote until it was killed may tell why."""
    ended = captured.exit
    output = "" if ended is None else ended.output[:OUTPUT_LIMIT].decode(errors="replace")
    if ended is not None and ended.output_truncated:
        output += "..."
    if captured.in_time and ended is not None:
        return ended.code, output
    words = f"Health check exceeded timeout ({format_duration(timeout_ns)})"
    return NO_CODE, f"{words}: {output}" if output else words
