"""One process's monitor: its parent, its stdio, its log, its exit code.

ready ──start──> starting ──> running ──process ended──> ended ──clean-up──> (gone)
  └── every connection closed, or the start failed: clean-up, gone

It starts nothing before "start", so that clients and network are there first. While ready it
lives as long as its daemon's connection; from then on as long as its process. Once the clean-up
is done it hangs up on the daemon and stays only to deliver output to slow clients.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from pier.linux import cgroup, syscalls
from pier.runtime import descendants, protocol
from pier.runtime.clients import Clients
from pier.runtime.control import Control, Request
from pier.runtime.first_words import FirstWords
from pier.runtime.launcher import LaunchFailed, OciLauncher
from pier.runtime.launchers import prepared_launcher
from pier.runtime.log_file import LogFile
from pier.runtime.log_format import STDOUT
from pier.runtime.loop import Loop
from pier.runtime.oom import OomWatch
from pier.runtime.orders import ConsoleSize, ExecOrder, Exit, MonitorOrder
from pier.runtime.outputs import Outputs
from pier.runtime.prepared import NotPrepared
from pier.runtime.stdin import Stdin
from pier.runtime.stdio import Console, Directory, Pipes, make_pipes, null_fds

START_S = 5.0
"""After so long a start is looked at, again and again: something in it may have been stopped."""
DRAIN_S = 2.0
DELETE_S = 15.0
_NO_FD = 1 << 20


def main(fields: Mapping[str, Any], control: socket.socket) -> NoReturn:
    """The life of a freshly forked monitor. `control` is the daemon's connection."""
    directory = fields.get("bundle") or fields["directory"]
    try:
        become_monitor(control.fileno())
        Monitor(protocol.to_order(fields), control).run()
        os._exit(0)
    except BaseException as error:  # the last resort: whatever it is must be found by somebody
        with contextlib.suppress(OSError):
            text = f"{type(error).__name__}: {error}"
            protocol.send(control, {"event": "failed", "error": text})
        with contextlib.suppress(OSError), open(f"{directory}/monitor.err", "a") as sys.stderr:
            sys.excepthook(type(error), error, error.__traceback__)
        os._exit(1)


def become_monitor(keep: int, name: str = "pier-monitor") -> None:
    """Away from daemon and spawner: session, signals, descriptors, name, orphans."""
    os.setsid()
    os.chdir("/")
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    syscalls.set_process_name(name)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.closerange(3, keep)
    os.closerange(keep + 1, _NO_FD)


