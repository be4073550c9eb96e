"""Further processes in a running container: `docker exec`, and the probes of health checks.

An exec lives in memory: it dies with its container, and its record is dropped some minutes after
it ended. The process itself has a monitor of its own, forked by the spawner like a container's.
"""

import asyncio
import secrets
import shutil
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pier.containers.attach import parse_detach_keys
from pier.containers.model import Container
from pier.containers.native_exec import plan
from pier.containers.parts import Parts
from pier.containers.requests import ExecRecord, ExecSpec
from pier.containers.state import State
from pier.errors import Conflict, InvalidArgument, NotFound
from pier.runtime.monitors import Client, Monitor, MonitorLost, RuntimeFailed
from pier.runtime.orders import AttachOptions, ConsoleSize, ExecOrder, Exit

NOT_STARTED_CODE = 126
KEPT_NS = 10 * 60 * 1_000_000_000
"""How long an exec that ended can still be inspected."""

MakeProcess = Callable[[Container, ExecSpec], Awaitable[dict[str, object]]]
"""The OCI process object of an exec: user looked up inside, environment, rights."""


class NoSuchExec(NotFound):
    def __init__(self, exec_id: str) -> None:
        super().__init__(f"No such exec instance: {exec_id}")


@dataclass(slots=True)
class _Exec:
    record: ExecRecord
    process: dict[str, object]
    monitor: Monitor | None = None
    ended_ns: int = 0


@dataclass(frozen=True, slots=True)
class ExecAttachment:
    """An exec start that was accepted; `serve` starts it once its connection was taken over."""

    execs: "Execs"
    exec_id: str
    console_size: tuple[int, int] | None

    async def serve(self, sock: socket.socket, early: bytes, *, mux: bool) -> None:
        """Start the process with `sock` as its stdio. Raises RuntimeFailed."""
        spec = self.execs.get(self.exec_id).spec
        options = AttachOptions(
            stdin=spec.attach_stdin,
            stdout=spec.attach_stdout,
            stderr=spec.attach_stderr,
            mux=mux,
            detach_keys=parse_detach_keys(spec.detach_keys) if spec.tty else b"",
            early=early,
            client_id=self.exec_id,
        )
        await self.execs.run(self.exec_id, self.console_size, client=(sock, options))


