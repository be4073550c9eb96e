"""`RUN --mount=type=ssh`: an agent's socket as a RUN may see it, and no file of the host.

The agent answers only its own user and root, so what is mounted is a socket of ours, with the
owner and mode that the mount asks for, and what comes in is passed on by the daemon.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from pier.build.run_mounts import RunMount

_CHUNK = 64 * 1024
_MODE = 0o600


@asynccontextmanager
async def relayed(agent: str, place: Path, mount: RunMount) -> AsyncIterator[None]:
    """A socket at `place` that speaks for `agent` until the block ends."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            with suppress(OSError):
                await _pass_on(agent, reader, writer)
        finally:
            serving.discard(task)
            writer.close()

    # By descriptor: a socket's name has no more than 107 bytes.
    directory = os.open(place.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        name = f"/proc/self/fd/{directory}/{place.name}"
        server = await asyncio.start_unix_server(serve, name)
        _dress(place, mount)
    finally:
        os.close(directory)
    try:
        yield
    finally:
        server.close()
        for task in tuple(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def _dress(place: Path, mount: RunMount) -> None:
    os.chown(place, mount.uid or 0, mount.gid or 0)
    place.chmod(_MODE if mount.mode is None else mount.mode)


async def _pass_on(agent: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    answers, questions = await asyncio.open_unix_connection(agent)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_pump(reader, questions))
            group.create_task(_pump(answers, writer))
    except* OSError:
        pass  # one end has gone, and so does the other
    finally:
        questions.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
