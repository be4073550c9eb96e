"""Build checks that need to know what a stage has come to: its variables, its directory.

The instructions are gone through as a build would, on states alone. A base that is not known
takes its stage, and those built on it, out of what is asked about variables.
"""

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pier.build.checks import Finding, Guesses
from pier.build.ignore import IgnoreRules
from pier.build.instructions import (
    Add,
    Arg,
    Copy,
    Env,
    Expose,
    Instruction,
    Label,
    Run,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from pier.build.lint import found
from pier.build.plan import Plan, Stage
from pier.build.state import StageState, apply, first_state
from pier.build.steps import is_remote
from pier.errors import InvalidArgument
from pier.oci.image import RunConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """`bases`: run configs of base images by stage, of those that are known. `ignored`: what the
    context is without. `given`: build arguments."""

    bases: Mapping[int, RunConfig]
    ignored: IgnoreRules
    given: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Walk:
    """How far a stage is gone through. `state` None: its base is not known."""

    state: StageState | None
    declared: set[str] = field(default_factory=set)
    has_directory: bool = False


def lint_stages(plan: Plan, around: Surroundings) -> list[Finding]:
    """What the rules find in the stages of the plan, bases before what is built on them."""
    findings: list[Finding] = []
    guess = Guesses()
    walks: dict[int, _Walk] = {}
    for stage in _bases_first(plan):
        walk = walks[stage.index] = _begun(stage, walks, plan, around)
        for instruction in stage.instructions:
            findings += _undefined(instruction, walk, guess)
            findings += _relative(instruction, walk)
            findings += _ignored(instruction, around.ignored)
            _advance(instruction, walk)
    return findings


def _bases_first(plan: Plan) -> Iterator[Stage]:
    """A named context may let a stage be built on a later one."""
    done: set[int] = set()

    def upwards(stage: Stage) -> Iterator[Stage]:
        if stage.index in done:
            return
        done.add(stage.index)
        if stage.base.stage is not None:
            yield from upwards(plan.stage(stage.base.stage))
        yield stage

    for stage in plan.stages:
        yield from upwards(stage)


def _begun(stage: Stage, walks: Mapping[int, _Walk], plan: Plan, around: Surroundings) -> _Walk:
    outer = {**plan.arguments, **around.given}
    if stage.base.stage is not None:
        below = walks[stage.base.stage]
        return _Walk(below.state, set(below.declared), below.has_directory)
    run = RunConfig() if stage.scratch else around.bases.get(stage.index)
    if run is None:
        return _Walk(None)
    return _Walk(first_state(run, given=around.given, outer=outer, escape=plan.escape))


def _advance(instruction: Instruction, walk: _Walk) -> None:
    walk.has_directory = walk.has_directory or isinstance(instruction, Workdir)
    if walk.state is None or isinstance(instruction, Run | Copy):
        return
    try:
        walk.state = apply(instruction, walk.state)
    except InvalidArgument:
        return  # the build says it better


def _undefined(instruction: Instruction, walk: _Walk, guess: Guesses) -> Iterator[Finding]:
    if walk.state is None:
        return
    if isinstance(instruction, Arg):
        walk.declared |= {argument.name for argument in instruction.arguments}
    for name in sorted(_unset(instruction, walk.state) - walk.declared):
        meant = guess(name, walk.state.variables).replace("mean ", "mean $")
        detail = f"Usage of undefined variable '${name}'{meant}"
        yield found("UndefinedVar", detail, instruction)


def _unset(instruction: Instruction, state: StageState) -> set[str]:
    unset: set[str] = set()
    for word in _words(instruction):
        try:
            unset |= state.expansion(word).unset
        except InvalidArgument:
            continue
    return {name for name in unset if name.isidentifier()}


def _words(instruction: Instruction) -> Iterable[str]:
    """Those in which variables are replaced."""
    match instruction:
        case Env(variables=pairs) | Label(labels=pairs):
            return (text for pair in pairs for text in (pair.name, pair.value))
        case Arg():
            return (argument.default or "" for argument in instruction.arguments)
        case Expose(ports=words) | Volume(paths=words) | Run(mounts=words):
            return words
        case User(user=word) | Workdir(path=word) | Stopsignal(signal=word):
            return (word,)
        case Copy():
            words = (*instruction.sources, instruction.destination)
            return (*words, instruction.chown, instruction.chmod, *instruction.excludes)
        case _:
            return ()


def _relative(instruction: Instruction, walk: _Walk) -> Iterator[Finding]:
    if not isinstance(instruction, Workdir) or walk.has_directory:
        return
    path = instruction.path
    if walk.state is not None:
        try:
            path = walk.state.expanded(path)
        except InvalidArgument:
            return
    elif "$" in path:
        return
    if not path.startswith("/"):
        detail = f'Relative workdir "{path}" can have unexpected results if the base image changes'
        yield found("WorkdirRelativePath", detail, instruction)


def _ignored(instruction: Instruction, rules: IgnoreRules) -> Iterator[Finding]:
    if not isinstance(instruction, Copy) or instruction.origin or not rules:
        return
    verb = "Add" if isinstance(instruction, Add) else "Copy"
    for source in instruction.sources:
        path = posixpath.normpath("/" + source).lstrip("/")
        if path and not is_remote(source) and rules.excludes(path):
            detail = f'Attempting to {verb} file "{source}" that is excluded by .dockerignore'
            yield found("CopyIgnoredFile", detail, instruction)
