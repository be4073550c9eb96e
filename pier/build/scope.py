"""What the steps of one build share: the cache, the lock that lets identical steps run once,
the clock, and the lease that keeps everything made so far.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pier.build.cache import Miss, StepKey, explain
from pier.build.cache_store import CacheStore, StepResult
from pier.build.layers import Layers
from pier.build.progress import BuildEvent
from pier.build.request import BuildRequest
from pier.oci.digest import Digest
from pier.oci.image import ImageConfig, next_chain_id
from pier.store.leases import Leases

KEY_COMMENT = "pier.build.v1 "
"""In an image's history: the key of the step that made an entry. `--cache-from` reads it."""
_LEASE_S = 24 * 3600.0


class StepLocks:
    """One lock for each step key under way, whatever build it belongs to."""

    def __init__(self) -> None:
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: defaultdict[str, int] = defaultdict(int)

    @contextlib.asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        self._waiting[key] += 1
        try:
            async with self._locks[key]:
                yield
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key], self._locks[key]


class Scope:
    """Of one build; `close` it when the result has a record of its own."""

    def __init__(
        self,
        *,
        request: BuildRequest,
        layers: Layers,
        cache: CacheStore,
        locks: StepLocks,
        leases: Leases,
        progress: Callable[[BuildEvent], None],
        now: Callable[[], int],
        directory: Path,
    ) -> None:
        self.request = request
        self.layers = layers
        self.directory = directory
        self.progress = progress
        self.epoch_ns = request.epoch_ns
        self._cache = cache
        self._locks = locks
        self._leases = leases
        self._now = now
        self._lease = leases.create(now(), _LEASE_S)
        self._made: dict[str, StepResult] = {}
        self._imported: dict[str, StepResult] = {}
        self._pulls: dict[str, Callable[[], Awaitable[None]]] = {}

    def close(self) -> None:
        self._leases.release(self._lease)

    def created_ns(self) -> int:
        """The time that a step made now bears."""
        return self._now() if self.epoch_ns is None else self.epoch_ns

    def keep(self, chain_id: str, blob: Digest | None = None) -> None:
        """Let nothing collect this while the build goes on."""
        if chain_id:
            self._leases.add(self._lease, "snapshot", chain_id)
        if blob is not None:
            self._leases.add(self._lease, "blob", blob)

    def hold(self, key: StepKey) -> contextlib.AbstractAsyncContextManager[None]:
        return self._locks.hold(key.digest)

    def find(
        self, key: StepKey, *, below: str | None = None, fresh: bool = False
    ) -> StepResult | None:
        """The result of the step, if it need not run. Ask while holding the key.

        below: the chain that the step starts from. A result on another one is of no use: what it
        was made from was made again since, and came out different. None: that does not matter.
        fresh: only what this build itself has made counts.
        """
        for result in self._candidates(key.digest, fresh=fresh):
            if self.layers.has(result) and (below is None or _is_on(below, result)):
                self.keep(result.chain_id, result.blob)
                return result
        return None

    def _candidates(self, digest: str, *, fresh: bool) -> Iterator[StepResult]:
        made = self._made.get(digest)
        if made is not None:
            yield made
        if fresh or self.request.no_cache:
            return
        kept = self._cache.find(digest, self._now()) if self.request.local_cache else None
        for found in (kept, self._imported.get(digest)):
            if found is not None:
                yield found

    async def fetch(self, key: StepKey, *, below: str | None = None) -> StepResult | None:
        """As `find`, from an image of `--cache-from` whose layers are not here: they are pulled."""
        pull = self._pulls.get(key.digest)
        if pull is None or self.request.no_cache:
            return None
        await pull()
        return self.find(key, below=below)

    def remember(self, key: StepKey, result: StepResult) -> None:
        self.keep(result.chain_id, result.blob)
        self._made[key.digest] = result

    def put_on(self, below: str, result: StepResult) -> StepResult:
        """The layer of `result` on another chain; what it was on does not matter."""
        if result.diff_id is None:
            return replace(result, chain_id=below)
        chain_id = self.layers.put_on(below, result.chain_id, result.diff_id, result.size)
        self.keep(chain_id)
        return replace(result, chain_id=chain_id)

    def note(self, key: StepKey, result: StepResult) -> None:
        """Put a step into the cache that made no files of its own."""
        self._cache.add(key, result, self._now())
        self.remember(key, result)

    def why(self, key: StepKey, *, fresh: bool = False) -> Miss:
        """Why `find` found nothing."""
        if self.request.no_cache:
            return Miss("caching is off (--no-cache)")
        if fresh:
            return Miss("caching is off for this stage (--no-cache-filter)")
        return explain(key, self._cache.similar(key))

    def import_history(self, config: ImageConfig, pull: Callable[[], Awaitable[None]]) -> None:
        """Take an image's layers as results, by the keys in its history (`--cache-from`).

        pull: brings the layers here, if they are wanted.
        """
        layers = iter(config.diff_ids)
        chain_id = ""
        for entry in config.history:
            diff_id = None if entry.empty_layer else next(layers, None)
            if diff_id is not None:
                chain_id = next_chain_id(chain_id, diff_id)
            if entry.comment.startswith(KEY_COMMENT):
                key = entry.comment.removeprefix(KEY_COMMENT)
                self._imported[key] = StepResult(chain_id, diff_id, None, 0, entry.created_ns)
                self._pulls[key] = pull


def _is_on(below: str, result: StepResult) -> bool:
    if result.diff_id is None:
        return result.chain_id == below
    return result.chain_id == next_chain_id(below, result.diff_id)


def total_steps(counts: Sequence[int]) -> int:
    """How many steps the progress counts: each FROM, and what follows it."""
    return sum(counts) + len(counts)
