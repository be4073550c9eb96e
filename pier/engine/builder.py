"""The builder, made when somebody builds: its modules take an idle daemon 3 MB."""

import asyncio
import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pier.containers.facts import HostFacts
from pier.containers.parts import Parts
from pier.images.offline import OfflinePuller
from pier.settings import Paths, Settings
from pier.store.snapshots import Snapshotter

if TYPE_CHECKING:
    from pier.build.builder import Builder, CachePruned, Checked
    from pier.build.pruning import CacheRecord, PruneRequest
    from pier.build.request import BuildResult

SNAPSHOTS = "build/"
RUNS = "builds"
DIRECTORIES = "build-*"
"""What a builder has while it builds: snapshots, below the exec root, below tmp."""


def left_behind(paths: Paths, snapshotter: Snapshotter) -> bool:
    """Whether an interrupted daemon left something that the builder's restore is to remove."""
    runs = paths.exec_root / RUNS
    return (
        bool(snapshotter.list_keys(SNAPSHOTS))
        or any(paths.tmp.glob(DIRECTORIES))
        or (runs.is_dir() and any(runs.iterdir()))
    )


class BuilderOnDemand:
    def __init__(
        self, parts: Parts, settings: Settings, puller: OfflinePuller, facts: HostFacts
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._puller = puller
        self._facts = facts
        self._lock = asyncio.Lock()
        self._builder: Builder | None = None

    async def get(self) -> "Builder":
        """Made and restored."""
        async with self._lock:
            if self._builder is None:
                await asyncio.to_thread(importlib.import_module, "pier.engine.building")
                from pier.engine.building import make_builder

                builder = make_builder(self._parts, self._settings, self._puller, self._facts)
                await builder.restore()
                self._builder = builder
            return self._builder

    async def close(self) -> None:
        """End what is being built, before anything it needs is closed."""
        if self._builder is not None:
            await self._builder.close()

    # What the API asks a Builder. Any: the arguments are its own.

    async def build(self, *arguments: Any, **options: Any) -> "BuildResult":
        return await (await self.get()).build(*arguments, **options)

    async def check(self, *arguments: Any) -> "Checked":
        return await (await self.get()).check(*arguments)

    async def usage(self) -> "Sequence[CacheRecord]":
        return await (await self.get()).usage()

    async def prune(self, request: "PruneRequest") -> "CachePruned":
        return await (await self.get()).prune(request)
