"""One build under way: context, plan, stages side by side, and the image at the end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pier.build.bases import Bases
from pier.build.cache_mounts import CacheMounts
from pier.build.cache_store import CacheStore
from pier.build.checking import Checker, check_options
from pier.build.checks import ChecksFailed, Finding
from pier.build.instructions import Arg
from pier.build.intake import Intake
from pier.build.layers import Layers
from pier.build.mounting import Mounter
from pier.build.parser import Dockerfile, DockerfileError, parse_dockerfile
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
from pier.build.request import BuildRequest
from pier.build.run import Runner
from pier.build.scope import Scope, StepLocks, total_steps
from pier.build.sources import TARGET_SCHEME, ImageFinder, Sources
from pier.build.squash import squash
from pier.build.stage import StageBuild, StageResult
from pier.build.state import PROXIES, first_state
from pier.errors import InvalidArgument, PierError
from pier.images.model import Image
from pier.images.store import Images
from pier.oci.image import ImageConfig, RunConfig
from pier.oci.platform import parse_platform
from pier.oci.reference import Reference
from pier.threads import blocking

_ALWAYS_KNOWN = PROXIES | {"SOURCE_DATE_EPOCH"}
_BUILDKIT = "BUILDKIT_"
_LONG = 32 * 1024
"""Dockerfiles that are not read on the loop."""


class Build:
    """The parts that its stages use, and what they have come to."""

    def __init__(
        self,
        *,
        request: BuildRequest,
        directory: Path,
        quick: Path,
        images: Images,
        finder: ImageFinder,
        layers: Layers,
        cache: CacheStore,
        locks: StepLocks,
        caches: CacheMounts,
        runner: Runner,
        now: Callable[[], int],
    ) -> None:
        self._request = request
        self._directory = directory
        self._intake = Intake(request, directory, quick)
        self._images = images
        self._finder = finder
        self._layers = layers
        self._caches = caches
        self._results: dict[int, asyncio.Future[StageResult]] = {}
        self._waits: dict[int, int] = {}
        self._opened = contextlib.ExitStack()
        self._group: asyncio.TaskGroup
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
        self.bases: Bases
        self.checker: Checker
        self.sources: Sources
        self.mounter: Mounter

    def close(self) -> None:
        self._opened.close()
        self.scope.close()

    def _told(self, event: BuildEvent) -> None:
        """`tell` is chosen when the plan is known."""
        self.tell(event)

    async def plan_from(self, stream: AsyncIterator[bytes]) -> Plan:
        """Take in the context, read the Dockerfile, decide what to build."""
        host = self._images.host
        platform = parse_platform(self._request.platform, host) if self._request.platform else host
        context, parcel = await self._intake.receive(stream)
        self._opened.callback(context.close)
        dockerfile, self._program = await self._read(context.dockerfile)
        options = check_options(dockerfile, self._request.arguments)
        contexts = self._request.contexts
        targets = {
            name: value.removeprefix(TARGET_SCHEME)
            for name, value in contexts.items()
            if value.startswith(TARGET_SCHEME)
        }
        self._inputs = PlanInputs(
            target=self._request.target,
            build_arguments=self._request.arguments,
            build_platform=host,
            target_platform=platform,
            contexts=frozenset(contexts.keys() - targets.keys()),
            targets=targets,
        )
        self.bases = Bases(self.scope, self._images, self._finder, dockerfile.escape)
        self.sources = Sources(
            context=context,
            contexts=self._request.contexts,
            parcel=parcel,
            directory=self._directory,
            layers=self._layers,
            chain_of=self._chain_of,
            get_image=self.bases.image,
            images=self._images,
            platform=platform,
            git_access=self._request.git_access,
        )
        self._opened.callback(self.sources.close)
        self.mounter = Mounter(self.sources, self._caches, self._request)
        self.plan = make_plan(self._program, self._inputs)
        self.checker = Checker(
            dockerfile=dockerfile,
            program=self._program,
            plan=self.plan,
            inputs=self._inputs,
            ignored=context.ignored,
            options=options,
            bases=self.bases,
            image_of=self._base_image,
        )
        return self.plan

    async def _read(self, text: bytes) -> tuple[Dockerfile, Program]:
        def read() -> tuple[Dockerfile, Program]:
            dockerfile = parse_dockerfile(text)
            return dockerfile, read_program(dockerfile)

        return read() if len(text) < _LONG else await blocking(read)

    async def run(self) -> StageResult:
        """Build every stage that the target needs; the first error ends all others.

        What the checks found is told last, also of a build that fails; with `error=true` it
        keeps anything from being built. Raises ChecksFailed.
        """
        for text in self._request.warnings:
            self.tell(Remark(text=text, warning=True))
        if self.checker.options.error and (findings := await self.checker.of_all()):
            self._tell(findings)
            raise ChecksFailed(findings)
        try:
            result = await self._run()
        except PierError:
            self._tell(await self.checker.of_known())
            raise
        self._tell(await self.checker.of_known())
        self._warn()
        return result

    def _tell(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            self.tell(Remark(text=finding.told(), warning=True))

    async def _run(self) -> StageResult:
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
        if not self._request.no_cache:
            await self.bases.import_caches(self._inputs.target_platform)
        self._results[stage.index].set_result(await work.build())

    async def base(self, stage: Stage, *, number: int) -> StageResult:
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
            return self.bases.from_config(_scratch_config(stage), outer)
        reference = source.image or await self.sources.load_image_of_context(source.context)
        if not reference:
            raise DockerfileError(stage.start.line, f"{source.context} is files, not an image")
        image = await self.bases.image(reference, stage.platform, stage=stage.index, number=number)
        return self.bases.from_image(image, outer)

    def _base_image(self, stage: Stage) -> str:
        """The reference, "" for a stage, nothing, or files."""
        if stage.scratch or stage.base.stage is not None:
            return ""
        return stage.base.image or self.sources.image_of_context(stage.base.context)

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
        """Say which build arguments nothing asked for."""
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
        self._images.announce("create", image, image.id)
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
