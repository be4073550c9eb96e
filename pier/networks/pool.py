"""Sandboxes made before they are asked for, and swept away after nobody waits any more.

Making one takes 2 to 3 ms, so a few wait; they are made again when the start that took one has
had time to use the processor. Letting go happens in a thread of its own, in batches. Neither
outlives the daemon: a sandbox nobody runs in goes with our descriptors.
"""

import asyncio
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from pier.networks import sandbox
from pier.networks.sandbox import Namespace

_log = logging.getLogger(__name__)

_REFILL_DELAY_S = 0.03
_SWEEP_DELAY_S = 0.02


class SandboxPool:
    """Ready namespaces: `size` with a veth, and two bare ones for containers without a network."""

    def __init__(self, size: int) -> None:
        self._wanted = {True: size, False: min(size, 2)}
        self._ready: dict[bool, deque[Namespace]] = {True: deque(), False: deque()}
        self._threads = ThreadPoolExecutor(1, "sandboxes")
        self._leaving: list[Namespace] = []
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._closed = False

    async def take(self, *, with_veth: bool) -> Namespace:
        """A namespace, from now on the caller's, who gives it to `let_go` some day."""
        self._later("refill", _REFILL_DELAY_S)
        if self._ready[with_veth]:
            return self._ready[with_veth].popleft()
        making = asyncio.get_running_loop().run_in_executor(
            None, lambda: sandbox.make(with_veth=with_veth)
        )
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(self._unwanted)
            raise

    def let_go(self, namespace: Namespace) -> None:
        """Have it swept away, soon."""
        self._leaving.append(namespace)
        self._later("sweep", _SWEEP_DELAY_S)

    async def swept(self) -> None:
        """Wait until all that were let go of are silent: their addresses can be used again."""
        self._sweep()
        await asyncio.wrap_future(self._threads.submit(lambda: None))

    async def fill(self) -> None:
        """Make what is missing, and wait for it."""
        self._refill()
        await asyncio.wrap_future(self._threads.submit(lambda: None))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        for ready in self._ready.values():
            self._leaving.extend(ready)
            ready.clear()
        await self.swept()
        await asyncio.to_thread(self._threads.shutdown)
        for ready in self._ready.values():  # made while we closed
            sandbox.let_go(ready)
            ready.clear()

    def _unwanted(self, made: asyncio.Future[Namespace]) -> None:
        if not made.cancelled() and made.exception() is None:
            self.let_go(made.result())

    def _later(self, what: str, delay_s: float) -> None:
        if what not in self._timers and not self._closed:
            work = self._refill if what == "refill" else self._sweep
            self._timers[what] = asyncio.get_running_loop().call_later(delay_s, work)

    def _refill(self) -> None:
        self._timers.pop("refill", None)
        for with_veth, wanted in self._wanted.items():
            for _ in range(wanted - len(self._ready[with_veth])):
                self._threads.submit(self._make, with_veth=with_veth)

    def _make(self, *, with_veth: bool) -> None:
        # Refills may overlap, so the number is looked at again; deque.append is atomic.
        if self._closed or len(self._ready[with_veth]) >= self._wanted[with_veth]:
            return
        try:
            self._ready[with_veth].append(sandbox.make(with_veth=with_veth))
        except OSError:
            _log.warning("no sandbox could be made ready", exc_info=True)

    def _sweep(self) -> None:
        if timer := self._timers.pop("sweep", None):
            timer.cancel()
        leaving, self._leaving = self._leaving, []
        if leaving:
            self._threads.submit(_let_go, leaving)


def _let_go(leaving: list[Namespace]) -> None:
    try:
        sandbox.let_go(leaving)
    except OSError:
        _log.warning("sandboxes could not be silenced", exc_info=True)
