"""Memory goes back to the kernel some time after it was needed.

The C library keeps what is freed, and sixty stalled downloads were a gigabyte. An idle daemon does
nothing: only what has happened since starts the timer.
"""

import asyncio
import os
from pathlib import Path

from pier.linux import memory

_REST_S = 10.0
_SLACK_BYTES = 8 * 1024 * 1024
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Trimming:
    """`worked()` after every request. To be made when there is nothing to give back."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._least = resident_bytes()

    def worked(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_REST_S, self._look)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        """How much of it is free nobody knows; looking takes a few milliseconds."""
        self._timer = None
        if resident_bytes() > self._least + _SLACK_BYTES:
            memory.trim()


def resident_bytes() -> int:
    """proc_pid_statm(5): resident pages. The kernel's count may be some pages behind."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
