"""Instructions to a graph of stages: what has to be built, after what, and from where.

Pure, and done before anything runs: stages are found by name and number, arguments before the
first FROM are settled, stages the target does not need are dropped, circles are refused. What a
base image adds (its environment, its ONBUILD triggers) is not known yet; the builder asks for
stages that such triggers name when it meets them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pier.build.expansion import expand
from pier.build.instructions import Arg, Copy, From, Instruction, Run
from pier.build.parser import Dockerfile, DockerfileError, StepRefused
from pier.build.run_mounts import origin_of
from pier.build.syntax import parse_instruction
from pier.errors import InvalidArgument
from pier.oci.platform import Platform, parse_platform

SCRATCH = "scratch"


class NoSuchTarget(InvalidArgument):
    def __init__(self, target: str) -> None:
        super().__init__(f"target stage {target!r} could not be found".replace("'", '"'))


@dataclass(frozen=True, slots=True)
class StageText:
    """A FROM and what follows it, as written."""

    start: From
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A whole Dockerfile: the ARGs before the first FROM, then its stages."""

    arguments: tuple[Arg, ...]
    stages: tuple[StageText, ...]
    escape: str = "\\"


@dataclass(frozen=True, slots=True)
class Source:
    """Where files come from: exactly one of these is set, or nothing for the main context."""

    stage: int | None = None
    context: str = ""
    image: str = ""

    @property
    def is_main_context(self) -> bool:
        return self.stage is None and not self.context and not self.image


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage to build. `needs` are the stages that must be there first, its base included.

    `base`: a stage, a named context, or an image; `scratch` says none of them.
    `origins` answers `--from=` and `from=` for this stage, as they are written.
    """

    index: int
    name: str
    base: Source
    start: From
    instructions: tuple[Instruction, ...]
    platform: Platform
    needs: frozenset[int] = frozenset()
    scratch: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """`stages` in the order of the file, only those that the target needs."""

    stages: tuple[Stage, ...]
    target: int
    arguments: Mapping[str, str] = field(default_factory=dict)
    """ARGs before the first FROM, settled: a stage that declares one takes it from here."""
    names: Mapping[str, int] = field(default_factory=dict)
    """Every stage of the file, by name: the later of two with one name counts."""
    aliases: Mapping[str, int] = field(default_factory=dict)
    """Names that stand for a stage because the request says so."""
    count: int = 0
    escape: str = "\\"

    def stage(self, index: int) -> Stage:
        return next(stage for stage in self.stages if stage.index == index)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInputs:
    """What a request says that shapes the graph. `contexts` are the names of named contexts;
    `targets` those that are stages of this Dockerfile.
    """

    target: str = ""
    build_arguments: Mapping[str, str] = field(default_factory=dict)
    build_platform: Platform
    target_platform: Platform
    contexts: frozenset[str] = frozenset()
    targets: Mapping[str, str] = field(default_factory=dict)


def read_program(dockerfile: Dockerfile) -> Program:
    """Parse every instruction and sort them into stages; raise DockerfileError."""
    arguments: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for node in dockerfile.nodes:
        instruction = parse_instruction(node, dockerfile.escape)
        if isinstance(instruction, From):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            arguments.append(instruction)
        else:
            raise StepRefused(node.start_line, "no build stage in current context")
    if not stages:
        raise StepRefused(0, "no build stage in current context")
    texts = tuple(StageText(start, tuple(rest)) for start, rest in stages)
    return Program(tuple(arguments), texts, dockerfile.escape)


def platform_arguments(inputs: PlanInputs) -> dict[str, str]:
    """BUILDPLATFORM, TARGETARCH and their like: known before the first FROM."""
    values: dict[str, str] = {}
    for prefix, platform in (
        ("BUILD", inputs.build_platform),
        ("TARGET", inputs.target_platform),
    ):
        values[f"{prefix}PLATFORM"] = str(platform)
        values[f"{prefix}OS"] = platform.os
        values[f"{prefix}OSVERSION"] = ""
        values[f"{prefix}ARCH"] = platform.architecture
        values[f"{prefix}VARIANT"] = platform.variant
    values["TARGETSTAGE"] = inputs.target or "default"
    return values


def global_arguments(program: Program, inputs: PlanInputs) -> dict[str, str]:
    """The ARGs before the first FROM: given ones, else their defaults, in order."""
    given = inputs.build_arguments
    values = {name: given.get(name, value) for name, value in platform_arguments(inputs).items()}
    for instruction in program.arguments:
        for argument in instruction.arguments:
            if argument.name in given:
                values[argument.name] = given[argument.name]
            elif argument.default is not None:
                default = _expanded(argument.default, values, program.escape, instruction.line)
                values[argument.name] = default
    return values


def make_plan(program: Program, inputs: PlanInputs) -> Plan:
    """Choose the stages that the target needs; raise DockerfileError or NoSuchTarget."""
    arguments = global_arguments(program, inputs)
    names = {text.start.name: i for i, text in enumerate(program.stages) if text.start.name}
    count = len(program.stages)
    aliases = {name: _target(stage, names, count) for name, stage in inputs.targets.items()}
    scene = _Scene(program, inputs, arguments, names, aliases)
    earlier: dict[str, int] = {}
    stages = []
    for index, text in enumerate(program.stages):
        stages.append(_stage(index, scene, earlier))
        if text.start.name:
            earlier[text.start.name] = index
    target = _target(inputs.target, names, count)
    wanted = _reachable(target, stages)
    return Plan(
        stages=tuple(stage for stage in stages if stage.index in wanted),
        target=target,
        arguments=arguments,
        names=names,
        aliases=aliases,
        count=count,
        escape=program.escape,
    )


def find_source(
    text: str,
    *,
    names: Mapping[str, int],
    aliases: Mapping[str, int],
    count: int,
    contexts: Iterable[str],
) -> Source:
    """What a `from=` means: a named context, a stage by name or number, else an image.

    A named context of a stage's name stands in for that stage, as the reference has it.
    """
    if not text:
        return Source()
    if text in aliases:
        return Source(stage=aliases[text])
    if text in contexts:
        return Source(context=text)
    if text.lower() in names:
        return Source(stage=names[text.lower()])
    if text.isdecimal() and text.isascii():
        number = int(text[:9])
        if number >= count:
            raise InvalidArgument(f"invalid from flag value {text}: no stage of that number")
        return Source(stage=number)
    return Source(image=text)


def origins(instructions: Sequence[Instruction]) -> list[tuple[str, int]]:
    """Every `--from=` and mount `from=` with its line."""
    found = []
    for instruction in instructions:
        if isinstance(instruction, Copy) and instruction.origin:
            found.append((instruction.origin, instruction.line))
        elif isinstance(instruction, Run):
            texts = (origin_of(mount) for mount in instruction.mounts)
            found.extend((text, instruction.line) for text in texts if text)
    return found


@dataclass(frozen=True, slots=True)
class _Scene:
    """What every stage is read with."""

    program: Program
    inputs: PlanInputs
    arguments: Mapping[str, str]
    names: Mapping[str, int]
    aliases: Mapping[str, int]


def _stage(index: int, scene: _Scene, earlier: Mapping[str, int]) -> Stage:
    """`earlier`: the names of the stages above, which are those a FROM can build on."""
    text, escape = scene.program.stages[index], scene.program.escape
    start = text.start
    image = _expanded(start.image, scene.arguments, escape, start.line)
    if not image:
        raise DockerfileError(start.line, f"base name ({start.image}) should not be blank")
    base = _base(image, scene, earlier)
    needs = {base.stage} if base.stage is not None else set()
    for origin, line in origins(text.instructions):
        source = _origin(origin, line, scene)
        if source.stage is not None:
            needs.add(source.stage)
    return Stage(
        index=index,
        name=start.name,
        base=base,
        start=start,
        instructions=text.instructions,
        platform=_platform(start, scene.arguments, escape, scene.inputs.target_platform),
        needs=frozenset(needs),
        scratch=image == SCRATCH and base.image == SCRATCH,
    )


def _base(image: str, scene: _Scene, earlier: Mapping[str, int]) -> Source:
    if image in scene.aliases:
        return Source(stage=scene.aliases[image])
    if image in scene.inputs.contexts:
        return Source(context=image)
    if image.lower() in earlier:
        return Source(stage=earlier[image.lower()])
    return Source(image=image)


def _origin(text: str, line: int, scene: _Scene) -> Source:
    if "$" in text:
        raise DockerfileError(
            line, "variable expansion is not supported for --from, define a new stage with FROM "
            "using ARG from global scope as a workaround",
        )  # fmt: skip
    try:
        return find_source(
            text,
            names=scene.names,
            aliases=scene.aliases,
            count=len(scene.program.stages),
            contexts=scene.inputs.contexts,
        )
    except InvalidArgument as error:
        raise DockerfileError(line, str(error)) from error


def _platform(
    start: From, arguments: Mapping[str, str], escape: str, default: Platform
) -> Platform:
    if not start.platform:
        return default
    text = _expanded(start.platform, arguments, escape, start.line)
    if not text:
        raise DockerfileError(start.line, "empty platform value from expression " + start.platform)
    try:
        return parse_platform(text, default)
    except InvalidArgument as error:
        raise DockerfileError(start.line, f"failed to parse platform {text}: {error}") from error


def _target(target: str, names: Mapping[str, int], count: int) -> int:
    if not target:
        return count - 1
    if target.lower() in names:
        return names[target.lower()]
    if target.isdecimal() and target.isascii() and int(target[:9]) < count:
        return int(target)
    raise NoSuchTarget(target)


def _reachable(target: int, stages: Sequence[Stage]) -> set[int]:
    """The stages that `target` needs, itself included; raise for a circle."""
    done: set[int] = set()
    stack = [(target, iter(sorted(stages[target].needs)))]
    path = {target}
    while stack:
        index, rest = stack[-1]
        following = next(rest, None)
        if following is None:
            stack.pop()
            path.discard(index)
            done.add(index)
        elif following in path:
            start = stages[following].start
            name = start.name or str(following)
            raise DockerfileError(start.line, f"circular dependency detected on stage: {name}")
        elif following not in done:
            path.add(following)
            stack.append((following, iter(sorted(stages[following].needs))))
    return done


def _expanded(text: str, values: Mapping[str, str], escape: str, line: int) -> str:
    try:
        return expand(text, values, escape).text
    except InvalidArgument as error:
        raise DockerfileError(line, str(error)) from error
