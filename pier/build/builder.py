"""Builds: from a request and what the client sends to an image, its tags and its files.

    <data_root>/tmp/build-<n>/      of one build: the context, downloads; gone with it
    <data_root>/build/mounts/       cache mounts
    <exec_root>/builds/<id>/        the bundle of a RUN; files-<n>/: small contexts, secrets

What is kept is the cache (rows and their layers) and images. A daemon that comes after a crash
calls `restore`: nothing of an interrupted build is left then.
"""

import asyncio
import errno
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pier.build import exports
from pier.build.building import Build
from pier.build.cache_mounts import CacheMounts
from pier.build.cache_store import DEFAULT_LIMIT_BYTES, CacheStore
from pier.build.checks import Finding, report
from pier.build.directories import removed
from pier.build.layers import Layers
from pier.build.progress import ImageBuilt, ImageTagged, InOrder, Progress
from pier.build.pruning import (
    MOUNT,
    STEP,
    CacheRecord,
    PruneRequest,
    chosen,
    total_bytes,
)
from pier.build.request import BuildRequest, BuildResult
from pier.build.run import MakeConfig, Runner, Sandboxes
from pier.build.scope import StepLocks
from pier.build.sources import ImageFinder
from pier.errors import Failed, InvalidArgument, Unavailable
from pier.images.store import Images
from pier.oci.reference import Reference, parse_reference
from pier.runtime.oci_runtime import Runtimes
from pier.runtime.spawners import Spawner
from pier.threads import blocking

_COUNTED_EVERY_NS = 3600 * 10**9
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderParts:
    """What a Builder is made of."""

    images: Images
    spawner: Spawner
    runtimes: Runtimes
    finder: ImageFinder
    make_config: MakeConfig
    sandboxes: Sandboxes
    data_root: Path
    exec_root: Path
    cgroup_parent: str
    cache_limit_bytes: int = DEFAULT_LIMIT_BYTES
    clock_ns: Callable[[], int] = time.time_ns


@dataclass(frozen=True, slots=True)
class CachePruned:
    """Keys and cache mounts that went, and the bytes they had."""

    keys: tuple[str, ...]
    bytes_reclaimed: int


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks found, and the same as `text` for people."""

    findings: tuple[Finding, ...]
    text: str


class NoRoom(Failed):
    """The disk is full, or a quota is used up. What was made is gone again."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"the build needs more room than there is: {error.strerror}")


class Stopping(Unavailable):
    def __init__(self) -> None:
        super().__init__("the build was stopped: the daemon is shutting down")


