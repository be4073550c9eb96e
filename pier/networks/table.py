"""The firewall of this daemon, kept as the rows say.

Small changes are elements. If one is refused, somebody changed the table behind our back, or a
crash came between row and element: then the table is written anew, as a whole, from the rows.
"""

import asyncio
import logging
from collections.abc import Sequence

from pier.linux.nftables import Nftables, NftError
from pier.networks import firewall, neighbours
from pier.networks.firewall import Bridge, Forward
from pier.networks.model import Network
from pier.networks.store import Records

_log = logging.getLogger(__name__)


class Table:
    """The nftables table `name`, and our exceptions in others' that carry it as a comment."""

    def __init__(self, name: str, records: Records) -> None:
        self._name = name
        self._records = records
        self._nft = Nftables()
        self._routes = True
        # What is written anew must be read from the rows only when its turn has come: an element
        # added in between would be lost.
        self._turn = asyncio.Lock()

    async def rewrite(self) -> None:
        """Make everything as the rows say, whatever it was."""
        async with self._turn:
            await self._rewrite()

    async def _rewrite(self) -> None:
        bridges = [to_bridge(n) for n in self._records.networks() if n.bridge]
        forwards = self._records.forwards()
        script = firewall.table_script(self._name, bridges, forwards, routes=self._routes)
        try:
            await self._nft.apply_script(script)
        except NftError:
            if not self._routes:
                raise
            script = firewall.table_script(self._name, bridges, forwards, routes=False)
            await self._nft.apply_script(script)
            self._routes = False  # a kernel before 5.19
        await neighbours.admit(self._nft, self._name, [bridge.name for bridge in bridges])

    async def add(self, forwards: Sequence[Forward]) -> None:
        """Publish what has its rows already."""
        await self._change(firewall.add_elements(self._name, forwards))

    async def delete(self, forwards: Sequence[Forward]) -> None:
        """Publish no more what has its rows no more."""
        await self._change(firewall.delete_elements(self._name, forwards))

    async def check(self) -> None:
        """Look after others' changes: a dockerd that came, a ruleset that was flushed."""
        try:
            await self._nft.list_json("map", "inet", self._name, "published4")
        except NftError:
            _log.warning("nftables table %s was gone; it is written again", self._name)
            await self.rewrite()
            return
        bridges = [n.bridge for n in self._records.networks() if n.bridge]
        await neighbours.admit(self._nft, self._name, bridges)

    async def close(self, *, keep: bool) -> None:
        """Stop. keep: containers go on running, and with them what they need."""
        if not keep:
            await neighbours.withdraw(self._nft, self._name)
            await self._nft.apply_script(firewall.delete_script(self._name))
        await self._nft.close()

    async def _change(self, statements: Sequence[str]) -> None:
        async with self._turn:
            try:
                await self._nft.apply(statements)
            except NftError as error:
                _log.warning("nftables table %s is written again: %s", self._name, error)
                await self._rewrite()


def to_bridge(network: Network) -> Bridge:
    return Bridge(
        name=network.bridge,
        subnets=tuple(pool.subnet for pool in network.spec.pools),
        internal=network.spec.internal,
        icc=network.icc,
        masquerade=network.masquerades,
    )
