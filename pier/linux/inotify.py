"""Waiting for files to change without asking again and again: inotify(7), for asyncio."""

import asyncio
import contextlib
import os

from pier.linux import syscalls

CONTENT = syscalls.IN_MODIFY | syscalls.IN_CREATE | syscalls.IN_MOVED_TO | syscalls.IN_CLOSE_WRITE
_EVENTS_BYTES = 64 * 1024


class DirectoryWatch:
    """Tells when something in a directory changed. Register first, then look, then wait."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._fd = syscalls.inotify_init1()
        try:
            syscalls.inotify_add_watch(self._fd, os.fspath(directory), CONTENT)
        except OSError:
            os.close(self._fd)
            raise
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)

    async def changed(self) -> None:
        """Return once something changed since the last return, or since the watch began."""
        await self._changed.wait()
        self._changed.clear()

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _read(self) -> None:
        """What happened does not matter, only that it did."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, _EVENTS_BYTES)
        self._changed.set()
