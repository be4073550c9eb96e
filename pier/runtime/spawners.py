"""The daemon's handle on its spawner (asyncio): launch monitors, run a runtime's commands."""

import asyncio
import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pier.errors import Failed
from pier.runtime import protocol
from pier.runtime.connection import Connection, MonitorLost
from pier.runtime.launcher import PROCESS_NAME
from pier.runtime.monitors import Monitor
from pier.runtime.orders import ExecOrder, MonitorOrder
from pier.runtime.sealed import sealed_program

_SCRIPT = Path(__file__).with_name("spawner.py")
_OUTPUT_BYTES = 1 << 20
ATTEMPTS = 3
"""How often something is asked of a spawner, as often as it has died meanwhile."""


class Finished(NamedTuple):
    code: int
    stdout: bytes
    stderr: bytes


class OrderTooLong(Failed):
    """Of labels and variables that are to be in every line of a log, above all."""

    def __init__(self) -> None:
        super().__init__("what the container's monitor has to know is longer than 1 MiB")


class Spawner:
    """The process that forks monitors. Started again if it died; monitors outlive it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._sealing = True
        self._host: socket.socket | None = None

    async def start(self) -> None:
        """Optional: whatever needs the spawner starts it."""
        self._ensure()

    async def close(self) -> None:
        """End the spawner. Monitors and containers go on."""
        process, self._process = self._process, None
        self._hang_up()
        if process is not None:
            await asyncio.to_thread(process.wait)

    async def launch(self, order: MonitorOrder) -> Monitor:
        """A monitor with stdio, log and control socket ready; nothing runs yet.

        If the Monitor is let go before `start`, it ends by itself. Raises Failed with the
        reason if it cannot be: no such layer, no space, log not writable.
        """
        return await self._launch(order, Path(order.bundle), lambda monitor: None)

    async def launch_exec(
        self, order: ExecOrder, prepare: Callable[[Monitor], None] = lambda monitor: None
    ) -> Monitor:
        """As `launch`. Makes `order.directory`; removing it is the caller's, after `ended`.

        `prepare(monitor)` is called before the monitor is there (again, if it had to be launched
        again): what is posted then saves waiting.
        """
        directory = Path(order.directory)
        _write_process(directory, order.process)
        return await self._launch(order, directory, prepare)

    async def run(self, argv: Sequence[str], *, hide_v2: bool, timeout_s: float) -> Finished:
        """Run a runtime's command; hide_v2: without the cgroup2 mount in sight.

        Raises TimeoutError; the command is not killed, for runtimes clean up after themselves.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._run(argv, hide_v2=hide_v2, timeout_s=timeout_s)
            except MonitorLost:
                if not await self._died():
                    raise
        return await self._run(argv, hide_v2=hide_v2, timeout_s=timeout_s)

    async def _run(self, argv: Sequence[str], *, hide_v2: bool, timeout_s: float) -> Finished:
        with contextlib.ExitStack() as stack:
            (out, err), child = _output_pipes(stack)
            ours, theirs = protocol.socket_pair()
            finished: asyncio.Future[Mapping[str, Any]]
            finished = asyncio.get_running_loop().create_future()
            connection = Connection(ours, finished.set_result, lambda: _lost(finished))
            stack.callback(connection.close)
            with theirs:
                order = {"op": "run", "argv": list(argv), "hide_v2": hide_v2}
                self._send(order, [theirs.fileno(), *child])
            answer = await asyncio.wait_for(finished, timeout_s)
            if answer.get("error"):
                raise Failed(f"{argv[0]}: {answer['error']}")
            return Finished(answer["code"], _drain(out), _drain(err))

    async def _launch(
        self,
        order: MonitorOrder | ExecOrder,
        directory: Path,
        prepare: Callable[[Monitor], None],
    ) -> Monitor:
        """A spawner that dies takes the order it had received with it; so does a host, which ends
        when it has had nothing to do, and is not asked again.
        """
        hosted = isinstance(order, ExecOrder) and order.native is not None
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._fork(order, directory, prepare, hosted=hosted)
            except MonitorLost:
                if not hosted and not await self._died():
                    raise
                hosted = False
        return await self._fork(order, directory, prepare, hosted=False)

    async def _fork(
        self,
        order: MonitorOrder | ExecOrder,
        directory: Path,
        prepare: Callable[[Monitor], None],
        *,
        hosted: bool,
    ) -> Monitor:
        ours, theirs = protocol.socket_pair()
        execing = isinstance(order, ExecOrder)
        monitor = Monitor(ours, directory, runtime=order.runtime.name, execing=execing)
        with theirs:
            request = {"op": "launch", "order": protocol.from_order(order)}
            if hosted:
                self._send_to_host(request, theirs.fileno())
            else:
                self._send(request, [theirs.fileno()])
        prepare(monitor)
        try:
            await monitor.ready()
        except BaseException:
            # Who gives up removes the bundle and the layers next: nobody may be in them then.
            await asyncio.shield(monitor.abandon())
            raise
        return monitor

    def expect_exec(self) -> None:
        """An exec will come: what is to monitor it may be forked meanwhile."""
        self._ensure_host()

    def _send_to_host(self, request: Mapping[str, object], fd: int) -> None:
        """A host that has ended is followed by another."""
        try:
            protocol.send(self._ensure_host(), request, [fd])
        except OSError:
            self._let_host_go()
            protocol.send(self._ensure_host(), request, [fd])

    def _ensure_host(self) -> socket.socket:
        """The socket of the process that monitors execs, started if there is none."""
        if self._host is None:
            ours, theirs = protocol.socket_pair()
            ours.setblocking(False)
            with theirs:
                self._send({"op": "host"}, [theirs.fileno()])
            self._host = ours
        return self._host

    def _let_host_go(self) -> None:
        if self._host is not None:
            self._host.close()
            self._host = None

    async def _died(self) -> bool:
        """A dying process closes its sockets a little before it can be waited for."""
        for _ in range(5):
            if not self._alive():
                return True
            await asyncio.sleep(0.01)
        return False

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _send(self, request: Mapping[str, object], fds: Sequence[int]) -> None:
        """A spawner may die between two requests: the next attempt meets a new one."""
        try:
            for _ in range(ATTEMPTS - 1):
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    protocol.send(self._ensure(), request, fds)
                    return
                self._hang_up()
            protocol.send(self._ensure(), request, fds)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise OrderTooLong from error
            raise

    def _ensure(self) -> socket.socket:
        if self._socket is not None and self._alive():
            return self._socket
        self._hang_up()
        if self._process is not None and (self._process.poll() or 0) > 0:
            self._sealing = False  # it failed by itself: this interpreter wants to be where it is
        ours, theirs = protocol.socket_pair()
        with contextlib.ExitStack() as stack:
            stack.enter_context(theirs)
            fds: list[int] = []
            if self._sealing:
                with contextlib.suppress(OSError):
                    fds.append(stack.enter_context(sealed_program(Path(sys.executable))))
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SCRIPT)],
                executable=f"/proc/self/fd/{fds[0]}" if fds else None,
                pass_fds=fds,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._socket = ours
        return ours

    def _hang_up(self) -> None:
        self._let_host_go()
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _write_process(directory: Path, process: Mapping[str, Any]) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / PROCESS_NAME).write_text(json.dumps(process))


class _Pair(NamedTuple):
    out: int
    err: int


def _output_pipes(stack: contextlib.ExitStack) -> tuple[_Pair, _Pair]:
    """Our ends (non-blocking) and the command's, all closed with `stack`.

    A runtime's commands say little: the pipe's capacity is the bound.
    """
    (out, child_out), (err, child_err) = os.pipe(), os.pipe()
    for fd in (out, err, child_out, child_err):
        stack.callback(os.close, fd)
    for fd in (out, err):
        os.set_blocking(fd, False)
    return _Pair(out, err), _Pair(child_out, child_err)


def _drain(fd: int) -> bytes:
    try:
        return os.read(fd, _OUTPUT_BYTES)
    except BlockingIOError:
        return b""


def _lost(finished: "asyncio.Future[Mapping[str, Any]]") -> None:
    if not finished.done():
        finished.set_exception(MonitorLost("the spawner's command did not answer"))
        finished.exception()
