"""One build under way: context, plan, stages side by side, and the image at the end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pier.build import fetch, git
from pier.build.cache_mounts import CacheMounts
from pier.build.cache_store import CacheStore
from pier.build.context import (
    Context,
    blocking_chunks,
    open_context,
    remote_dockerfile,
    unpack_where_it_fits,
)
from pier.build.instructions import Arg
from pier.build.layers import Layers
from pier.build.mounting import Mounter
from pier.build.parser import DockerfileError, parse_dockerfile
from pier.build.plan import (
    Plan,
    PlanInputs,
    Program,
    Stage,
    make_plan,
    platform_arguments,
    read_program,
)
from pier.build.progress import BuildEvent, Remark
from pier.build.request import BuildRequest, Layer
from pier.build.run import Runner
from pier.build.scope import Scope, StepLocks, total_steps
from pier.build.sources import GetImage, Sources, below
from pier.build.squash import squash
from pier.build.stage import StageBuild, StageResult
from pier.build.state import PROXIES, first_state
from pier.build.steps import is_git_url
from pier.errors import InvalidArgument
from pier.images.model import Image
from pier.images.store import Images
from pier.oci.image import ImageConfig, RunConfig, chain_ids
from pier.oci.platform import Platform, parse_platform
from pier.oci.reference import Reference

_ALWAYS_KNOWN = PROXIES | {"SOURCE_DATE_EPOCH"}
_BUILDKIT = "BUILDKIT_"
PARCEL_MAIN = "context"
"""Where the main context is in a parcel of several."""


class Build:
    """The parts that its stages use, and what they have come to."""

    def __init__(
        self,
        *,
        request: BuildRequest,
        directory: Path,
        quick: Path,
        images: Images,
        get_image: GetImage,
        layers: Layers,
        cache: CacheStore,
        locks: StepLocks,
        caches: CacheMounts,
        runner: Runner,
        now: Callable[[], int],
    ) -> None:
        self._request = request
        self._directory = directory
        self._quick = quick
        self._images = images
        self._get_image = get_image
        self._layers = layers
        self._caches = caches
        self._results: dict[int, asyncio.Future[StageResult]] = {}
        self._waits: dict[int, int] = {}
        self._context: Context | None = None
        self._group: asyncio.TaskGroup
        self._parcel: Path
        self._inputs: PlanInputs
        self._program: Program
        self.runner = runner
        self.tell: Callable[[BuildEvent], None] = lambda event: None
        self.scope = Scope(
            request=request,
            layers=layers,
            cache=cache,
            locks=locks,
            leases=images.leases,
            progress=self._told,
            now=now,
            directory=directory,
        )
        self.plan: Plan
        self.sources: Sources
        self.mounter: Mounter

    def close(self) -> None:
        if self._context is not None:
            self.sources.close()
            self._context.close()
        self.scope.close()

    def _told(self, event: BuildEvent) -> None:
        """`tell` is chosen when the plan is known."""
        self.tell(event)

    async def plan_from(self, stream: AsyncIterator[bytes]) -> Plan:
        """Take in the context, read the Dockerfile, decide what to build."""
        host = self._images.host
        platform = parse_platform(self._request.platform, host) if self._request.platform else host
        context = await self._receive(stream)
        self._context = context
        self._inputs = PlanInputs(
            target=self._request.target,
            build_arguments=self._request.arguments,
            build_platform=host,
            target_platform=platform,
            contexts=frozenset(self._request.contexts),
        )
        self.sources = Sources(
            context=context,
            contexts=self._request.contexts,
            parcel=self._parcel,
            directory=self._directory,
            layers=self._layers,
            chain_of=self._chain_of,
            get_image=self._image,
            platform=platform,
        )
        self.mounter = Mounter(self.sources, self._caches, self._request)
        self._program = read_program(parse_dockerfile(context.dockerfile))
        self.plan = make_plan(self._program, self._inputs)
        return self.plan

    async def _receive(self, stream: AsyncIterator[bytes]) -> Context:
        remote, parcel = self._request.remote, None
        if self._request.parcel or not remote:
            parcel = await self._unpacked(stream)
        if remote:
            place = await self._fetched(remote)
        else:
            assert parcel is not None
            place = below(parcel, PARCEL_MAIN) if self._request.parcel else parcel
        self._parcel = parcel or place
        return await asyncio.to_thread(open_context, place, self._request.dockerfile)

    async def _unpacked(self, stream: AsyncIterator[bytes]) -> Path:
        place, quick = self._directory / "context", self._quick / "context"
        for path in (place, quick):
            await asyncio.to_thread(path.mkdir, mode=0o755)
        return await asyncio.to_thread(unpack_where_it_fits, blocking_chunks(stream), quick, place)

    async def _fetched(self, remote: str) -> Path:
        place = self._directory / "fetched"
        await asyncio.to_thread(place.mkdir, mode=0o755)
        if is_git_url(remote) or remote.startswith("github.com/"):
            source = git.parse_git_url(remote)
            keep = self._request.arguments.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "") in ("1", "true")
            await git.check_out(source, place, keep_git_dir=keep)
            return await asyncio.to_thread(below, place, source.subdirectory)
        if remote.startswith(("http://", "https://")):
            await self._download(remote, place)
            return place
        raise InvalidArgument(f"unsupported remote context: {remote}")

    async def _download(self, url: str, place: Path) -> None:
        file = self._directory / "remote"
        await fetch.download(url, file)
        await asyncio.to_thread(remote_dockerfile, file, place)

    async def run(self) -> StageResult:
        """Build every stage that the target needs; the first error ends all others."""
        self._warn()
        counts = [len(stage.instructions) for stage in self.plan.stages]
        total = total_steps(counts)
        loop = asyncio.get_running_loop()
        number = 1
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for stage, count in zip(self.plan.stages, counts, strict=True):
                    self._results[stage.index] = loop.create_future()
                    work = StageBuild(self, stage, number=number, total=total)
                    group.create_task(self._build(stage, work))
                    number += count + 1
        except BaseExceptionGroup as errors:
            first = _first(errors)
            raise first from first.__cause__
        return self._results[self.plan.target].result()

    async def _build(self, stage: Stage, work: StageBuild) -> None:
        await self._imported()
        self._results[stage.index].set_result(await work.build())

    async def _imported(self) -> None:
        for name in self._request.cache_from:
            image = self._images.find(name)
            if image is not None:
                self.scope.import_image(image)

    async def base(self, stage: Stage) -> StageResult:
        """What a stage starts from."""
        outer = {**self.plan.arguments, **self._request.arguments}
        given = self._request.arguments
        source = stage.base
        if source.stage is not None:
            below = await self._wait(source.stage, by=stage.index)
            state = first_state(
                below.state.run, author=below.state.author, given=given, outer=outer,
                escape=self.plan.escape, arguments=below.state.arguments,
            )  # fmt: skip
            return replace(below, state=replace(state, run=below.state.run))
        if stage.scratch:
            return self._from_config(stage, _scratch_config(stage), outer)
        reference = source.image or self.sources.image_of_context(source.context)
        if not reference:
            raise DockerfileError(stage.start.line, f"{source.context} is files, not an image")
        image = await self._image(reference, stage.platform, pull=self._request.pull)
        return self._from_image(stage, image, outer)

    def _from_image(self, stage: Stage, image: Image, outer: dict[str, str]) -> StageResult:
        result = self._from_config(stage, image.config, outer)
        layers = tuple(
            Layer(diff_id, chain_id)
            for diff_id, chain_id in zip(image.layers, chain_ids(image.layers), strict=True)
        )
        return replace(
            result,
            chain_id=image.chain_id,
            key=image.id,
            layers=layers,
            base_layers=len(layers),
            image=image.id,
        )

    def _from_config(self, stage: Stage, config: ImageConfig, outer: dict[str, str]) -> StageResult:
        state = first_state(
            config.run, author=config.author, given=self._request.arguments, outer=outer,
            escape=self.plan.escape,
        )  # fmt: skip
        triggers = config.run.on_build
        epoch = self.scope.epoch_ns
        return StageResult(
            state=replace(state, run=replace(state.run, on_build=triggers)),
            config=config,
            chain_id="",
            key="",
            history=config.history,
            created_ns=config.created_ns or (epoch or 0),
        )

    async def _image(self, reference: str, platform: Platform, *, pull: bool) -> Image:
        """An image, which stays until the build is over."""
        image = await self._get_image(reference, platform, pull=pull, auths=self._request.auths)
        self.scope.keep(image.chain_id)
        return image

    async def require(self, stage: int, *, by: int) -> None:
        await self._wait(stage, by=by)

    async def _chain_of(self, stage: int) -> str:
        return (await self._results[stage]).chain_id

    async def _wait(self, stage: int, *, by: int) -> StageResult:
        """A stage's result. A trigger may name a stage nobody planned, or one that waits for us."""
        if stage not in self._results:
            self._start_unplanned(stage)
        seen = stage
        while seen in self._waits:
            seen = self._waits[seen]
            if seen == by:
                raise InvalidArgument("circular dependency detected between stages")
        if stage == by:
            raise InvalidArgument("circular dependency detected: a stage copies from itself")
        self._waits[by] = stage
        try:
            return await asyncio.shield(self._results[stage])
        finally:
            self._waits.pop(by, None)

    def _start_unplanned(self, index: int) -> None:
        inputs = replace(self._inputs, target=str(index))
        plan = make_plan(self._program, inputs)
        loop = asyncio.get_running_loop()
        for stage in plan.stages:
            if stage.index not in self._results:
                self._results[stage.index] = loop.create_future()
                total = len(stage.instructions) + 1
                work = StageBuild(self, stage, number=1, total=total)
                self._group.create_task(self._build(stage, work))

    def _warn(self) -> None:
        """Say which build arguments nothing asked for, and what is odd in the Dockerfile."""
        known = {*platform_arguments(self._inputs), *_ALWAYS_KNOWN, *_declared(self._program)}
        unused = [
            name
            for name in sorted(self._request.arguments)
            if name not in known and not name.startswith(_BUILDKIT)
        ]
        if unused:
            text = f"One or more build-args [{' '.join(unused)}] were not consumed"
            self.tell(Remark(text=text, warning=True))

    async def make_image(self, result: StageResult, names: Sequence[Reference]) -> Image:
        """Let the image exist, under its names."""
        if self._request.squash:
            result = await squash(result, self._layers, self.scope)
        state = result.state
        created = self.scope.epoch_ns
        if created is None:
            created = result.created_ns
        config = ImageConfig(
            architecture=result.config.architecture,
            os=result.config.os,
            variant=result.config.variant,
            os_version=result.config.os_version,
            os_features=result.config.os_features,
            created_ns=created,
            author=state.author,
            run=replace(state.run, labels={**state.run.labels, **self._request.labels}),
            diff_ids=tuple(layer.diff_id for layer in result.layers),
            history=result.history,
        )
        image = self._images.create(config, names=names, parent=result.image)
        for name in names:
            self._images.announce("tag", image, name.familiar())
        return image


def _scratch_config(stage: Stage) -> ImageConfig:
    platform = stage.platform
    return ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        run=RunConfig(),
    )


def _declared(program: Program) -> set[str]:
    """The names of all ARGs in the Dockerfile."""
    instructions = [*program.arguments]
    for stage in program.stages:
        instructions += [each for each in stage.instructions if isinstance(each, Arg)]
    return {argument.name for each in instructions for argument in each.arguments}


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the build: the others were cancelled because of it."""
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            return _first(error)
        return error
    raise AssertionError("an empty group")
