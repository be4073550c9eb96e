"""Serving the application on sockets the daemon has opened.

Sockets, TLS and who may open them are the daemon's business (pier.daemon); here they only get a
`Connection` per client, which is what makes hijacking possible.

Accepting is done here and not by asyncio's server: without descriptors that one logs a traceback
for every place in its backlog, every second, for as long as clients wait.
"""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from pier.api.connection import LONGEST_HEAD, Connection
from pier.api.dispatch import HIJACKED

_KEEPALIVE_S = 600.0
_SHUTDOWN_S = 2.0
_READ_AHEAD = 256 * 1024
"""Of a body nobody takes at the moment; aiohttp holds up to twice as much."""
_BACKLOG = 512
_PAUSE_S = 1.0
_SILENCE_S = 60.0
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 8))
"""tcp(7): a client's machine that is gone is noticed in three minutes."""
log = logging.getLogger("pier.api")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A bound socket (it need not listen yet), and the TLS to speak on it."""

    sock: socket.socket
    tls: ssl.SSLContext | None = None


class Listener:
    """The running servers of one application: `open`, serve, `close`.

    worked: called when a client has gone.
    """

    def __init__(self, app: web.Application, worked: Callable[[], object] = lambda: None) -> None:
        self._app = app
        self._worked = worked
        self._runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=_KEEPALIVE_S,
            shutdown_timeout=_SHUTDOWN_S,
            max_line_size=LONGEST_HEAD,
            max_field_size=LONGEST_HEAD,
            read_bufsize=_READ_AHEAD,
        )
        self._endpoints: Sequence[Endpoint] = ()
        self._accepting: list[asyncio.Task[None]] = []
        self._adopted: set[asyncio.Task[None]] = set()

    async def open(self, endpoints: Sequence[Endpoint]) -> None:
        """Accept clients on every endpoint from now on. The sockets are the listener's then."""
        await self._runner.setup()
        self._endpoints = endpoints
        loop = asyncio.get_running_loop()
        for endpoint in endpoints:
            endpoint.sock.setblocking(False)
            endpoint.sock.listen(_BACKLOG)
            self._accepting.append(loop.create_task(self._accept(endpoint)))

    async def _accept(self, endpoint: Endpoint) -> None:
        loop = asyncio.get_running_loop()
        complaint = _Complaint()
        async with asyncio.TaskGroup() as greeted:
            while True:
                try:
                    client, _ = await loop.sock_accept(endpoint.sock)
                except ConnectionError:
                    continue  # it hung up in the backlog
                except OSError as error:
                    complaint.log(error)
                    await asyncio.sleep(_PAUSE_S)
                    continue
                greeted.create_task(self._greet(client, endpoint.tls))

    async def _greet(self, client: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Have the client served; with TLS, once the handshake is over."""
        loop = asyncio.get_running_loop()
        try:
            if client.family != socket.AF_UNIX:
                for option, value in _KEEPALIVE:
                    client.setsockopt(socket.IPPROTO_TCP, option, value)
            await loop.connect_accepted_socket(self._connection, client, ssl=tls)
        except OSError as error:  # also ssl.SSLError: no client of ours
            log.debug("a connection was not made: %s", error)
            client.close()

    def adopt(self, client: socket.socket) -> None:
        """Serve a client that somebody else has accepted on a unix socket."""
        client.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._greet(client, None))
        self._adopted.add(task)
        task.add_done_callback(self._adopted.discard)

    def _connection(self) -> Connection:
        server = self._runner.server
        assert server is not None
        return Connection(server(), self._worked)

    async def close(self) -> None:
        """Accept nobody, give answers under way a moment, then end what is left."""
        for accepting in self._accepting:
            accepting.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for endpoint in self._endpoints:
            endpoint.sock.close()
        tasks = self._app[HIJACKED]
        hijacked = tuple(tasks)
        for task in hijacked:
            task.cancel()
        await self._runner.cleanup()
        await asyncio.gather(*hijacked, return_exceptions=True)


class _Complaint:
    """That nobody can be accepted is said once a minute, however often it is tried."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def log(self, error: OSError) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + _SILENCE_S
            log.error("no connection can be accepted: %s; clients wait", error.strerror)