class Execs:
    def __init__(
        self, parts: Parts, make_process: MakeProcess, cgroups_path: Callable[[Container], str]
    ) -> None:
        self._parts = parts
        self._make_process = make_process
        self._cgroups_path = cgroups_path
        self._execs: dict[str, _Exec] = {}

    async def create(self, name: str, spec: ExecSpec) -> str:
        """The new exec's ID. Raises Conflict unless the container runs, InvalidArgument."""
        container = self._parts.store.get(name)
        _check_running(container)
        if not spec.cmd:
            raise InvalidArgument("No exec command specified")
        parse_detach_keys(spec.detach_keys)
        self._parts.spawner.expect_exec()
        process = await self._make_process(container, spec)
        self._forget_old()
        exec_id = secrets.token_hex(32)
        record = ExecRecord(id=exec_id, container_id=container.id, spec=spec)
        self._execs[exec_id] = _Exec(record, process)
        self._parts.live[container.id].execs.add(exec_id)
        self._announce(container, f"exec_create: {' '.join(spec.cmd)}", exec_id)
        return exec_id

    def get(self, exec_id: str) -> ExecRecord:
        return self._get(exec_id).record

    def list_ids(self, container_id: str) -> Sequence[str]:
        """Execs of a container that can still be inspected and have not ended."""
        return sorted(
            exec_id
            for exec_id in self._parts.live[container_id].execs
            if exec_id in self._execs and self._execs[exec_id].record.exit_code is None
        )

    async def start(self, exec_id: str, *, console_size: tuple[int, int] | None) -> None:
        """Detached: its output goes nowhere. Raises RuntimeFailed."""
        self._may_start(exec_id)
        await self.run(exec_id, console_size, client=None)

    async def attach(self, exec_id: str, *, console_size: tuple[int, int] | None) -> ExecAttachment:
        """Raises NotFound, or Conflict if it was started or its container does not run."""
        self._may_start(exec_id)
        return ExecAttachment(self, exec_id, console_size)

    def _may_start(self, exec_id: str) -> None:
        found = self._get(exec_id)
        if found.record.exit_code is not None:
            raise Conflict(f"exec command {exec_id} has already run")
        if found.record.started:
            raise Conflict(f"exec command {exec_id} is already running")
        _check_running(self._parts.store.get(found.record.container_id))
        found.record = replace(found.record, started=True)

    async def run(
        self,
        exec_id: str,
        console_size: tuple[int, int] | None,
        client: Client | None,
    ) -> None:
        """Start the process, with a client's socket as its stdio where there is one."""
        found = self._get(exec_id)
        container = self._parts.store.get(found.record.container_id)
        directory = self._directory(container, exec_id)

        def prepare(monitor: Monitor) -> None:
            found.monitor = monitor
            # At once: a client asks for the code as soon as its stream has ended.
            monitor.on_exit = lambda ended: self._ended(found, ended.code)
            monitor.begin(client)

        self._announce(container, f"exec_start: {' '.join(found.record.spec.cmd)}", exec_id)
        try:
            order = await self._order(container, found, console_size)
            monitor = await self._parts.spawner.launch_exec(order, prepare)
            pid = await monitor.start()
        except Exception as error:
            # Without a code a client would take it for a success.
            code = error.exit_code if isinstance(error, RuntimeFailed) else NOT_STARTED_CODE
            self._ended(found, code)
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
            raise
        if found.record.exit_code is None:
            found.record = replace(found.record, running=True, pid=pid)
        monitor.on_detached = lambda _client: self._announce(container, "exec_detach", exec_id)
        self._parts.spawn(self._watch(found, container, monitor, directory))

    async def _order(
        self, container: Container, found: _Exec, console_size: tuple[int, int] | None
    ) -> ExecOrder:
        spec = found.record.spec
        rows, columns = console_size or spec.console_size or (0, 0)
        runtime = self._parts.runtime_of(container)
        bundle = self._parts.bundle(container.id)
        process = found.process
        if spec.tty and rows and columns:  # there before the program looks
            process = {**process, "consoleSize": {"height": rows, "width": columns}}
        return ExecOrder(
            exec_id=found.record.id,
            container_id=container.id,
            directory=self._directory(container, found.record.id),
            runtime=runtime,
            process=process,
            terminal=spec.tty,
            console_size=ConsoleSize(rows, columns),
            stdin=spec.attach_stdin,
            cgroup=self._cgroups_path(container),
            native=await plan(bundle, runtime, container.id, container.status.pid, process),
        )

    def _directory(self, container: Container, exec_id: str) -> Path:
        return self._parts.bundle(container.id) / "exec" / exec_id[:16]

    async def _watch(
        self, found: _Exec, container: Container, monitor: Monitor, directory: Path
    ) -> None:
        try:
            code = (await monitor.wait()).code
        except MonitorLost:
            code = 137  # its container was killed, and its monitor with it
        if found.record.exit_code is None:
            self._ended(found, code)
        self._announce(container, "exec_die", found.record.id, exitCode=str(code))
        await monitor.ended()
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    def _ended(self, found: _Exec, code: int) -> None:
        found.record = replace(found.record, running=False, exit_code=code)
        found.monitor = None
        found.ended_ns = self._parts.clock_ns()

    async def resize(self, exec_id: str, height: int, width: int) -> None:
        found = self._get(exec_id)
        if found.monitor is None:
            raise Conflict(f"exec {exec_id} is not running")
        await found.monitor.resize(height, width)

    async def run_captured(
        self, container: Container, command: Sequence[str], timeout_s: float, limit: int
    ) -> Exit | None:
        """Run `command` and keep up to `limit` bytes of its output. None: it took too long.

        Its record is not kept: an image may have itself probed a hundred times a second.
        """
        exec_id = await self.create(container.id, ExecSpec(cmd=tuple(command)))
        try:
            return await self._run_captured(container, exec_id, timeout_s, limit)
        finally:
            self._drop(exec_id)

    async def _run_captured(
        self, container: Container, exec_id: str, timeout_s: float, limit: int
    ) -> Exit | None:
        found = self._get(exec_id)
        self._may_start(exec_id)
        command = found.record.spec.cmd
        order = await self._order(container, found, None)
        order = order._replace(capture_bytes=limit)
        self._announce(container, f"exec_start: {' '.join(command)}", exec_id)
        monitor = await self._parts.spawner.launch_exec(order, Monitor.begin)
        try:
            await monitor.start()
            async with asyncio.timeout(timeout_s):
                ended = await monitor.wait()
        except TimeoutError:
            await monitor.signal(9)
            ended = None
        except (RuntimeFailed, MonitorLost):
            self._ended(found, 128)
            raise
        finally:
            await monitor.ended()
            await asyncio.to_thread(shutil.rmtree, order.directory, ignore_errors=True)
        code = 137 if ended is None else ended.code
        self._ended(found, code)
        self._announce(container, "exec_die", exec_id, exitCode=str(code))
        return ended

    def _get(self, exec_id: str) -> _Exec:
        try:
            return self._execs[exec_id]
        except KeyError:
            raise NoSuchExec(exec_id) from None

    def _announce(self, container: Container, action: str, exec_id: str, **attributes: str) -> None:
        self._parts.announce(container, action, execID=exec_id, **attributes)

    def _forget_old(self) -> None:
        """Drop what ended long ago, and what was never started in a container that is gone."""
        horizon = self._parts.clock_ns() - KEPT_NS
        for exec_id, found in tuple(self._execs.items()):
            if found.ended_ns:
                forgotten = found.ended_ns < horizon
            else:
                gone = self._parts.store.find(found.record.container_id) is None
                forgotten = gone and found.monitor is None
            if forgotten:
                self._drop(exec_id)

    def _drop(self, exec_id: str) -> None:
        found = self._execs.pop(exec_id)
        container = self._parts.store.find(found.record.container_id)
        if container is not None:
            self._parts.live[container.id].execs.discard(exec_id)


def _check_running(container: Container) -> None:
    match container.state:
        case State.RUNNING:
            return
        case State.PAUSED:
            raise Conflict(
                f"Container {container.name} is paused, unpause the container before exec"
            )
        case State.RESTARTING:
            raise Conflict(
                f"Container {container.name} is restarting, wait until the container is running"
            )
        case _:
            raise Conflict(f"container {container.id} is not running")
