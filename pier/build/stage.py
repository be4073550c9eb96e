"""One stage, from its FROM to its last instruction.

Instructions that only say something are applied; those that make files are resolved to a step,
looked up, and run on a snapshot if they must be. The chain of keys follows the files alone: a
LABEL in the middle does not make the RUN below it run again, an ENV does because the RUN sees it.
"""

import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pier.build.cache import StepKey
from pier.build.cache_store import StepResult
from pier.build.copy import Placing, make_directories
from pier.build.copying import gather, perform
from pier.build.instructions import Arg, Copy, Instruction, Run, Workdir
from pier.build.mounting import Mounted, Mounter
from pier.build.owners import Owner, find_identity
from pier.build.parser import DockerfileError, parse_dockerfile
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
    RunStep,
    resolve_copy,
    resolve_run,
    resolve_workdir,
    told_copy,
    told_run,
)
from pier.build.syntax import parse_instruction
from pier.errors import InvalidArgument
from pier.linux.mount import Overlay, open_overlay
from pier.oci.image import History, ImageConfig


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
        self._scope.progress(StepDone(stage=stage.index, number=self._number, id=base.key))
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
        """Do one instruction; what is wrong with it is said with its line."""
        try:
            await self._do(instruction)
        except DockerfileError:
            raise
        except InvalidArgument as error:
            raise DockerfileError(instruction.line, str(error)) from error

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
        key = StepKey(self._line_key, written(instruction), _said(instruction, state, told))
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
        self._finished(key)

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
        await asyncio.to_thread(_make_directory, overlay, path, user, self._scope.created_ns())

    async def _copy(self, instruction: Copy) -> None:
        origin = await self._source(instruction.origin)
        step = resolve_copy(instruction, self._result.state, origin)
        layers = self._scope.layers
        with contextlib.ExitStack() as opened:
            gathered = await gather(
                instruction.keyword,
                step,
                self._parts.sources,
                self._scope.directory,
                lambda fd: _close_with(opened, fd),
            )

            async def copy(snapshot: str) -> None:
                overlay, upper = layers.overlay(snapshot), layers.directory(snapshot)
                now = self._scope.created_ns()
                await asyncio.to_thread(perform, gathered, overlay, upper, now)

            told = told_copy(instruction.keyword, step)
            key = StepKey(self._result.key, written(instruction), {**gathered.inputs, "copy": told})
            await self._step(key, told, copy)

    async def _source(self, origin: str) -> Source:
        """What a `--from=` means here; a stage is built before it is returned."""
        plan = self._parts.plan
        contexts = self._scope.request.contexts
        source = find_source(origin, names=plan.names, count=plan.count, contexts=contexts)
        if source.stage is not None:
            await self._parts.require(source.stage, by=self._stage.index)
        return source

    async def _run(self, instruction: Run) -> None:
        step = resolve_run(instruction, self._result.state)
        if step.security == "insecure" and not self._scope.request.allow_insecure:
            raise InvalidArgument("security.insecure is not allowed")
        names = {origin_of(text) for text in instruction.mounts} - {""}
        origins = {name: await self._source(name) for name in names}
        inputs = _run_inputs(step)
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
        )

    def _output(self, data: bytes) -> None:
        event = StepOutput(stage=self._stage.index, number=self._number, data=data)
        self._scope.progress(event)

    async def _step(self, key: StepKey, told: str, work: _Work, *, container: bool = False) -> None:
        """Find the step's result or make it; the stage goes on from there."""
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
        self._take(key, told, result)
        self._finished(key, name)

    async def _found(self, key: StepKey) -> StepResult | None:
        """Here, or in an image of `--cache-from`."""
        result = self._scope.find(key, fresh=self._fresh)
        return result if result or self._fresh else await self._scope.fetch(key)

    async def _made(self, key: StepKey, work: _Work, name: str) -> StepResult:
        scope, index = self._scope, self._stage.index
        miss = scope.why(key, fresh=self._fresh)
        scope.progress(StepRuns(stage=index, number=self._number, id=name, miss=miss))
        below = self._result.chain_id
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
            key=key.digest,
            chain_id=result.chain_id,
            layers=layers,
            history=(*self._result.history, entry),
            created_ns=result.created_ns,
        )

    def _finished(self, key: StepKey, removed: str = "") -> None:
        self._line_key = key.digest
        self._scope.progress(
            StepDone(stage=self._stage.index, number=self._number, id=key.digest, removed=removed)
        )


def _make_directory(overlay: Overlay, path: str, user: str, now_ns: int) -> None:
    """A WORKDIR belongs to the USER in force, if the image knows one of that name."""
    root_fd = open_overlay(overlay)
    try:
        owner = None
        if user:
            with contextlib.suppress(InvalidArgument):
                identity = find_identity(user, root_fd)
                owner = Owner(identity.uid, identity.gid)
        make_directories(root_fd, path, Placing(owner, now_ns=now_ns))
    finally:
        os.close(root_fd)


def _close_with(stack: contextlib.ExitStack, fd: int) -> None:
    stack.callback(os.close, fd)


def written(instruction: Instruction) -> str:
    """The line, however it was indented and continued."""
    return " ".join(instruction.source.split())


def _said(instruction: Instruction, after: StageState, told: str) -> dict[str, str]:
    """What the variables of an instruction about the image came to."""
    if not isinstance(instruction, Arg):
        return {"value": told}
    names = {argument.name for argument in instruction.arguments} & after.arguments.keys()
    return {f"arg {name}": after.arguments[name] for name in names}


def _run_inputs(step: RunStep) -> dict[str, str]:
    inputs = {f"arg {name}": value for name, value in step.arguments.items()}
    for name, value in step.environment.items():
        if name not in step.hidden and name not in step.arguments:
            inputs[f"env {name}"] = value
    inputs.update(user=step.user, workdir=step.working_dir, command=json.dumps(step.argv))
    if step.network != "default":
        inputs["flag --network"] = step.network
    if step.security != "sandbox":
        inputs["flag --security"] = step.security
    if step.script:
        inputs["script"] = step.script
    return inputs
