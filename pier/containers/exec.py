"""Further processes in a running container: `docker exec`, and the probes of health checks.

An exec dies with its container, and its record is dropped some minutes after it ended. It lives in
memory; one that was started is in its directory too, for the next daemon. The process itself has a
monitor, as a container's has.
"""

import asyncio
import secrets
import shutil
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pier.containers.attach import InvalidDetachKeys, parse_detach_keys
from pier.containers.exec_records import KEPT_NS, Exec, ExecRecords, find_record, keep_record
from pier.containers.model import Container
from pier.containers.native_exec import plan
from pier.containers.parts import Parts
from pier.containers.requests import ExecRecord, ExecSpec
from pier.containers.state import State
from pier.containers.waiting import set_within
from pier.errors import Conflict, InvalidArgument
from pier.runtime.failures import exec_failed
from pier.runtime.monitors import (
    Client,
    Monitor,
    MonitorLost,
    RuntimeFailed,
    adopt,
    read_exit,
)
from pier.runtime.orders import AttachOptions, Captured, ConsoleSize, ExecOrder, Exit

NOT_STARTED_CODE = 126
LOST_CODE = 137
"""Its container was killed, and its monitor with it."""
ADOPT_PATIENCE_S = 2.0
END_PATIENCE_S = 5.0
"""How long a command that ended, or was killed for it took too long, is waited for."""

FORGETS_PER_KEPT = 5
"""How often what has ended is looked at, in the time that it is kept."""

MakeProcess = Callable[[Container, ExecSpec], Awaitable[dict[str, object]]]
"""The OCI process object of an exec: user looked up inside, environment, rights."""


@dataclass(slots=True)
class _Captured:
    """A command that runs for its output. over: nothing is left of it."""

    exit: asyncio.Future[Exit]
    over: asyncio.Event = field(default_factory=asyncio.Event)
    monitor: Monitor | None = None


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


class InvalidEscapeKeys(InvalidArgument):
    """What Docker calls the same keys here."""

    def __init__(self, text: str) -> None:
        super().__init__(f"Invalid escape keys ({text}) provided")


