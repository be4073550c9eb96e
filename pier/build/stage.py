"""One stage, from its FROM to its last instruction.

Instructions that only say something are applied; those that make files are resolved to a step,
looked up, and run on a snapshot if they must be. The chain of keys follows the files alone: a
LABEL in the middle does not make the RUN below it run again, an ENV does because the RUN sees it.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pier.build.cache import StepKey
from pier.build.cache_store import StepResult
from pier.build.copying import gather, make_working_directory, perform, with_owner_of
from pier.build.inputs import run_inputs, said_inputs, written
from pier.build.instructions import Copy, Instruction, Run, Workdir
from pier.build.mounting import Mounted, Mounter
from pier.build.parser import DockerfileError, StepRefused, parse_dockerfile
from pier.build.plan import Plan, Source, Stage, find_source
from pier.build.progress import (
    Remark,
    StageDone,
    StepCached,
    StepDone,
    StepOutput,
    StepRuns,
    StepStarted,
)
from pier.build.request import Layer, StepFailed
from pier.build.run import Command, Rootfs, Runner
from pier.build.run_mounts import origin_of
from pier.build.scope import KEY_COMMENT, Scope
from pier.build.sources import Sources
from pier.build.state import StageState, apply, described
from pier.build.steps import (
    CopyStep,
    RunStep,
    resolve_copy,
    resolve_run,
    resolve_workdir,
    told_copy,
    told_run,
)
from pier.build.syntax import parse_instruction
from pier.errors import InvalidArgument
from pier.oci.image import History, ImageConfig
from pier.threads import blocking


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """A stage that is built. `config` is its base's: platform and what else is inherited."""

    state: StageState
    config: ImageConfig
    chain_id: str
    key: str
    layers: tuple[Layer, ...] = ()
    history: tuple[History, ...] = ()
    created_ns: int = 0
    image: str = ""
    """The base image's ID, "" from scratch."""
    base_layers: int = 0
    """How many of the layers are the base image's."""


class StageParts(Protocol):
    """What a stage needs of its build."""

    scope: Scope
    plan: Plan
    sources: Sources
    mounter: Mounter
    runner: Runner

    def base(self, stage: Stage, *, number: int) -> Awaitable[StageResult]: ...
    def require(self, stage: int, *, by: int) -> Awaitable[None]: ...


class _Work(Protocol):
    """Does the step in the snapshot of that key."""

    def __call__(self, snapshot: str) -> Awaitable[None]: ...


