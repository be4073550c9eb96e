"""Build checks that need nothing but the Dockerfile's text and the arguments given.

Each rule is a function; what they have in common is only that they yield findings. Those that
must know what a stage has come to are in `lint_stages`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pier.build.checks import Finding, Guesses
from pier.build.expansion import Expanded, expand
from pier.build.instructions import (
    Arg,
    Cmd,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Shell,
)
from pier.build.parser import Dockerfile, parse_node
from pier.build.plan import PlanInputs, Program, StageText, global_arguments
from pier.build.words import words_with_quotes
from pier.errors import InvalidArgument
from pier.oci.platform import parse_platform
from pier.oci.reference import parse_reference

_RESERVED: Final = ("context", "scratch")
_SECRET: Final = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|passwd|pword|secret|token)(?:_|$)",
    re.IGNORECASE,
)
_PUBLIC: Final = re.compile(r"(?:_|^)public(?:_|$)", re.IGNORECASE)
_LAST_ONE_COUNTS: Final = (Cmd, Entrypoint, Healthcheck)
_TARGET: Final = "TARGETPLATFORM"


@dataclass(frozen=True, slots=True)
class Text:
    """What the rules here look at."""

    dockerfile: Dockerfile
    program: Program
    inputs: PlanInputs

    @property
    def instructions(self) -> Iterator[Instruction]:
        for stage in self.program.stages:
            yield stage.start
            yield from stage.instructions


def lint(dockerfile: Dockerfile, program: Program, inputs: PlanInputs) -> list[Finding]:
    """Everything that any of the rules finds, in the order of the rules."""
    text = Text(dockerfile, program, inputs)
    return [finding for rule in _RULES for finding in rule(text)]


def found(rule: str, detail: str, instruction: Instruction) -> Finding:
    return Finding(rule, detail, instruction.line, instruction.end_line)


def _cautions(text: Text) -> Iterator[Finding]:
    for caution in text.dockerfile.cautions:
        yield Finding("NoEmptyContinuation", caution.text, caution.line)


def _written(instruction: Instruction) -> list[str]:
    return instruction.source.split()


def _stage_names(text: Text) -> Iterator[Finding]:
    seen: set[str] = set()
    for start in _starts(text.program):
        written = _written(start)[-1]
        if written != start.name:
            detail = f"Stage name '{written}' should be lowercase"
            yield found("StageNameCasing", detail, start)
        if start.name in _RESERVED:
            detail = f'Stage name should not use the same name as reserved stage "{start.name}"'
            yield found("ReservedStageName", detail, start)
        if start.name in seen:
            detail = f'Duplicate stage name "{start.name}", stage names should be unique'
            yield found("DuplicateStageName", detail, start)
        seen.add(start.name)


def _starts(program: Program) -> Iterator[From]:
    """Those that name their stage."""
    return (stage.start for stage in program.stages if stage.start.name)


def _from_as(text: Text) -> Iterator[Finding]:
    for start in _starts(text.program):
        words = _written(start)
        keyword, word = words[0], words[-2]
        if _is_of_one_case(keyword) and (keyword.isupper(), keyword.islower()) != (
            word.isupper(), word.islower()
        ):  # fmt: skip
            detail = f"'{word}' and '{keyword}' keywords' casing do not match"
            yield found("FromAsCasing", detail, start)


def _is_of_one_case(word: str) -> bool:
    return word.isupper() or word.islower()


def _keywords(text: Text) -> Iterator[Finding]:
    written = [(_written(each)[0], each) for each in text.instructions]
    lower = sum(word.islower() for word, _ in written)
    upper = sum(word.isupper() for word, _ in written)
    wanted = "lowercase" if lower > upper else "uppercase"
    for word, instruction in written:
        if not (word.islower() if lower > upper else word.isupper()):
            detail = f"Command '{word}' should match the case of the command majority ({wanted})"
            yield found("ConsistentInstructionCasing", detail, instruction)


def _shell_forms(text: Text) -> Iterator[Finding]:
    for stage in text.program.stages:
        own_shell = False
        for instruction in stage.instructions:
            own_shell = own_shell or isinstance(instruction, Shell)
            if not isinstance(instruction, Cmd | Entrypoint) or own_shell:
                continue
            if instruction.command.in_shell and instruction.command.words:
                detail = (
                    f"JSON arguments recommended for {instruction.keyword} to prevent unintended "
                    "behavior related to OS signals"
                )
                yield found("JSONArgsRecommended", detail, instruction)


def _maintainers(text: Text) -> Iterator[Finding]:
    detail = "Maintainer instruction is deprecated in favor of using label"
    for instruction in text.instructions:
        if isinstance(instruction, Maintainer):
            yield found("MaintainerDeprecated", detail, instruction)


def _overridden(text: Text) -> Iterator[Finding]:
    for stage in text.program.stages:
        earlier: dict[str, Instruction] = {}
        for instruction in stage.instructions:
            if not isinstance(instruction, _LAST_ONE_COUNTS):
                continue
            before = earlier.get(instruction.keyword)
            if before is not None:
                detail = (
                    f"Multiple {instruction.keyword} instructions should not be used in the same "
                    "stage because only the last one will be used"
                )
                yield found("MultipleInstructionsDisallowed", detail, before)
            earlier[instruction.keyword] = instruction


def _old_pairs(text: Text) -> Iterator[Finding]:
    for instruction in text.instructions:
        if not isinstance(instruction, Env | Label):
            continue
        rest = parse_node(instruction.source, text.program.escape, start_line=0).rest
        if "=" not in next(words_with_quotes(rest, text.program.escape), "="):
            keyword = instruction.keyword
            detail = (
                f'"{keyword} key=value" should be used instead of legacy "{keyword} key value" '
                "format"
            )
            yield found("LegacyKeyValueFormat", detail, instruction)


def _secrets(text: Text) -> Iterator[Finding]:
    for instruction in text.instructions:
        for name in _names_set(instruction):
            if _SECRET.search(name) and not _PUBLIC.search(name):
                detail = (
                    "Do not use ARG or ENV instructions for sensitive data "
                    f'({instruction.keyword} "{name}")'
                )
                yield found("SecretsUsedInArgOrEnv", detail, instruction)


def _names_set(instruction: Instruction) -> Iterable[str]:
    if isinstance(instruction, Arg):
        return [argument.name for argument in instruction.arguments]
    return [pair.name for pair in instruction.variables] if isinstance(instruction, Env) else []


def _ports(text: Text) -> Iterator[Finding]:
    for instruction in text.instructions:
        for port in instruction.ports if isinstance(instruction, Expose) else ():
            address, _, protocol = port.partition("/")
            if protocol != protocol.lower() and "$" not in protocol:
                detail = f"Defined protocol '{port}' in EXPOSE instruction should be lowercase"
                yield found("ExposeProtoCasing", detail, instruction)
            if ":" in address and "$" not in address:
                detail = (
                    "EXPOSE instruction should not define an IP address or host-port mapping, "
                    f"found '{port}'"
                )
                yield found("ExposeInvalidFormat", detail, instruction)


def _bases(text: Text) -> Iterator[Finding]:
    """What FROM makes of its arguments: the given ones, and their defaults alone."""
    program = text.program
    values = global_arguments(program, text.inputs)
    defaults = global_arguments(program, replace(text.inputs, build_arguments={}))
    declared = {each.name for arg in program.arguments for each in arg.arguments} | values.keys()
    guess = Guesses()
    for stage in program.stages:
        start = stage.start
        for word in (start.image, start.platform):
            unset = _expanded(word, values, program.escape).unset - declared
            for name in sorted(unset):
                detail = f"FROM argument '{name}' is not declared{guess(name, declared)}"
                yield found("UndefinedArgInFrom", detail, start)
        if "$" in start.image and not _is_image(start.image, defaults, program.escape):
            detail = (
                f"Default value for ARG {start.image} results in empty or invalid base image name"
            )
            yield found("InvalidDefaultArgInFrom", detail, start)
        yield from _platforms(stage, values, text)


def _is_image(word: str, values: Mapping[str, str], escape: str) -> bool:
    try:
        parse_reference(expand(word, values, escape).text)
    except InvalidArgument:
        return False
    return True


def _expanded(word: str, values: Mapping[str, str], escape: str) -> Expanded:
    """A word that cannot be expanded is the build's to complain of."""
    try:
        return expand(word, values, escape)
    except InvalidArgument:
        return Expanded("", (), frozenset(), frozenset())


