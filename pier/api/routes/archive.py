"""A container's file system from outside: `docker cp` and export."""

from aiohttp import web

from pier.api import answers
from pier.api.call import Call
from pier.api.dispatch import Route
from pier.api.schema.archive import stat_header
from pier.api.transfers import TAR, body_chunks, send_archive
from pier.containers.requests import PathStat
from pier.errors import InvalidArgument

_STAT = "X-Docker-Container-Path-Stat"


class NoPath(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("bad parameter: pathcannot be empty")  # Docker's very words


def _path(call: Call) -> str:
    path = call.text("path")
    if not path:
        raise NoPath
    call.engine.containers.get(call.name)
    return path


async def stat(call: Call) -> web.StreamResponse:
    found: PathStat = await call.engine.containers.files.archive_stat(call.name, _path(call))
    return answers.empty(200, {_STAT: stat_header(found)})


async def get(call: Call) -> web.StreamResponse:
    found, chunks = await call.engine.containers.files.archive_get(call.name, _path(call))
    headers = {_STAT: stat_header(found)}
    return await send_archive(call.request, TAR, chunks, headers)


async def put(call: Call) -> web.StreamResponse:
    await call.engine.containers.files.archive_put(
        call.name,
        _path(call),
        body_chunks(call),
        no_overwrite_dir_non_dir=call.flag("noOverwriteDirNonDir"),
        copy_uid_gid=call.flag("copyUIDGID"),
    )
    return answers.empty(200)


async def export(call: Call) -> web.StreamResponse:
    chunks = await call.engine.containers.files.export(call.name)
    return await send_archive(call.request, "application/octet-stream", chunks)


ROUTES = (
    Route("HEAD", "/containers/{name}/archive", stat),
    Route("GET", "/containers/{name}/archive", get),
    Route("PUT", "/containers/{name}/archive", put),
    Route("GET", "/containers/{name}/export", export),
)