class StageBuild:
    """Builds one stage once. `number` is that of its FROM among all steps of the plan."""

    def __init__(self, parts: StageParts, stage: Stage, *, number: int, total: int) -> None:
        self._parts = parts
        self._scope = parts.scope
        self._stage = stage
        self._number = number
        self._total = total
        self._line_key = ""
        names = parts.scope.request.no_cache_stages
        self._fresh = stage.name in names or str(stage.index) in names
        self._result: StageResult

    async def build(self) -> StageResult:
        """Run all steps; errors name the line they come from."""
        stage, start = self._stage, self._stage.start
        self._started(start)
        base = await self._parts.base(stage, number=self._number)
        triggers = self._triggers(base.state.run.on_build)
        run = replace(base.state.run, on_build=())
        self._result = replace(base, state=replace(base.state, run=run, own_cmd=False))
        self._line_key = base.key
        self._scope.progress(
            StepDone(
                stage=stage.index,
                number=self._number,
                id=base.key,
                before_triggers=bool(triggers),
            )
        )
        if triggers:
            text = f"# Executing {len(triggers)} build trigger{'s' * (len(triggers) > 1)}"
            self._scope.progress(Remark(stage=stage.index, text=text))
        for instruction in triggers:
            await self._placed(instruction)
        for instruction in stage.instructions:
            self._number += 1
            self._started(instruction)
            await self._placed(instruction)
        self._scope.progress(StageDone(stage=stage.index))
        return self._result

    def _started(self, instruction: Instruction) -> None:
        self._scope.progress(
            StepStarted(
                stage=self._stage.index,
                number=self._number,
                total=self._total,
                text=instruction.source,
                line=instruction.line,
            )
        )

    def _triggers(self, texts: Sequence[str]) -> list[Instruction]:
        """The base's ONBUILD instructions, as if they stood at the FROM's line."""
        line = self._stage.start.line
        found = []
        for text in texts:
            for node in parse_dockerfile(text.encode()).nodes:
                placed = replace(node, start_line=line, end_line=line)
                found.append(parse_instruction(placed, "\\"))
        return found

    async def _placed(self, instruction: Instruction) -> None:
        """Do one instruction; what is wrong with it is said with its line.

        Others get their turn in between: a Dockerfile may have very many.
        """
        await asyncio.sleep(0)
        try:
            await self._do(instruction)
        except DockerfileError:
            raise
        except InvalidArgument as error:
            raise StepRefused(instruction.line, str(error)) from error

    async def _do(self, instruction: Instruction) -> None:
        match instruction:
            case Run():
                await self._run(instruction)
            case Copy():
                await self._copy(instruction)
            case Workdir():
                await self._workdir(instruction)
            case _:
                self._say(instruction)

    def _say(self, instruction: Instruction) -> None:
        """An instruction about the image only: in the cache so that it can be told as cached."""
        told = described(instruction, self._result.state)
        state = apply(instruction, self._result.state)
        key = StepKey(self._line_key, written(instruction), said_inputs(instruction, state, told))
        if self._scope.find(key, fresh=self._fresh) is not None:
            self._scope.progress(StepCached(stage=self._stage.index, number=self._number))
        else:
            miss = self._scope.why(key, fresh=self._fresh)
            self._scope.progress(
                StepRuns(stage=self._stage.index, number=self._number, id="", miss=miss)
            )
            self._scope.note(key, StepResult(created_ns=self._result.created_ns))
        entry = History(
            created_ns=self._result.created_ns, created_by=told, comment=KEY_COMMENT + key.digest,
            empty_layer=True,
        )  # fmt: skip
        history = (*self._result.history, entry)
        self._result = replace(self._result, state=state, history=history)
        self._finished(key.digest, key.digest)

    async def _workdir(self, instruction: Workdir) -> None:
        step = resolve_workdir(instruction, self._result.state)
        user = self._result.state.run.user

        async def make(snapshot: str) -> None:
            await self._make_directory(snapshot, step.path, user)

        told = f"WORKDIR {step.path}"
        state = apply(instruction, self._result.state)
        await self._step(
            StepKey(self._result.key, written(instruction), {"user": user, "path": step.path}),
            told,
            make,
        )
        self._result = replace(self._result, state=state)

    async def _make_directory(self, snapshot: str, path: str, user: str) -> None:
        overlay = self._scope.layers.overlay(snapshot)
        now = self._scope.created_ns()
        await blocking(make_working_directory, overlay, path, user, now)

    async def _copy(self, instruction: Copy) -> None:
        origin = await self._source(instruction.origin)
        step = resolve_copy(instruction, self._result.state, origin)
        told = told_copy(instruction.keyword, step)
        if step.link:
            step = await self._owned(step)
        with contextlib.ExitStack() as opened:
            gathered = await gather(
                instruction.keyword,
                step,
                self._parts.sources,
                self._scope.directory,
                lambda fd: _close_with(opened, fd),
            )

            async def copy(snapshot: str) -> None:
                overlay = self._scope.layers.overlay(snapshot)
                await blocking(perform, gathered, overlay, self._scope.created_ns())

            inputs = {**gathered.inputs, "copy": told_copy(instruction.keyword, step)}
            parent = "" if step.link else self._result.key
            await self._step(StepKey(parent, written(instruction), inputs), told, copy)

    async def _owned(self, step: CopyStep) -> CopyStep:
        chain_id = self._result.chain_id
        if not chain_id:
            return step
        overlay = self._scope.layers.overlay(chain_id)
        return await blocking(with_owner_of, step, overlay)

    async def _source(self, origin: str) -> Source:
        """What a `--from=` means here; a stage is built before it is returned."""
        plan = self._parts.plan
        source = find_source(
            origin,
            names=plan.names,
            aliases=plan.aliases,
            count=plan.count,
            contexts=self._scope.request.contexts,
        )
        if source.stage is not None:
            await self._parts.require(source.stage, by=self._stage.index)
        return source

    async def _run(self, instruction: Run) -> None:
        step = resolve_run(instruction, self._result.state)
        request = self._scope.request
        if step.security == "insecure" and not request.allow_insecure:
            raise InvalidArgument("security.insecure is not allowed")
        if step.network == "host" and not (request.allow_host or request.network == "host"):
            raise InvalidArgument("network.host is not allowed")
        names = {origin_of(text) for text in instruction.mounts} - {""}
        origins = {name: await self._source(name) for name in names}
        inputs = run_inputs(step, request.hostname)
        inputs.update(await self._parts.mounter.inputs(step.mounts, origins))
        told = told_run(instruction, step)

        async def run(snapshot: str) -> None:
            await self._run_in(snapshot, instruction, step, origins)

        key = StepKey(self._result.key, written(instruction), inputs)
        await self._step(key, told, run, container=True)

    async def _run_in(
        self, snapshot: str, instruction: Run, step: RunStep, origins: Mapping[str, Source]
    ) -> None:
        user = self._result.state.run.user
        await self._make_directory(snapshot, step.working_dir, user)
        overlay = self._scope.layers.overlay(snapshot)._replace(volatile=True)
        async with contextlib.AsyncExitStack() as stack:
            scratch = await stack.enter_async_context(self._parts.runner.scratch())
            mounted = await self._parts.mounter.prepare(step.mounts, origins, scratch, stack)
            command = self._command(step, mounted)
            ended = await self._parts.runner.run(command, Rootfs(overlay=overlay), self._output)
        if ended.code:
            told = " ".join(step.argv) or instruction.source
            raise StepFailed(told, ended.code, instruction.line)

    def _command(self, step: RunStep, mounted: Mounted) -> Command:
        request = self._scope.request
        return Command(
            argv=step.argv,
            environment={**step.environment, **mounted.environment},
            user=step.user,
            working_dir=step.working_dir,
            mounts=tuple(mounted.mounts),
            network=request.network if step.network == "default" else step.network,
            insecure=step.security == "insecure",
            script=step.script,
            extra_hosts=request.extra_hosts,
            limits=request.limits,
            shm_size=request.shm_size,
            hostname=request.hostname,
        )

    def _output(self, data: bytes, *, stderr: bool) -> None:
        event = StepOutput(stage=self._stage.index, number=self._number, data=data, stderr=stderr)
        self._scope.progress(event)

    async def _step(self, key: StepKey, told: str, work: _Work, *, container: bool = False) -> None:
        """Find the step's result or make it; the stage goes on from there.

        A step without a parent, where the stage has one, is a --link: it is made by itself, found
        whatever is below, and put on top of that.
        """
        name = secrets.token_hex(32) if container else ""
        if self._scope.epoch_ns is not None:
            inputs = {**key.inputs, "arg SOURCE_DATE_EPOCH": str(self._scope.epoch_ns // 10**9)}
            key = replace(key, inputs=inputs)
        async with self._scope.hold(key):
            result = await self._found(key)
            if result is not None:
                self._scope.progress(StepCached(stage=self._stage.index, number=self._number))
                name = ""
            else:
                result = await self._made(key, work, name)
            if key.parent != self._result.key:
                result = self._scope.put_on(self._result.chain_id, result)
        self._take(key, told, result)
        self._finished(self._result.key, key.digest, name)

    async def _found(self, key: StepKey) -> StepResult | None:
        """Here, or in an image of `--cache-from`."""
        linked = key.parent != self._result.key
        below = None if linked else self._result.chain_id
        result = self._scope.find(key, below=below, fresh=self._fresh)
        return result if result or self._fresh else await self._scope.fetch(key, below=below)

    async def _made(self, key: StepKey, work: _Work, name: str) -> StepResult:
        scope, index = self._scope, self._stage.index
        miss = scope.why(key, fresh=self._fresh)
        scope.progress(StepRuns(stage=index, number=self._number, id=name, miss=miss))
        below = self._result.chain_id if key.parent == self._result.key else ""
        snapshot = scope.layers.prepare(below)
        try:
            await work(snapshot)
            result = await scope.layers.commit(
                snapshot, below, key, scope.created_ns(), scope.epoch_ns
            )
        except BaseException:
            scope.layers.drop(snapshot)
            raise
        scope.remember(key, result)
        return result

    def _take(self, key: StepKey, told: str, result: StepResult) -> None:
        entry = History(
            created_ns=result.created_ns,
            created_by=told,
            comment=KEY_COMMENT + key.digest,
            empty_layer=result.diff_id is None,
        )
        layers = self._result.layers
        if result.diff_id is not None:
            layer = Layer(result.diff_id, result.chain_id, result.blob, result.size)
            layers = (*layers, layer)
        self._result = replace(
            self._result,
            key=key.above(self._result.key),
            chain_id=result.chain_id,
            layers=layers,
            history=(*self._result.history, entry),
            created_ns=result.created_ns,
        )

    def _finished(self, line_key: str, shown: str, removed: str = "") -> None:
        self._line_key = line_key
        self._scope.progress(
            StepDone(stage=self._stage.index, number=self._number, id=shown, removed=removed)
        )


def _close_with(stack: contextlib.ExitStack, fd: int) -> None:
    stack.callback(os.close, fd)