class Monitor:
    """loop, on_gone: where several share a process. Else it has a loop, and ends it at the end."""

    def __init__(
        self,
        order: MonitorOrder | ExecOrder,
        control: socket.socket,
        loop: Loop | None = None,
        on_gone: Callable[["Monitor"], None] | None = None,
    ) -> None:
        self._order = order
        self._container = order if isinstance(order, MonitorOrder) else None
        self._capture = order.capture_bytes if isinstance(order, ExecOrder) else 0
        self._captured = bytearray()
        self._truncated = False
        self._state = "ready"
        self._pid = 0
        self._exit: Exit | None = None
        self._runtime_pid = 0
        self._delete_pid = 0
        self._look = 0
        self._killed = False
        self._statuses: dict[int, int] = {}
        self._start_request: Request | None = None
        self._loop = loop or Loop(self.on_child)
        self._on_gone = on_gone or (lambda _monitor: self._loop.stop())
        self._directory = Directory(os.fspath(self._path()))
        self._oom: OomWatch | None = None
        self._prepare_stdio()
        # First of all: a child goes its way while the rest is made here.
        self._launcher = prepared_launcher(
            order, self._directory, self._child, self._console_path()
        )
        self._control = Control(self._loop, self._directory, self._greeting, self._on_request)
        self._control.on_lonely = self._on_lonely
        self._control.add(control)
        log = self._container.log if self._container else None
        self._log = LogFile(log) if log else None

    def run(self) -> None:
        self.greet()
        self._loop.run()

    def greet(self) -> None:
        self._control.broadcast(self._greeting())

    def _path(self) -> str:
        order = self._order
        return os.fspath(order.bundle if isinstance(order, MonitorOrder) else order.directory)

    def _console_path(self) -> str:
        return self._console.path if self._console else ""

    def _prepare_stdio(self) -> None:
        order = self._order
        once = order.stdin_once if isinstance(order, MonitorOrder) else order.stdin
        self._stdin = Stdin(self._loop, once=once and not order.terminal)
        if not order.stdin:
            self._stdin.discard()
        self._clients = Clients(
            self._loop,
            self._stdin,
            stall_s=order.stall_s,
            on_change=self._on_clients,
            on_detached=self._on_detached,
        )
        self._words = FirstWords(self._loop, self._on_output)
        self._outputs = Outputs(self._loop, self._words.feed)
        self._console: Console | None = None
        self._pipes: Pipes | None = None
        self._handed_over = False
        if order.terminal:
            self._console = Console(self._loop, self._directory, order.console_size)
            self._console.on_open = self._on_console
            self._child = null_fds()
            return
        pipes = self._pipes = make_pipes(stdin=order.stdin)
        self._child = pipes.child
        if pipes.stdin >= 0:
            self._stdin.connect(pipes.stdin)

    # Requests

    def _greeting(self) -> dict[str, Any]:
        exit_ = None if self._exit is None else protocol.from_exit(self._exit)
        return {
            "event": "hello",
            "version": protocol.VERSION,
            "state": self._state,
            "pid": self._pid,
            "exit": exit_,
        }

    def _on_request(self, request: Request) -> None:
        handlers: Mapping[str, Callable[[Request], None]] = {
            "start": self._start,
            "attach": self._attach,
            "resize": self._resize,
            "signal": self._signal,
            "close_stdin": self._close_stdin,
            "keep": self._control.keep,
            "kept": self._control.kept,
        }
        handler = handlers.get(request.fields.get("op", ""))
        if handler is None:
            request.answer(error=f"unknown request {request.fields.get('op')!r}")
            return
        handler(request)

    def _attach(self, request: Request) -> None:
        options = protocol.to_attach(request.fields)
        self._clients.attach(request.fds[0], options, patient=self._state != "running")
        request.answer()

    def _resize(self, request: Request) -> None:
        if self._console is not None:
            size = ConsoleSize(request.fields["height"], request.fields["width"])
            self._console.resize(size)
        request.answer()

    def _signal(self, request: Request) -> None:
        """The pid is ours until we reap it, so this can hit no other process.

        A start under way can be killed: whatever holds it up, it ends.
        """
        number = request.fields["number"]
        alive = self._state == "running"
        starting = number == signal.SIGKILL and self._runtime_pid != 0
        if alive:
            os.kill(self._pid, number)
        elif starting:
            self._killed = True  # the start may have succeeded by now
            descendants.kill_all(self._runtime_pid)
        request.answer(sent=alive or starting)

    def _close_stdin(self, request: Request) -> None:
        self._stdin.close()
        request.answer()

    # Start

    def _start(self, request: Request) -> None:
        if self._state != "ready":
            request.answer(error=f"the monitor is {self._state}")
            return
        self._state = "starting"
        self._start_request = request
        self._look = self._loop.after(START_S, self._look_at_start)
        self._begin()

    def _begin(self) -> None:
        self._runtime_pid = self._launcher.begin()
        ended = self._statuses.get(self._runtime_pid)
        self._statuses.clear()
        if ended is not None:
            self._on_runtime_end(ended)

    def _look_at_start(self) -> None:
        if self._runtime_pid:
            descendants.kill_stopped(self._runtime_pid)
            self._look = self._loop.after(START_S, self._look_at_start)

    def on_child(self, pid: int, status: int) -> None:
        """Every orphan of the container comes by; these three matter."""
        if pid == self._delete_pid:
            self._leave()
        elif pid == self._runtime_pid:
            self._on_runtime_end(status)
        elif pid == self._pid:
            self._on_process_end(status)
        elif self._state in ("ready", "starting"):
            # The process may end before its runtime does, and that before it is told to begin.
            self._statuses[pid] = status

    def _on_runtime_end(self, status: int) -> None:
        self._runtime_pid = 0
        try:
            self._pid = self._launcher.finish(status)
        except NotPrepared:
            self._begin_otherwise()
            return
        except LaunchFailed as error:
            self._fail(str(error))
            return
        self._state = "running"
        self._loop.cancel(self._look)
        self._handed_over = True
        self._child.close()
        if self._container and self._container.cgroup:
            self._oom = OomWatch(self._loop, self._container.cgroup, self._on_oom)
        if self._console is not None:
            self._console.receive()
            self._console.close_listener()
        elif self._pipes is not None:
            for stream, fd in self._pipes.outputs:
                self._outputs.open(stream, fd)
        if self._start_request is not None:
            self._start_request.answer(pid=self._pid)
        if self._pid in self._statuses:
            self._on_process_end(self._statuses[self._pid])
        elif self._killed:
            os.kill(self._pid, signal.SIGKILL)
        self._statuses.clear()

    def _begin_otherwise(self) -> None:
        """An exec that cannot do without the runtime."""
        self._launcher.release()
        self._launcher = OciLauncher(self._order, self._directory)
        try:
            self._launcher.prepare(self._child, self._console_path())
        except NotPrepared as error:
            self._fail(str(error))
            return
        self._begin()

    def _on_console(self, fd: int) -> None:
        self._outputs.open(STDOUT, fd)
        if self._order.stdin:
            self._stdin.connect(os.dup(fd))

    def _fail(self, text: str) -> None:
        """Nothing may be left behind; clients are the daemon's to answer."""
        self._state = "failed"
        if self._start_request is not None:
            self._start_request.answer(failed=text)
        self._clients.abandon()
        self._clean_up()

    # Running

    def _on_output(self, stream: str, data: bytes) -> None:
        if self._log is not None:
            self._log.write(stream, data)
        if not self._clients.empty:
            self._clients.send(stream, data)
            if self._clients.holding:
                self._outputs.hold(held=True)
        if self._capture:
            room = self._capture - len(self._captured)
            self._captured += data[:room]
            self._truncated = self._truncated or len(data) > room

    def _on_clients(self) -> None:
        if self._state == "gone":
            if self._clients.empty:
                self._end()
            return
        self._outputs.hold(held=self._clients.holding)

    def _on_oom(self) -> None:
        self._control.broadcast({"event": "oom"})

    def _on_detached(self, client_id: str) -> None:
        self._control.broadcast({"event": "detached", "client_id": client_id})

    # End

    def _on_lonely(self) -> None:
        """The last connection has closed."""
        if self._state == "ready":
            self._state = "failed"
            self._clients.finish()
            self._clean_up()

    def _on_process_end(self, status: int) -> None:
        self._state = "ended"
        finished_ns = time.time_ns()
        oom_killed = self._oom is not None and self._oom.killed()
        self._stdin.discard()
        code = os.waitstatus_to_exitcode(status)
        code = 128 - code if code < 0 else code
        self._exit = Exit(code, oom_killed, finished_ns)
        self._outputs.finish(DRAIN_S, self._on_drained)

    def _on_drained(self) -> None:
        assert self._exit is not None
        if self._console is not None:
            self._console.fd = -1  # closed with the output
        code = self._words.finish(self._exit.code)
        output = bytes(self._captured)
        self._exit = self._exit._replace(code=code, output=output, output_truncated=self._truncated)
        if self._log is not None:
            self._log.close()
        fields = protocol.from_exit(self._exit)
        with contextlib.suppress(OSError):
            self._directory.replace(protocol.EXIT_NAME, json.dumps(fields))
        # Before the clients hear the end: the first thing they do then is to ask for the code.
        self._control.broadcast({"event": "exit", **fields})
        self._clients.finish()
        self._clean_up()

    def _clean_up(self) -> None:
        self._delete_pid = self._launcher.clean_up()
        if not self._delete_pid:
            self._leave()
            return
        self._loop.after(DELETE_S, self._leave)

    def _leave(self) -> None:
        """Release everything somebody may wait for, then hang up. Once."""
        if self._state == "gone":
            return
        self._launcher.release()
        if self._container:
            cgroup.remove_stray(self._container.cgroup)
        self._state = "gone"
        self._control.close()
        self._close_stdio()
        if self._clients.empty:
            self._end()

    def _close_stdio(self) -> None:
        """What a start that failed has left."""
        self._stdin.discard()
        if self._console is not None:
            self._console.close_listener()
        if not self._handed_over:
            self._child.close()
            for _, fd in self._pipes.outputs if self._pipes is not None else ():
                os.close(fd)

    def _end(self) -> None:
        self._directory.close()
        self._on_gone(self)
