"""The daemon's side of spawner and monitors (asyncio).

A Monitor is a connection, nothing more: a daemon may be killed at any moment, and the next one
finds the same monitors by their bundles (`adopt`), or what they left behind (`read_exit`).
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pier.errors import Failed
from pier.runtime import failures, protocol
from pier.runtime.connection import Connection, MonitorLost, checked
from pier.runtime.orders import AttachOptions, Exit

Client = tuple[socket.socket, AttachOptions]
"""A connected socket and how it is served."""

__all__ = ["Client", "Monitor", "MonitorLost", "RuntimeFailed", "adopt", "read_exit"]


class RuntimeFailed(Failed):
    """The runtime could not start the process; the message is what Docker's client would read.

    exit_code: 126, 127 or 128 by Docker's rules. Nothing of the attempt is left: the monitor
    ends, the runtime does not know the container. Sockets attached before stay open on the
    caller's side: it may still write its error there.
    """

    def __init__(self, text: str, *, runtime: str, execing: bool) -> None:
        self.exit_code = failures.exit_code(text)
        self.runtime_text = text
        start = "failed to create task for container: failed to create shim task: "
        where = "exec failed: exec failed" if execing else f"create failed: {runtime} create failed"
        super().__init__(f"{'' if execing else start}OCI runtime {where}: {text}")


class Monitor:
    """A connection to one monitor. Requests raise MonitorLost when it is gone.

    pid: of the process; 0 before the start. on_oom, on_detached (with AttachOptions.client_id)
    and on_exit may be set at any time. on_exit is called before anything that waits wakes up.
    """

    def __init__(
        self, sock: socket.socket, directory: Path, *, runtime: str = "", execing: bool = False
    ) -> None:
        self.directory = directory
        self.pid = 0
        self.on_oom: Callable[[], None] = lambda: None
        self.on_detached: Callable[[str], None] = lambda client_id: None
        self.on_exit: Callable[[Exit], None] = lambda ended: None
        self._runtime = runtime
        self._execing = execing
        self._let_go = False
        self._begun: list[asyncio.Future[Mapping[str, Any]]] = []
        loop = asyncio.get_running_loop()
        self._hello: asyncio.Future[str] = loop.create_future()
        self._exit: asyncio.Future[Exit] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._connection = Connection(sock, self._on_notice, self._on_end)

    @property
    def over(self) -> bool:
        """Whether the process is known to have ended."""
        return self._exit.done()

    async def ready(self) -> str:
        """The monitor's state: ready, starting, running, ended. Raises Failed if it failed."""
        return await asyncio.shield(self._hello)

    def begin(self, client: Client | None = None) -> None:
        """Ask for everything at once, before the monitor is there: attach `client`, start.

        `start` waits for the answers. The client's socket stays open until then.
        """
        if client is not None:
            sock, options = client
            attach = protocol.from_attach(options)
            self._begun.append(self._connection.post("attach", attach, [sock.fileno()]))
        self._begun.append(self._connection.post("start", {}))

    async def start(self) -> int:
        """Have the process run, unless `begin` did; its pid. Raises RuntimeFailed."""
        if not self._begun:
            self._begun.append(self._connection.post("start", {}))
        answer: Mapping[str, Any] = {}
        for begun in self._begun:
            answer = checked(await begun)
        if "failed" in answer:
            await self.ended()
            raise RuntimeFailed(answer["failed"], runtime=self._runtime, execing=self._execing)
        self.pid = answer["pid"]
        return self.pid

    async def attach(self, client: socket.socket, options: AttachOptions) -> None:
        """Hand a client's connected socket over; the caller closes its own copy afterwards.

        Before the start: the client gets everything, and may hold output back by not reading.
        """
        await self._connection.request("attach", protocol.from_attach(options), [client.fileno()])

    async def signal(self, number: int) -> bool:
        """Signal the process; False if it had ended. SIGKILL ends a start under way, too."""
        answer = await self._connection.request("signal", {"number": int(number)})
        return bool(answer["sent"])

    async def kill(self) -> bool:
        return await self.signal(signal.SIGKILL)

    def kill_soon(self) -> None:
        """As `kill`, for who does not want to wait for an answer: there may never be one."""
        with contextlib.suppress(MonitorLost):
            self._connection.post("signal", {"number": int(signal.SIGKILL)})

    async def resize(self, height: int, width: int) -> None:
        """No effect without a terminal; before the start it sets the first size."""
        await self._connection.request("resize", {"height": height, "width": width})

    async def close_stdin(self) -> None:
        """End of input, after what is under way."""
        await self._connection.request("close_stdin", {})

    def keep(self, fds: Sequence[int]) -> None:
        """Have copies of `fds` held for as long as the process lives, whatever becomes of us."""
        with contextlib.suppress(MonitorLost):
            self._connection.post("keep", {}, fds)

    async def kept(self) -> Sequence[int]:
        """Copies of what is held, the caller's to close; () from a monitor that cannot do it."""
        try:
            return tuple((await self._connection.request("kept", {}))["fds"])
        except Failed:
            return ()

    async def wait(self) -> Exit:
        """How the process ended, as soon as its output is read. Any number of callers."""
        return await asyncio.shield(self._exit)

    async def ended(self) -> None:
        """Returns when the monitor has cleaned up and hung up: runtime record, cgroup, overlay.

        Wait for this before the container is launched again or its bundle is removed.
        """
        await asyncio.shield(self._ended)

    async def abandon(self) -> None:
        """Let go of one that was never started; returns when nothing is left of it."""
        self._let_go = True
        self._connection.finish()
        await self.ended()

    async def disconnect(self) -> None:
        """Let go. A started process goes on without us; one not started never will."""
        self._let_go = True
        self._connection.close()

    def _on_notice(self, fields: Mapping[str, Any]) -> None:
        match fields["event"]:
            case "hello":
                self._on_hello(fields)
            case "failed":
                _fail(self._hello, Failed(f"monitor: {fields['error']}"))
            case "exit":
                self._on_exit(fields)
            case "oom":
                self.on_oom()
            case "detached":
                self.on_detached(fields["client_id"])

    def _on_hello(self, fields: Mapping[str, Any]) -> None:
        self.pid = fields["pid"]
        if fields["exit"] is not None:
            self._on_exit(fields["exit"])
        if not self._hello.done():
            self._hello.set_result(fields["state"])

    def _on_exit(self, fields: Mapping[str, Any]) -> None:
        if not self._exit.done():
            ended = protocol.to_exit(fields)
            self._exit.set_result(ended)
            self.on_exit(ended)

    def _on_end(self) -> None:
        _fail(self._hello, MonitorLost("it ended before it was ready"))
        left = None if self._let_go else read_exit(self.directory)
        if left is not None and not self._exit.done():
            self._exit.set_result(left)
        _fail(self._exit, MonitorLost())
        if not self._ended.done():
            self._ended.set_result(None)


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    """For those who wait; nobody may be waiting, which is no error."""
    if not future.done():
        future.set_exception(error)
        future.exception()


async def adopt(directory: Path) -> Monitor | None:
    """The monitor that serves a bundle or an exec's directory, or None: see `read_exit` then."""
    sock = _connect(directory)
    if sock is None:
        return None
    monitor = Monitor(sock, directory)
    try:
        await monitor.ready()
    except MonitorLost:
        return None
    return monitor


def _connect(directory: Path) -> socket.socket | None:
    """By the directory's descriptor: its name may be too long for sun_path."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        try:
            fd = os.open(directory, os.O_DIRECTORY | os.O_PATH)
            undo.callback(os.close, fd)
            sock.connect(f"/proc/self/fd/{fd}/{protocol.SOCKET_NAME}")
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        undo.pop_all()
        os.close(fd)
        return sock


def read_exit(directory: Path) -> Exit | None:
    """What a monitor left behind, None if its process has not ended (or it was killed).

    None too if the file is damaged, as the loss of power leaves it: nobody would ever mend it.
    """
    try:
        return protocol.to_exit(json.loads((directory / protocol.EXIT_NAME).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return None
