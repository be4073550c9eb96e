"""Connecting clients to a container's stdio.

A client's own socket is handed to the monitor, which then serves it without the daemon: a
session goes on while the daemon restarts. A client that comes before the start waits in a queue
and is handed over when the monitor is ready and before the process runs, so it misses nothing.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from pier.containers.requests import AttachRequest, LogChunk
from pier.errors import InvalidArgument
from pier.runtime.monitors import Monitor
from pier.runtime.orders import DEFAULT_DETACH_KEYS, AttachOptions

_FRAME_TYPE = {"stdin": 0, "stdout": 1, "stderr": 2}


class InvalidDetachKeys(InvalidArgument):
    def __init__(self, text: str) -> None:
        super().__init__(f"Invalid detach keys ({text}) provided")


def parse_detach_keys(text: str) -> bytes:
    """The bytes a terminal sends for "ctrl-p,q"; Docker's default for "". InvalidDetachKeys."""
    if not text:
        return DEFAULT_DETACH_KEYS
    try:
        return bytes(_key_code(key) for key in text.split(","))
    except ValueError:
        raise InvalidDetachKeys(text) from None


def _key_code(key: str) -> int:
    if len(key) == 1 and key.isascii():
        return ord(key)
    if key == "DEL":
        return 0x7F
    control, _, letter = key.partition("ctrl-")
    if control or len(letter) != 1 or not ("a" <= letter <= "z" or letter in "@[\\]^_"):
        raise ValueError(key)
    return ord(letter.upper()) & 0x1F


def frame(stream: str, data: bytes) -> bytes:
    """One stdcopy frame."""
    return bytes((_FRAME_TYPE[stream], 0, 0, 0)) + len(data).to_bytes(4, "big") + data


@dataclass(frozen=True, slots=True)
class _Client:
    sock: socket.socket
    options: AttachOptions


class Queue:
    """Clients of a container that has not started yet. Owns their sockets."""

    def __init__(self) -> None:
        self._clients: list[_Client] = []

    def add(self, sock: socket.socket, options: AttachOptions) -> None:
        self._clients.append(_Client(sock.dup(), options))

    async def hand_over(self, monitor: Monitor) -> None:
        while self._clients:
            client = self._clients.pop(0)
            with client.sock:
                await monitor.attach(client.sock, client.options)

    def close(self) -> None:
        """The start failed, or the container is gone: hang up."""
        while self._clients:
            with self._clients.pop(0).sock as sock:
                _shut_down(sock)


def _shut_down(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client was quicker


@dataclass(frozen=True, slots=True)
class Attachment:
    """An attach that was accepted; `serve` is called when its connection has been taken over.

    `history` gives what was logged before, where the request asks for it. `connect` hands the
    socket to the monitor or to the queue.
    """

    request: AttachRequest
    tty: bool
    history: Callable[[], Awaitable[AsyncIterator[LogChunk]]]
    connect: Callable[[socket.socket, AttachOptions], Awaitable[None]]

    async def serve(self, sock: socket.socket, early: bytes, *, mux: bool) -> None:
        """Serve `sock` (non-blocking; stays the caller's). Returns when it is out of our hands."""
        if self.request.logs:
            await self._replay(sock, mux=mux)
        if not self.request.stream:
            return
        keys = parse_detach_keys(self.request.detach_keys) if self.tty else b""
        await self.connect(
            sock,
            AttachOptions(
                stdin=self.request.stdin,
                stdout=self.request.stdout,
                stderr=self.request.stderr,
                mux=mux,
                detach_keys=keys,
                early=early,
            ),
        )

    async def _replay(self, sock: socket.socket, *, mux: bool) -> None:
        loop = asyncio.get_running_loop()
        async for chunk in await self.history():
            framed = b"".join(frame(chunk.stream, line) for line in chunk.lines) if mux else b""
            await loop.sock_sendall(sock, framed or chunk.data)
