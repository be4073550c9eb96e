"""Keeping a pull-through cache within bounds: bytes in all, and time since a blob was asked for.

Everything in a cache can be fetched again, so content goes without a look at what refers to it:
what nobody has asked for in too long, then the least recently asked for, until the rest fits.
What was asked for a moment ago stays, even over the bound: somebody is about to read it.
"""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pier.errors import InvalidArgument
from pier.oci.digest import Digest, InvalidDigest, parse_digest
from pier.registry.server.backend import Entry
from pier.registry.server.contents import Contents, blob_key, blob_link
from pier.registry.server.faults import Fault
from pier.registry.server.metrics import Metrics

logger = logging.getLogger(__name__)
_SPARED_S = 60.0
_LONGEST_S = 600.0
_SIZE = re.compile(r"(\d{1,15})([kmgt]?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(text: str) -> int:
    """Bytes: `500m`, `20g`, a plain number. Raises InvalidArgument."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(f"invalid size: '{text}'")
    return int(match[1]) << 10 * _POWERS[match[2].lower()]


@dataclass(frozen=True, slots=True)
class Bounds:
    """0: no bound."""

    size_bytes: int = 0
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Evicted:
    blobs: int
    size_bytes: int


def choose(entries: Sequence[Entry], bounds: Bounds, now_s: float, spared_s: float) -> list[Entry]:
    """What has to go, the least recently used first. Pure."""
    total = sum(entry.size for entry in entries)
    chosen = []
    for entry in sorted(entries, key=lambda entry: entry.used_s):
        idle_s = now_s - entry.used_s
        old = bool(bounds.age_s) and idle_s > bounds.age_s
        too_much = bool(bounds.size_bytes) and total > bounds.size_bytes and idle_s > spared_s
        if old or too_much:
            chosen.append(entry)
            total -= entry.size
    return chosen


class Eviction:
    """One per cache. `run` for one pass, `run_forever` beside the server."""

    def __init__(
        self, contents: Contents, bounds: Bounds, metrics: Metrics, spared_s: float = _SPARED_S
    ) -> None:
        self._contents = contents
        self._bounds = bounds
        self._metrics = metrics
        self._spared_s = spared_s
        self._total = 0
        self._wanted = asyncio.Event()

    def grown(self, size: int) -> None:
        """A blob has come."""
        self._total += size
        if 0 < self._bounds.size_bytes < self._total:
            self._wanted.set()

    async def run_forever(self) -> None:
        if not (self._bounds.size_bytes or self._bounds.age_s):
            return
        pause_s = min(self._bounds.age_s / 10 or _LONGEST_S, _LONGEST_S)
        while True:
            try:
                await self.run()
            except Exception:
                logger.exception("the cache cannot be kept within its bounds")
            over = 0 < self._bounds.size_bytes < self._total
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(pause_s, self._spared_s) if over else pause_s):
                    await self._wanted.wait()
            self._wanted.clear()

    async def run(self) -> Evicted:
        """Remove what has to go."""
        entries = await self._contents.backend.entries("blobs/sha256")
        now_s = time.time()
        used = [self._as_used(entry, now_s) for entry in entries]
        chosen = choose(used, self._bounds, now_s, self._spared_s)
        if chosen:
            await self._forget({entry.name for entry in chosen})
            for entry in chosen:
                await self._contents.backend.delete(f"blobs/sha256/{entry.name}")
        gone = sum(entry.size for entry in chosen)
        self._total = sum(entry.size for entry in entries) - gone
        self._metrics.evicted(gone)
        if chosen:
            logger.info("evicted %d blobs, %d bytes", len(chosen), gone)
        return Evicted(len(chosen), gone)

    def _as_used(self, entry: Entry, now_s: float) -> Entry:
        """With what this process knows: object storage keeps no time of use."""
        with contextlib.suppress(InvalidDigest):
            ago_s = self._contents.used_ago_s(parse_digest(f"sha256:{entry.name}"))
            if ago_s is not None and now_s - ago_s > entry.used_s:
                return Entry(entry.name, entry.size, now_s - ago_s)
        return entry

    async def _forget(self, hexes: Collection[str]) -> None:
        """Take names and links away before the content they lead to."""
        for name in await self._contents.repositories():
            for digest in await self._contents.manifests(name):
                if digest.partition(":")[2] in hexes:
                    with contextlib.suppress(Fault):  # gone already
                        await self._contents.delete_manifest(name, digest)
            for digest in await self._contents.linked_blobs(name):
                if digest.partition(":")[2] in hexes:
                    await self._contents.backend.delete(blob_link(name, digest))


async def mark_used(contents: Contents, digests: Collection[Digest]) -> None:
    """Note that these were asked for now."""
    for digest in digests:
        ago_s = contents.used_ago_s(digest)
        contents.touch(digest)
        if ago_s is None or ago_s > _SPARED_S / 2:
            await contents.backend.touch(blob_key(digest))
