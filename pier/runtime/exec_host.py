"""One process that monitors many execs: forked once, it pays for its pages once.

An exec's own monitor costs a fork, and a page of memory for every object it touches. This one is
there, warm, after the first; it ends when there has been no exec for a while. A container's
process never gets its monitor here: a container must not depend on what other containers run.
"""

import contextlib
import os
import socket
from typing import NoReturn

from pier.runtime import monitor, protocol
from pier.runtime.loop import READABLE, Loop
from pier.runtime.monitor import Monitor

MANY = 32
"""More execs at a time get monitors of their own: descriptors are bounded."""
_IDLE_S = 45.0
"""Longer than health checks' usual interval."""


def main(daemon: socket.socket) -> NoReturn:
    """The life of a freshly forked host. Orders come as the spawner's do."""
    monitor.become_monitor(daemon.fileno(), "pier-execs")
    Host(daemon).run()
    os._exit(0)


class Host:
    def __init__(self, daemon: socket.socket) -> None:
        self._daemon = daemon
        self._alone = False
        self._monitors: set[Monitor] = set()
        self._loop = Loop(self._on_child)
        self._idle = self._loop.after(_IDLE_S, self._loop.stop)
        daemon.setblocking(False)
        self._loop.watch(daemon.fileno(), READABLE, lambda _events: self._on_order())

    def run(self) -> None:
        self._loop.run()

    def _on_child(self, pid: int, status: int) -> None:
        for each in tuple(self._monitors):
            each.on_child(pid, status)

    def _on_order(self) -> None:
        message = protocol.receive(self._daemon)
        if message.ended:
            # Execs that run go on without the daemon.
            self._alone = True
            self._loop.unwatch(self._daemon.fileno())
            self._rest()
            return
        self._loop.cancel(self._idle)
        control = socket.socket(fileno=message.fds[0])
        if len(self._monitors) < MANY:
            self._start(message, control)
        elif os.fork() == 0:
            monitor.main(message.fields["order"], control)
        else:
            control.close()

    def _start(self, message: protocol.Message, control: socket.socket) -> None:
        try:
            order = protocol.to_order(message.fields["order"])
            started = Monitor(order, control, self._loop, self._on_gone)
        except Exception as error:  # the others go on; it must be found by somebody
            with contextlib.suppress(OSError), control:
                text = f"{type(error).__name__}: {error}"
                protocol.send(control, {"event": "failed", "error": text})
            self._rest()
            return
        self._monitors.add(started)
        started.greet()

    def _on_gone(self, ended: Monitor) -> None:
        self._monitors.discard(ended)
        self._rest()

    def _rest(self) -> None:
        self._loop.cancel(self._idle)
        if not self._monitors:
            self._idle = self._loop.after(0 if self._alone else _IDLE_S, self._loop.stop)
