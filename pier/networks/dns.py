"""The embedded DNS server of a sandbox: 127.0.0.11, as Docker's clients expect. RFC 1035, 6891.

Its sockets are made inside the container's namespace and served by the daemon's event loop. They
listen on ports of their own, to which 53 is redirected, so that a container can be a DNS server.
They may outlive the daemon (`sockets`, docs/adr/0730): questions wait in them for the next one.
What is not a container's name goes on as it came, to the resolvers of the host from the host's
namespace, or from the container's to those given with `--dns`.
"""

import asyncio
import logging
import os
import random
import socket
from collections.abc import Callable, Coroutine, Sequence
from ipaddress import IPv4Address

import dns.rcode
from typing_extensions import override

from pier.linux import netns, nfnetlink
from pier.networks import files, names
from pier.networks.directory import View

_log = logging.getLogger(__name__)

_PORT = 53
_TABLE = "pier-dns"
_UPSTREAMS = 3
_UPSTREAM_S = 4.0
_IDLE_S = 10.0
_OUTSTANDING = 256
"""Questions under way for one container; each may have a socket."""
_CONVERSATIONS = 32
"""Connections of one container at a time: the descriptors are the daemon's."""
_HEADER = 12
_TRY_NEXT = (dns.rcode.SERVFAIL, dns.rcode.REFUSED)


class NameServer:
    """Answers in one sandbox, until it is closed."""

    def __init__(self, netns_fd: int, view: Callable[[], View], tasks: asyncio.TaskGroup) -> None:
        self._netns_fd = os.dup(netns_fd)
        self._view = view
        self._group = tasks
        self._tasks: set[asyncio.Task[None]] = set()
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._sockets: Sequence[socket.socket] = ()
        self._closed = False
        self._conversations = 0
        # Not for secrets: which of several containers of one name is named first.
        self._random = random.Random()  # noqa: S311

    @classmethod
    async def start(
        cls,
        netns_fd: int,
        view: Callable[[], View],
        tasks: asyncio.TaskGroup,
        sockets: Sequence[int] = (),
    ) -> "NameServer":
        """Serve the namespace `netns_fd`, of which a copy is kept. Questions run in `tasks`.

        sockets: an earlier server's, of which copies are served.
        """
        server = cls(netns_fd, view, tasks)
        try:
            if sockets:
                udp, tcp = (socket.socket(fileno=os.dup(fd)) for fd in sockets)
            else:
                udp, tcp = await asyncio.to_thread(netns.run_in, netns_fd, _listen)
            server._sockets = udp, tcp
            loop = asyncio.get_running_loop()
            server._udp, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(server), sock=udp
            )
            server._tcp = await asyncio.start_server(server._converse, sock=tcp)
        except BaseException:
            server.close()
            raise
        return server

    @property
    def sockets(self) -> Sequence[int]:
        """Descriptors of what listens: who holds copies has questions wait while nobody serves."""
        return [each.fileno() for each in self._sockets]

    def close(self) -> None:
        """Stop, and let go of the namespace once nothing here uses it any more."""
        if self._closed:
            return
        self._closed = True
        if self._udp is not None:
            self._udp.abort()
        if self._tcp is not None:
            self._tcp.close()
        for task in self._tasks:
            task.cancel()
        if not self._tasks:
            os.close(self._netns_fd)

    def ask(self, wire: bytes, reply: Callable[[bytes], None]) -> None:
        """Begin to answer a question that came by datagram."""

        async def work() -> None:
            try:
                if answer := await self._answer(wire, stream=False):
                    reply(answer)
            except (OSError, TimeoutError):
                _log.debug("a DNS question could not be answered", exc_info=True)
            except Exception:
                # What a container sends must not end the daemon's tasks.
                _log.exception("a DNS question ended in a bug")

        self._begin(work())

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        if self._closed:
            work.close()
            return
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._closed and not self._tasks:
            os.close(self._netns_fd)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Questions over TCP, one after the other; each has its length before it."""
        self._conversations += 1
        try:
            while self._conversations <= _CONVERSATIONS:
                async with asyncio.timeout(_IDLE_S):
                    wire = await _read_frame(reader)
                if not (answer := await self._answer(wire, stream=True)):
                    break
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        except (OSError, EOFError, TimeoutError):
            pass  # it went away, or has nothing more to ask
        finally:
            self._conversations -= 1
            writer.close()

    async def _answer(self, wire: bytes, *, stream: bool) -> bytes:
        """The response; b"" to what is no question."""
        query = names.parse_query(wire)
        if query is None:
            return b""
        view = self._view()
        local = names.answer(query, view.directories, view.links, shuffle=self._random)
        if local is None and names.stays_here(query, view.options):
            local = names.refuse(query, dns.rcode.NXDOMAIN)
        if local is None and len(self._tasks) > _OUTSTANDING:
            local = names.refuse(query, dns.rcode.REFUSED)
        if local is None and (answer := await self._forward(wire, view, stream=stream)):
            return answer
        local = local or names.refuse(query, dns.rcode.SERVFAIL)
        return local.to_wire() if stream else names.to_udp(query, local)

    async def _forward(self, wire: bytes, view: View, *, stream: bool) -> bytes:
        """What the first resolver says that is willing; b"" if none says anything."""
        if not view.goes_out:
            return b""
        servers = view.servers
        if not servers:
            servers = files.parse_resolv_conf(files.read_host_files().resolv_conf).servers
        said = b""
        for server in servers[:_UPSTREAMS]:
            try:
                async with asyncio.timeout(_UPSTREAM_S):
                    said = await self._exchange(
                        wire, server, inside=bool(view.servers), stream=stream
                    )
            except (OSError, EOFError, TimeoutError):
                continue
            if said[3] & 0xF not in _TRY_NEXT:
                break
        return said

    async def _exchange(self, wire: bytes, server: str, *, inside: bool, stream: bool) -> bytes:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        kind = (socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) | socket.SOCK_NONBLOCK
        if inside:
            made = await asyncio.to_thread(netns.socket_in, self._netns_fd, family, kind)
        else:
            made = socket.socket(family, kind | socket.SOCK_CLOEXEC)
        with made:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(made, (server, _PORT))
            return await (_by_stream(made, wire) if stream else _by_datagram(made, wire))


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    @override
    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # typeshed says BaseTransport
        self._transport = transport

    @override
    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        transport = self._transport
        assert transport is not None

        def reply(answer: bytes) -> None:
            if not transport.is_closing():
                transport.sendto(answer, addr)

        self._server.ask(data, reply)


def _listen() -> tuple[socket.socket, socket.socket]:
    """Both sockets, in the namespace of the calling thread, and port 53 led to them."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        for each in (udp, tcp):
            each.setblocking(False)
            each.bind((files.RESOLVER, 0))
        tcp.listen()
        targets = {"udp": udp.getsockname()[1], "tcp": tcp.getsockname()[1]}
        nfnetlink.redirect(_TABLE, IPv4Address(files.RESOLVER), _PORT, targets)
    except OSError:
        udp.close()
        tcp.close()
        raise
    return udp, tcp


async def _by_datagram(connected: socket.socket, wire: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connected, wire)
    while True:
        said = await loop.sock_recv(connected, 65535)
        if len(said) >= _HEADER and said[:2] == wire[:2]:
            return said


async def _by_stream(connected: socket.socket, wire: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(sock=connected.dup())
    try:
        writer.write(len(wire).to_bytes(2, "big") + wire)
        said = await _read_frame(reader)
    finally:
        writer.close()
    if len(said) < _HEADER:
        raise EOFError
    return said


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