def _platforms(stage: StageText, values: Mapping[str, str], text: Text) -> Iterator[Finding]:
    start = stage.start
    if not start.platform:
        return
    platform = _expanded(start.platform, values, text.program.escape)
    if platform.used == {_TARGET} and platform.text == values[_TARGET]:
        detail = (
            f"Setting platform to predefined {start.platform} in FROM is redundant as this is the "
            "default behavior"
        )
        yield found("RedundantTargetPlatform", detail, start)
    if not platform.used and not platform.unset and not _names(start.name, platform.text, text):
        detail = f'FROM --platform flag should not use constant value "{start.platform}"'
        yield found("FromPlatformFlagConstDisallowed", detail, start)


def _names(stage: str, platform: str, text: Text) -> bool:
    """Whether the stage's name says what platform it is for: then a constant is meant."""
    try:
        parsed = parse_platform(platform, text.inputs.target_platform)
    except InvalidArgument:
        return True
    return parsed.os in stage or parsed.architecture in stage


def _descriptions(text: Text) -> Iterator[Finding]:
    for instruction in (*text.program.arguments, *text.instructions):
        names = _described(instruction)
        comment = _comment_above(text.dockerfile, instruction.line)
        if not names or not comment or comment.split(" ")[0] in names:
            continue
        name = names[0] if len(names) == 1 else "<arg_key>"
        detail = (
            f"Comment for {instruction.keyword} should follow the format: `# {name} <description>`"
        )
        yield found("InvalidDefinitionDescription", detail, instruction)


def _described(instruction: Instruction) -> Sequence[str]:
    if isinstance(instruction, Arg):
        return [argument.name for argument in instruction.arguments]
    return [instruction.name] if isinstance(instruction, From) and instruction.name else []


def _comment_above(dockerfile: Dockerfile, line: int) -> str:
    if line < 2 or line - 1 <= len(dockerfile.directives):
        return ""
    above = dockerfile.lines[line - 2].strip()
    return above[1:].strip() if above.startswith("#") else ""


_RULES: Final[tuple[Callable[[Text], Iterable[Finding]], ...]] = (
    _cautions, _stage_names, _from_as, _keywords, _shell_forms, _maintainers, _overridden,
    _old_pairs, _secrets, _ports, _bases, _descriptions,
)  # fmt: skip
