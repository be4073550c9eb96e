"""Exec: further processes in a running container."""

import socket

from aiohttp import web

from pier.api import answers
from pier.api.call import Call
from pier.api.dispatch import Route
from pier.api.routes.attach import head_for, take_over
from pier.api.routes.lifecycle import terminal_size
from pier.api.schema.execs import ExecBody, ExecStartBody, inspect_json, to_exec


async def create(call: Call) -> web.StreamResponse:
    spec = to_exec(await call.body(ExecBody), call.version)
    exec_id = await call.engine.execs.create(call.name, spec)
    return answers.json({"Id": exec_id}, 201)


async def start(call: Call) -> web.StreamResponse:
    """Attached unless `Detach`; it is the body's Tty, not the exec's, that decides the framing."""
    body = await call.optional_body(ExecStartBody) or ExecStartBody()
    size = body.console_size if body.tty and call.version.at_least(42) else None
    if body.detach:
        await call.engine.execs.start(call.name, console_size=size)
        return answers.empty(200)
    attachment = await call.engine.execs.attach(call.name, console_size=size)

    async def serve(sock: socket.socket, early: bytes) -> None:
        await attachment.serve(sock, early, mux=not body.tty)

    return await take_over(call, head_for(call, mux=not body.tty), serve, mux=not body.tty)


async def resize(call: Call) -> web.StreamResponse:
    height, width = terminal_size(call)
    await call.engine.execs.resize(call.name, height, width)
    return answers.empty(200)


async def inspect(call: Call) -> web.StreamResponse:
    return answers.json(inspect_json(call.engine.execs.get(call.name)))


ROUTES = (
    Route("POST", "/containers/{name}/exec", create),
    Route("POST", "/exec/{name}/start", start),
    Route("POST", "/exec/{name}/resize", resize),
    Route("GET", "/exec/{name}/json", inspect),
)
