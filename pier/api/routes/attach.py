"""Attaching to a container's stdio: hijacked, or by websocket."""

import asyncio
import socket
from http import HTTPStatus

from aiohttp import WSMsgType, web

from pier.api import streams
from pier.api.call import Call
from pier.api.dispatch import HIJACKED, Route, status_of
from pier.api.hijack import Serve, hijack, wants_upgrade
from pier.containers.attach import parse_detach_keys
from pier.containers.requests import AttachRequest
from pier.errors import PierError

_CHUNK = 64 * 1024


def _asked(call: Call) -> AttachRequest:
    return AttachRequest(
        stdin=call.flag("stdin"),
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        logs=call.flag("logs"),
        stream=call.flag("stream"),
        detach_keys=call.text("detachKeys"),
    )


def head_for(call: Call, *, mux: bool) -> bytes:
    """The header block of a connection that is taken over; its type is multiplexed since 1.42."""
    if not wants_upgrade(call.request):
        return streams.plain_head()
    multiplexed = mux and call.version.at_least(42)
    return streams.upgraded_head(streams.MULTIPLEXED if multiplexed else streams.RAW)


async def take_over(call: Call, head: bytes, serve: Serve, *, mux: bool) -> web.StreamResponse:
    """Hijack, known to the application, so that closing it ends what is being served."""
    task = asyncio.current_task()
    assert task is not None
    hijacked = call.request.app[HIJACKED]
    hijacked.add(task)
    try:
        return await hijack(call.request, head, serve, mux=mux)
    finally:
        hijacked.discard(task)


async def attach(call: Call) -> web.StreamResponse:
    try:
        parse_detach_keys(call.text("detachKeys"))  # nonsense, whoever is meant
        tty = call.engine.containers.get(call.name).spec.tty
        attachment = await call.engine.containers.attach(call.name, _asked(call))
    except PierError as error:
        return await _refuse(call, error)

    async def serve(sock: socket.socket, early: bytes) -> None:
        await attachment.serve(sock, early, mux=not tty)

    return await take_over(call, head_for(call, mux=not tty), serve, mux=not tty)


async def _refuse(call: Call, error: PierError) -> web.StreamResponse:
    """Docker has taken the connection over by now, so its errors of attach are plain text."""
    status = HTTPStatus(status_of(error))
    text = streams.error_text(str(error), mux=False)

    async def serve(sock: socket.socket, early: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(sock, text)

    return await take_over(call, streams.error_head(status, status.phrase), serve, mux=False)


async def attach_websocket(call: Call) -> web.StreamResponse:
    """Binary messages, unframed, both ways."""
    attachment = await call.engine.containers.attach(call.name, _asked(call))
    ws = web.WebSocketResponse()
    await ws.prepare(call.request)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_to_container(ws, ours))
            tasks.create_task(_from_container(ours, ws))
            with theirs:
                await attachment.serve(theirs, b"", mux=False)
    return ws


async def _to_container(ws: web.WebSocketResponse, sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    try:
        async for message in ws:
            if message.type is WSMsgType.BINARY:
                await loop.sock_sendall(sock, message.data)
            elif message.type is WSMsgType.TEXT:
                await loop.sock_sendall(sock, message.data.encode())
        sock.shutdown(socket.SHUT_RDWR)  # a websocket has no half-close
    except OSError:
        return  # the container's end has gone


async def _from_container(sock: socket.socket, ws: web.WebSocketResponse) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(sock, _CHUNK):
            await ws.send_bytes(data)
    except OSError:
        return  # one of the ends has gone
    finally:
        await ws.close()


ROUTES = (
    Route("POST", "/containers/{name}/attach", attach),
    Route("GET", "/containers/{name}/attach/ws", attach_websocket),
)
