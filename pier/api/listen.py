"""Serving the application on sockets the daemon has opened.

Sockets, TLS and who may open them are the daemon's business (pier.daemon); here they only get a
`Connection` per client, which is what makes hijacking possible.
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from socket import AF_UNIX, socket

from aiohttp import web

from pier.api.connection import LONGEST_HEAD, Connection
from pier.api.dispatch import HIJACKED

_KEEPALIVE_S = 600.0
_SHUTDOWN_S = 2.0
_READ_AHEAD = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A bound socket (it need not listen yet), and the TLS to speak on it."""

    sock: socket
    tls: ssl.SSLContext | None = None


class Listener:
    """The running servers of one application: `open`, serve, `close`."""

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=_KEEPALIVE_S,
            shutdown_timeout=_SHUTDOWN_S,
            max_line_size=LONGEST_HEAD,
            max_field_size=LONGEST_HEAD,
            read_bufsize=_READ_AHEAD,
        )
        self._servers: list[asyncio.Server] = []

    async def open(self, endpoints: Sequence[Endpoint]) -> None:
        """Accept clients on every endpoint from now on. The sockets are the listener's then."""
        await self._runner.setup()
        for endpoint in endpoints:
            self._servers.append(await self._serve(endpoint))

    async def _serve(self, endpoint: Endpoint) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        serve = loop.create_unix_server if endpoint.sock.family == AF_UNIX else loop.create_server
        return await serve(self._connection, sock=endpoint.sock, ssl=endpoint.tls, backlog=512)

    def _connection(self) -> Connection:
        server = self._runner.server
        assert server is not None
        return Connection(server())

    async def close(self) -> None:
        """Accept nobody, give answers under way a moment, then end what is left."""
        for server in self._servers:
            server.close()
        tasks = self._app[HIJACKED]
        hijacked = tuple(tasks)
        for task in hijacked:
            task.cancel()
        await self._runner.cleanup()
        await asyncio.gather(*hijacked, return_exceptions=True)
