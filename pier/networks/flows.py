"""UDP flows that lead to a container that is gone, or past a port published since: forgotten.

Looking through what the kernel remembers takes 10 to 50 ms, however little that is, so it happens
a moment later, in a thread, once for all that came and went meanwhile.
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from ipaddress import ip_address

from pier.linux import conntrack
from pier.networks.firewall import Forward

_log = logging.getLogger(__name__)

_DELAY_S = 0.02


class Flows:
    """What is to be forgotten, and when."""

    def __init__(self) -> None:
        self._waiting: set[Forward] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Future[int] | None = None

    def forget(self, forwards: Sequence[Forward]) -> None:
        """Have clients of `forwards` led anew: these were just published, or are no more."""
        self._waiting.update(forward for forward in forwards if forward.protocol == "udp")
        self._arrange()

    async def close(self) -> None:
        """Wait for what has begun, drop the rest."""
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
        if self._looking is not None:
            await asyncio.wait([self._looking])

    def _arrange(self) -> None:
        if self._waiting and self._timer is None and self._looking is None:
            self._timer = asyncio.get_running_loop().call_later(_DELAY_S, self._look)

    def _look(self) -> None:
        waiting, self._waiting, self._timer = self._waiting, set(), None
        work = partial(
            conntrack.forget_udp,
            host_ports={forward.host_port for forward in waiting},
            addresses={ip_address(forward.address).packed for forward in waiting},
        )
        self._looking = asyncio.get_running_loop().run_in_executor(None, work)
        self._looking.add_done_callback(self._looked)

    def _looked(self, done: asyncio.Future[int]) -> None:
        self._looking = None
        if not done.cancelled() and (error := done.exception()):
            _log.warning("UDP flows to former containers live on: %s", error)
        self._arrange()
