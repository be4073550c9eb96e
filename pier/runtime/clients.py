"""All clients of a process: output to each, input from each, and who may hold whom back.

stdcopy frames (surface a.8): [stream,0,0,0][length, u32 big endian][payload]. A client that
came before the start holds output back while its queue is full, as Docker's do; one that came
later may do so for `stall_s`, then it is dropped: it must not stop a service for long.
"""

import struct
from collections.abc import Callable

from pier.runtime.client import Client
from pier.runtime.log_format import STDERR, STDOUT
from pier.runtime.loop import Loop
from pier.runtime.orders import AttachOptions
from pier.runtime.stdin import Stdin

_NUMBERS = {STDOUT: 1, STDERR: 2}
_SYSTEM_ERROR = 3
_DROPPED = b"attach: the client did not read its output in time and was disconnected\n"
_LINGER_S = 600.0
_HEADER = struct.Struct(">BxxxI")


def frame(number: int, data: bytes) -> bytes:
    return _HEADER.pack(number, len(data)) + data


class Clients:
    """`on_change()` is called when `holding` or `empty` may have changed."""

    def __init__(
        self,
        loop: Loop,
        stdin: Stdin,
        *,
        stall_s: float,
        on_change: Callable[[], None],
        on_detached: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._stdin = stdin
        self._stall_s = stall_s
        self._on_change = on_change
        self._on_detached = on_detached
        self._clients: list[Client] = []
        self._suspects: set[Client] = set()
        self._deadlines: dict[Client, int] = {}
        self._finished = False
        stdin.on_drained = self._resume_input

    @property
    def holding(self) -> bool:
        """Somebody's queue is full: read no more output for now."""
        return any(client.full for client in self._clients)

    @property
    def empty(self) -> bool:
        return not self._clients

    def attach(self, fd: int, options: AttachOptions, *, patient: bool) -> None:
        client = Client(self._loop, fd, options, self, patient=patient)
        self._clients.append(client)
        client.open()
        client.pause_input(paused=self._stdin.full)
        if self._finished:
            client.finish()

    def send(self, stream: str, data: bytes) -> None:
        number = _NUMBERS[stream]
        framed = b""
        for client in tuple(self._clients):
            options = client.options
            if not (options.stdout if number == 1 else options.stderr):
                continue
            if options.mux and not framed:
                framed = frame(number, data)
            client.send(framed if options.mux else data)
            if client.full and not client.patient:
                self._suspect(client)

    def finish(self) -> None:
        """No output will come: let everyone have the rest, then hang up."""
        self._finished = True
        for client in tuple(self._clients):
            linger_s = _LINGER_S if client.patient else self._stall_s
            self._deadlines[client] = self._loop.after(linger_s, client.close)
            client.finish()

    def abandon(self) -> None:
        """Let go of the sockets without ending the connections: the daemon answers on them."""
        for client in tuple(self._clients):
            client.close(shut=False)

    def _suspect(self, client: Client) -> None:
        if client not in self._suspects:
            self._suspects.add(client)
            self._loop.after(self._stall_s, lambda: self._judge(client))

    def _judge(self, client: Client) -> None:
        if client in self._suspects and client.full:
            reason = frame(_SYSTEM_ERROR, _DROPPED) if client.options.mux else b""
            client.drop(reason)
        self._suspects.discard(client)
        self._on_change()

    def _resume_input(self) -> None:
        for client in tuple(self._clients):
            client.pause_input(paused=False)

    def client_input(self, data: bytes) -> None:
        self._stdin.write(data)
        if self._stdin.full:
            for client in self._clients:
                client.pause_input(paused=True)

    def client_input_ended(self) -> None:
        self._stdin.client_ended()

    def client_detached(self, client: Client) -> None:
        self._on_detached(client.options.client_id)

    def client_progress(self) -> None:
        self._suspects = {client for client in self._suspects if client.full}
        self._on_change()

    def client_gone(self, client: Client) -> None:
        self._suspects.discard(client)
        self._clients.remove(client)
        if client in self._deadlines:
            self._loop.cancel(self._deadlines.pop(client))
        self._on_change()