class Builder:
    def __init__(self, parts: BuilderParts) -> None:
        images = parts.images
        self._parts = parts
        self._images = images
        self._tmp = parts.data_root / "tmp"
        self._cache = CacheStore(images.database, images.leases)
        self._mounts = CacheMounts(parts.data_root / "build" / "mounts")
        self._locks = StepLocks()
        self._counted_ns = 0
        self._running: set[asyncio.Task[object]] = set()
        self._closed = False
        self._layers = Layers(
            images.database, images.content, images.snapshotter, self._cache, parts.clock_ns
        )
        self._runner = Runner(
            parts.exec_root,
            parts.spawner,
            parts.runtimes,
            parts.make_config,
            parts.sandboxes,
            cgroup_parent=parts.cgroup_parent,
        )

    async def restore(self) -> None:
        """At daemon start: end and remove what an interrupted daemon was building."""
        await self._runner.sweep()
        self._layers.sweep()
        for path in self._tmp.glob("build-*"):
            await removed(path)

    async def build(
        self,
        request: BuildRequest,
        context: AsyncIterator[bytes],
        progress: Progress,
        *,
        in_order: bool = True,
    ) -> BuildResult:
        """Build; what happens is told to `progress`, on the loop's thread.

        context is the client's archive (empty if request.remote says where it is). in_order:
        stages are told one after the other, as the classic stream needs it. Cancelling kills
        the RUN and leaves nothing. Raises DockerfileError, StepFailed, and other PierErrors.
        """
        names = tuple(_checked_tag(tag) for tag in request.tags)
        exports.check_outputs(request.outputs)
        async with (
            self._until_closed(),
            self._directory() as directory,
            self._begun(request, directory) as build,
        ):
            plan = await build.plan_from(context)
            ordered = InOrder(progress, [stage.index for stage in plan.stages])
            build.tell = ordered if in_order else progress
            try:
                result = await build.run()
            finally:
                ordered.flush()
            image_id = ""
            if exports.keeps_image(request.outputs):
                image_id = (await build.make_image(result, names)).id
            tags = tuple(name.familiar() for name in names) if image_id else ()
            made = exports.Made(result.chain_id, tags or (image_id,))
            files = await self._exported(request, made, directory)
        await self._bound_cache()
        if image_id:
            progress(ImageBuilt(id=image_id))
        for tag in tags:
            progress(ImageTagged(reference=tag))
        return BuildResult(image_id, tags, files)

    async def close(self) -> None:
        """End the builds under way; returns when nothing is left of them."""
        self._closed = True
        running = set(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    @asynccontextmanager
    async def _until_closed(self) -> AsyncIterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if self._closed:
                raise Stopping from None
            raise
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise NoRoom(error) from error
            raise
        finally:
            self._running.discard(task)

    async def check(self, request: BuildRequest, context: AsyncIterator[bytes]) -> Checked:
        """What the checks find in the Dockerfile; nothing is built."""
        async with self._directory() as directory, self._begun(request, directory) as build:
            await build.plan_from(context)
            checker = build.checker
            findings = await checker.of_all()
            text = report(findings, request.dockerfile, checker.dockerfile.lines)
            return Checked(tuple(findings), text)

    @asynccontextmanager
    async def _begun(self, request: BuildRequest, directory: Path) -> AsyncIterator[Build]:
        async with AsyncExitStack() as stack:
            build = Build(
                request=request,
                directory=directory,
                quick=await stack.enter_async_context(self._runner.scratch()),
                images=self._images,
                finder=self._parts.finder,
                layers=self._layers,
                cache=self._cache,
                locks=self._locks,
                caches=self._mounts,
                runner=self._runner,
                now=self._parts.clock_ns,
            )
            stack.callback(build.close)
            yield build

    async def _exported(
        self, request: BuildRequest, made: exports.Made, directory: Path
    ) -> tuple[BinaryIO, ...]:
        files: list[BinaryIO] = []
        with ExitStack() as opened:
            for output in request.outputs:
                file = await exports.export(output, made, self._images, directory)
                if file is not None:
                    opened.enter_context(file)
                    files.append(file)
            opened.pop_all()
        return tuple(files)

    async def usage(self) -> list[CacheRecord]:
        """The steps that are kept, and the cache mounts."""
        return [*self._cache.list_(), *await blocking(self._mounts.list_)]

    async def prune(self, request: PruneRequest) -> CachePruned:
        """Forget steps and cache mounts that nobody uses. Raises BadCacheFilter."""
        free = shutil.disk_usage(self._parts.data_root).free
        gone = chosen(await self.usage(), request, free)
        self._images.leases.end_left()
        self._cache.remove(record.key for record in gone if record.kind == STEP)
        for record in gone:
            if record.kind == MOUNT:
                await blocking(self._mounts.remove, record.key)
        self._images.collect()
        return CachePruned(tuple(record.key for record in gone), total_bytes(gone))

    async def _bound_cache(self) -> None:
        """Keep the cache within its limit: what was not used for longest goes first.

        What cache mounts hold must be counted file by file: now and then is enough.
        """
        limit, now_ns = self._parts.cache_limit_bytes, self._parts.clock_ns()
        counts = now_ns - self._counted_ns >= _COUNTED_EVERY_NS
        if counts:
            self._counted_ns = now_ns
        if counts or self._cache.total_bytes() > limit:
            await self.prune(PruneRequest(everything=True, reserved_bytes=limit))

    @asynccontextmanager
    async def _directory(self) -> AsyncIterator[Path]:
        path = self._tmp / f"build-{secrets.token_hex(8)}"
        try:
            path.mkdir(mode=0o700, parents=True)
            yield path
        finally:
            await removed(path)


def _checked_tag(text: str) -> Reference:
    reference = parse_reference(text).tagged()
    if reference.digest:
        raise InvalidArgument("refusing to create a tag with a digest reference")
    return reference
