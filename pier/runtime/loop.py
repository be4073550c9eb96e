"""The monitor's event loop: epoll, timers, children. Nothing else, for asyncio costs 10 MB.

Level triggered; a handler may watch and unwatch anything, itself included.
"""

# What signal wraps, without the enums that cost each monitor 100 kB; typeshed does not know it.
import _signal  # type: ignore[import-not-found]
import contextlib
import errno
import heapq
import os
import select
import time
from collections.abc import Callable
from types import FrameType

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
PRIORITY = select.EPOLLPRI
HANGUP = select.EPOLLHUP | select.EPOLLERR

Handler = Callable[[int], None]


class Loop:
    """`on_child(pid, status)` is called for every child that ended, adopted ones included."""

    def __init__(self, on_child: Callable[[int, int], None]) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._next_timer = 0
        self._on_child = on_child
        self._stopped = False
        self._watch_children()

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Call `handler(events)` whenever `fd` is ready; replaces an earlier watch of it."""
        if fd in self._handlers:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def unwatch(self, fd: int) -> None:
        """Before the descriptor is closed. Twice is fine."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def after(self, delay_s: float, callback: Callable[[], None]) -> int:
        """A token for `cancel`."""
        self._next_timer += 1
        heapq.heappush(self._timers, (time.monotonic() + delay_s, self._next_timer, callback))
        return self._next_timer

    def cancel(self, token: int) -> None:
        """Twice is fine, and when it is over, too."""
        self._timers = [timer for timer in self._timers if timer[1] != token]
        heapq.heapify(self._timers)

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> None:
        while not self._stopped:
            for fd, events in self._epoll.poll(self._run_timers()):
                # An earlier handler of this round may have unwatched this one.
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler(events)

    def _run_timers(self) -> float | None:
        """Seconds until the next timer, None without one."""
        while self._timers:
            due, _, callback = self._timers[0]
            wait_s = due - time.monotonic()
            if wait_s > 0:
                return wait_s
            heapq.heappop(self._timers)
            callback()
            if self._stopped:
                return 0
        return None

    def _watch_children(self) -> None:
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        _signal.signal(_signal.SIGCHLD, _ignore)
        _signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

        def reap(_events: int) -> None:
            with contextlib.suppress(BlockingIOError):
                os.read(reading, 4096)
            self.reap()

        self.watch(reading, READABLE, reap)

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._on_child(pid, status)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """A handler there must be, or the wakeup descriptor stays silent."""


def is_gone(error: OSError) -> bool:
    """The other end of a pipe or socket has left: normal, for clients come and go."""
    return error.errno in (errno.EPIPE, errno.ECONNRESET, errno.EIO, errno.ENOTCONN)