class Execs:
    def __init__(
        self, parts: Parts, make_process: MakeProcess, cgroups_path: Callable[[Container], str]
    ) -> None:
        self._parts = parts
        self._make_process = make_process
        self._cgroups_path = cgroups_path
        self._records = ExecRecords()
        self._forgetting: asyncio.TimerHandle | None = None
        self._captured: dict[str, _Captured] = {}

    async def create(self, name: str, spec: ExecSpec) -> str:
        """The new exec's ID. Raises Conflict unless the container runs, InvalidArgument."""
        container = self._parts.store.get(name)
        _check_running(container)
        if not spec.cmd:
            raise InvalidArgument("No exec command specified")
        try:
            parse_detach_keys(spec.detach_keys)
        except InvalidDetachKeys:
            raise InvalidEscapeKeys(spec.detach_keys) from None
        self._parts.spawner.expect_exec()
        process = await self._make_process(container, spec)
        spec = replace(spec, user=spec.user or container.spec.user)
        exec_id = secrets.token_hex(32)
        self._records.add(ExecRecord(id=exec_id, container_id=container.id, spec=spec), process)
        self._parts.live[container.id].execs.add(exec_id)
        self._announce(container, f"exec_create: {_told(spec.cmd)}", exec_id)
        return exec_id

    def get(self, exec_id: str) -> ExecRecord:
        return self._records.get(exec_id).record

    def list_ids(self, container_id: str) -> Sequence[str]:
        """Execs of a container that have not ended."""
        return sorted(self._parts.live[container_id].execs)

    async def start(self, exec_id: str, *, console_size: tuple[int, int] | None) -> None:
        """Detached: its output goes nowhere. Raises RuntimeFailed."""
        self._may_start(exec_id)
        await self.run(exec_id, console_size, client=None)

    async def attach(self, exec_id: str, *, console_size: tuple[int, int] | None) -> ExecAttachment:
        """Raises NotFound, or Conflict if it was started or its container does not run."""
        self._may_start(exec_id)
        return ExecAttachment(self, exec_id, console_size)

    def _may_start(self, exec_id: str) -> None:
        found = self._records.get(exec_id)
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
        found = self._records.get(exec_id)
        container = self._parts.store.get(found.record.container_id)
        directory = self._directory(container, exec_id)

        def prepare(monitor: Monitor) -> None:
            found.monitor = monitor
            # At once: a client asks for the code as soon as its stream has ended.
            monitor.on_exit = lambda ended: self._ended(found, ended.code)
            monitor.begin(client)

        self._announce(container, f"exec_start: {_told(found.record.spec.cmd)}", exec_id)
        try:
            _check_startable(found.record.spec)
            order = await self._order(container, found, console_size)
            keep_record(directory, found.record)
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
        self, container: Container, found: Exec, console_size: tuple[int, int] | None
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
        self, found: Exec, container: Container, monitor: Monitor, directory: Path
    ) -> None:
        try:
            code = (await monitor.wait()).code
        except MonitorLost:
            code = LOST_CODE
        if found.record.exit_code is None:
            self._ended(found, code)
        self._announce(container, "exec_die", found.record.id, exitCode=str(code))
        await monitor.ended()
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def restore(self, container: Container) -> None:
        """Know the execs again that an earlier daemon started, and those that ended since."""
        for directory in (self._parts.bundle(container.id) / "exec").glob("*"):
            record = find_record(directory)
            if record is None or record.id in self._records.execs:
                continue
            self._records.add(record, {})
            found = self._records.get(record.id)
            monitor = await _adopted(directory)
            ended = read_exit(directory)
            if monitor is None or ended is not None:
                self._ended(found, ended.code if ended else LOST_CODE)
                await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
                continue
            found.monitor = monitor
            found.record = replace(found.record, running=True, pid=monitor.pid)
            self._parts.live[container.id].execs.add(record.id)
            self._parts.spawn(self._watch(found, container, monitor, directory))

    def _ended(self, found: Exec, code: int) -> None:
        self._records.end(found, code, self._parts.clock_ns())
        self._not_alive(found.record.container_id, found.record.id)
        if self._forgetting is None:
            self._forget_later()

    def _forget_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._forgetting = loop.call_later(KEPT_NS / 1e9 / FORGETS_PER_KEPT, self._forget)

    def _forget(self) -> None:
        for record in self._records.forget(self._parts.clock_ns(), self._runs):
            self._not_alive(record.container_id, record.id)
        self._forgetting = None
        if self._records.execs:
            self._forget_later()

    def _runs(self, container_id: str) -> bool:
        container = self._parts.store.find(container_id)
        return container is not None and container.state in (State.RUNNING, State.PAUSED)

    async def resize(self, exec_id: str, height: int, width: int) -> None:
        found = self._records.get(exec_id)
        if found.monitor is None:
            raise Conflict(f"exec {exec_id} is not running")
        await found.monitor.resize(height, width)

    async def run_captured(
        self, container: Container, command: Sequence[str], timeout_s: float, limit: int
    ) -> Captured:
        """Run `command` and keep up to `limit` bytes of its output; killed if it takes too long.

        All of it has the time limit, for the container can hold up every step of a start. One
        that does not even end by SIGKILL keeps the next from being run.
        """
        if container.id in self._captured:
            return Captured(exit=None, in_time=False)
        captured = _Captured(asyncio.get_running_loop().create_future())
        self._captured[container.id] = captured
        self._parts.spawn(self._run_to_end(container, command, limit, captured))
        in_time = True
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(captured.exit)
        except TimeoutError:
            in_time = False
            if captured.monitor is not None:
                captured.monitor.kill_soon()
        finally:
            await set_within(captured.over, END_PATIENCE_S)
        ended = captured.exit.done() and captured.exit.exception() is None
        return Captured(exit=captured.exit.result() if ended else None, in_time=in_time)

    async def _run_to_end(
        self, container: Container, command: Sequence[str], limit: int, captured: _Captured
    ) -> None:
        """Its record is not kept: an image may have itself probed a hundred times a second."""
        exec_id = ""
        try:
            exec_id = await self.create(container.id, ExecSpec(cmd=tuple(command)))
            await self._capture(container, exec_id, limit, captured)
        except asyncio.CancelledError:
            if captured.monitor is not None:
                captured.monitor.kill_soon()  # the daemon ends: nobody would limit its time
            raise
        except Exception as error:
            if captured.exit.done():
                raise
            captured.exit.set_exception(error)
            captured.exit.exception()  # who asked may have gone
        finally:
            del self._captured[container.id]
            captured.over.set()
            self._records.drop(exec_id)
            self._not_alive(container.id, exec_id)

    async def _capture(
        self, container: Container, exec_id: str, limit: int, captured: _Captured
    ) -> None:
        def prepare(monitor: Monitor) -> None:
            captured.monitor = monitor
            monitor.begin()

        found = self._records.get(exec_id)
        self._may_start(exec_id)
        order = await self._order(container, found, None)
        order = order._replace(capture_bytes=limit)
        self._announce(container, f"exec_start: {_told(found.record.spec.cmd)}", exec_id)
        try:
            monitor = await self._parts.spawner.launch_exec(order, prepare)
            await monitor.start()
            ended = await monitor.wait()
            self._announce(container, "exec_die", exec_id, exitCode=str(ended.code))
            if not captured.exit.done():
                captured.exit.set_result(ended)
            await monitor.ended()
        finally:
            await asyncio.to_thread(shutil.rmtree, order.directory, ignore_errors=True)

    def _announce(self, container: Container, action: str, exec_id: str, **attributes: str) -> None:
        self._parts.announce(container, action, execID=exec_id, **attributes)

    def _not_alive(self, container_id: str, exec_id: str) -> None:
        if self._parts.store.find(container_id) is not None:
            self._parts.live[container_id].execs.discard(exec_id)


def _told(command: Sequence[str]) -> str:
    """As Docker's events have it: a blank comes after the program, whatever follows."""
    return f"{command[0]} {' '.join(command[1:])}"


async def _adopted(directory: Path) -> Monitor | None:
    """None also from a monitor that does not answer: its container is not to wait for it."""
    try:
        async with asyncio.timeout(ADOPT_PATIENCE_S):
            return await adopt(directory)
    except TimeoutError:
        return None


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


def _check_startable(spec: ExecSpec) -> None:
    """Raises RuntimeFailed for what runtimes refuse each in their own way, or take."""
    why = ""
    if spec.working_dir and not spec.working_dir.startswith("/"):
        why = "Cwd must be an absolute path"
    elif not spec.cmd[0]:
        why = exec_failed("", "executable file not found in $PATH")
    if why:
        raise RuntimeFailed(why, runtime="", execing=True)
