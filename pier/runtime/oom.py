"""Out of memory in a container's cgroup: told at once, and counted before the group is gone.

cgroup v1: an eventfd on memory.oom_control (memory.txt, section 9); v2: memory.events changes.
"""

import os
from collections.abc import Callable

from pier.linux import cgroup
from pier.runtime.loop import PRIORITY, READABLE, Loop


class OomWatch:
    """A group without the memory controller is never out of memory."""

    def __init__(self, loop: Loop, group: str, on_oom: Callable[[], None]) -> None:
        self._loop = loop
        self._on_oom = on_oom
        self._seen = 0
        self._fd = -1
        try:
            layout = cgroup.layout()
            directory = layout.path("memory", group)
            if layout.version == 1:
                self._open_v1(directory)
            else:
                self._open_v2(directory)
        except (OSError, LookupError):
            return

    def killed(self) -> bool:
        """Whether the kernel killed anything of the group. Ask before it is removed."""
        return self._kills() > 0

    def _open_v1(self, directory: str) -> None:
        self._fd = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        control = os.open(f"{directory}/cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(control, f"{event} {self._fd}".encode())
        finally:
            os.close(control)

        def on_event(_events: int) -> None:
            os.eventfd_read(event)
            # The group's removal is reported here too; the file can no longer be read then.
            if self._read():
                self._on_oom()
            else:
                self._loop.unwatch(event)

        self._loop.watch(event, READABLE, on_event)

    def _open_v2(self, directory: str) -> None:
        self._fd = os.open(f"{directory}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
        self._seen = self._kills()
        self._loop.watch(self._fd, PRIORITY, lambda _events: self._on_change())

    def _on_change(self) -> None:
        if not self._read():
            self._loop.unwatch(self._fd)
            return
        kills = self._kills()
        if kills > self._seen:
            self._seen = kills
            self._on_oom()

    def _kills(self) -> int:
        return cgroup.parse_flat(self._read()).get("oom_kill", 0)

    def _read(self) -> str:
        if self._fd < 0:
            return ""
        try:
            return os.pread(self._fd, 4096, 0).decode()
        except OSError:
            return ""
