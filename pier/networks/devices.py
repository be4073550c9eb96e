"""The bridge devices of all networks, kept there: somebody may delete one while containers run.

A container goes on in its own namespace without its bridge, reaching nobody. So a start that
misses the device, the daemon's own start, and a look every now and then make it anew, as it was,
and plug the running containers in again.
"""

import asyncio
import logging

from pier.networks import bridge
from pier.networks.model import Network
from pier.networks.store import Records

_log = logging.getLogger(__name__)


class Devices:
    def __init__(self, records: Records, instance: str) -> None:
        self._records = records
        self._instance = instance

    async def mend(self, network: Network) -> None:
        """Make the network's device if it is missing, with those endpoints on it that run."""
        if not network.bridge:
            return
        hairpins = {
            member.endpoint.veth: bool(self._records.ports(member.container_id))
            for member in self._records.members(network.id)
        }
        await asyncio.to_thread(bridge.mend, network, self._instance, hairpins)

    async def check(self) -> None:
        """Mend all, if one is missing."""
        networks = [network for network in self._records.networks() if network.bridge]
        try:
            await asyncio.to_thread(bridge.check_present, networks)
        except bridge.BridgeMissing as missing:
            _log.warning("%s: it is made again", missing)
            for network in networks:
                await self.mend(network)
