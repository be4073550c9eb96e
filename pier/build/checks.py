"""Build checks: the rules, which of them a Dockerfile or a client wants, and what they found.

Follows Docker's "Build checks" reference: names, sentences and the `check` directive are its own.
Pure; `lint` and `lint_stages` find, this module says.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from pier.build.flags import suggestion
from pier.errors import InvalidArgument

_URL: Final = "https://docs.docker.com/go/dockerfile/rule/"
_WORD_STARTS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=JSON)(?=A)")
_AROUND: Final = 2
_KNOWN: Final = 200
_TRUE: Final = ("1", "t", "T", "TRUE", "true", "True")
_FALSE: Final = ("0", "f", "F", "FALSE", "false", "False")

RULES: Final[Mapping[str, str]] = {
    "StageNameCasing": "Stage names should be lowercase",
    "FromAsCasing": "The 'as' keyword should match the case of the 'from' keyword",
    "NoEmptyContinuation": "Empty continuation lines will become errors in a future release",
    "ConsistentInstructionCasing":
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
    "DuplicateStageName": "Stage names should be unique",
    "ReservedStageName": "Reserved words should not be used as stage names",
    "JSONArgsRecommended":
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to "
        "OS signals",
    "MaintainerDeprecated":
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    "UndefinedArgInFrom": "FROM command must use declared ARGs",
    "WorkdirRelativePath":
        "Relative workdir without an absolute workdir declared within the build can have "
        "unexpected results if the base image changes",
    "UndefinedVar": "Variables should be defined before their use",
    "MultipleInstructionsDisallowed":
        "Multiple instructions of the same type should not be used in the same stage",
    "LegacyKeyValueFormat":
        "Legacy key/value format with whitespace separator should not be used",
    "InvalidBaseImagePlatform": "Base image platform does not match expected target platform",
    "RedundantTargetPlatform":
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the "
        "default behavior",
    "SecretsUsedInArgOrEnv": "Sensitive data should not be used in the ARG or ENV commands",
    "InvalidDefaultArgInFrom":
        "Default value for global ARG results in an empty or invalid base image name",
    "FromPlatformFlagConstDisallowed": "FROM --platform flag should not use a constant value",
    "CopyIgnoredFile": "Attempting to Copy file that is excluded by .dockerignore",
    "InvalidDefinitionDescription":
        "Comment for build stage or argument should follow the format: "
        "`# <arg/stage name> <description>`. If this is not intended to be a description comment, "
        "add an empty line or comment between the instruction and the comment.",
    "ExposeProtoCasing": "Protocol in EXPOSE instruction should be lowercase",
    "ExposeInvalidFormat":
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will "
        "become an error in a future release",
}  # fmt: skip
"""Every rule and what it stands for. InvalidBaseImagePlatform never finds anything: such a base is
refused."""
EXPERIMENTAL: Final = frozenset({"CopyIgnoredFile", "InvalidDefinitionDescription"})


class BadCheck(InvalidArgument):
    def __init__(self, text: str) -> None:
        super().__init__(f'invalid check option "{text}"')


class ChecksFailed(InvalidArgument):
    """`error=true`, and something was found."""

    def __init__(self, findings: Iterable["Finding"]) -> None:
        rules = dict.fromkeys(finding.rule for finding in findings)
        super().__init__(f"lint violation found for rules: {', '.join(rules)}")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule has to say; `line` and `end_line` are those of the instruction."""

    rule: str
    detail: str
    line: int
    end_line: int = 0

    @property
    def description(self) -> str:
        return RULES[self.rule]

    @property
    def url(self) -> str:
        return _URL + "-".join(_WORD_STARTS.split(self.rule)).lower() + "/"

    def told(self) -> str:
        """In one line, as the build's output has it."""
        return f"{self.rule}: {self.detail} (line {self.line})"


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """`# check=skip=Rule,..;error=true;experimental=Rule,..`; `all` stands for every rule."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False

    def wants(self, rule: str) -> bool:
        if rule in EXPERIMENTAL and not {rule, "all"} & self.experimental:
            return False
        return not {rule, "all"} & self.skip


def parse_check(text: str) -> CheckOptions:
    """Read the value of the directive; raise BadCheck."""
    sets: dict[str, frozenset[str]] = {"skip": frozenset(), "experimental": frozenset()}
    error = False
    for part in filter(None, map(str.strip, text.split(";"))):
        key, equals, value = part.partition("=")
        key, value = key.strip(), value.strip()
        if not equals:
            raise BadCheck(part)
        if key in sets:
            sets[key] = frozenset(map(str.strip, value.split(",")))
        elif key == "error" and value in (*_TRUE, *_FALSE):
            error = value in _TRUE
        else:
            raise BadCheck(part if key == "error" else key)
    return CheckOptions(sets["skip"], sets["experimental"], error)


@dataclass(slots=True)
class Guesses:
    """What somebody may have meant, for the first few mistakes: each guess takes its time."""

    left: int = 20

    def __call__(self, word: str, known: Iterable[str]) -> str:
        """` (did you mean x?)`, or nothing."""
        self.left -= 1
        return suggestion(word, list(islice(known, _KNOWN))) if self.left >= 0 else ""


def report(findings: Sequence[Finding], dockerfile: str, lines: Sequence[str]) -> str:
    """For people: each finding with the lines that it is about."""
    if not findings:
        return "Check complete, no warnings found.\n"
    one = len(findings) == 1
    many = "1 warning has" if one else f"{len(findings)} warnings have"
    told = [_told_with_lines(finding, dockerfile, lines) for finding in findings]
    return f"Check complete, {many} been found!\n" + "".join(told)


def _told_with_lines(finding: Finding, dockerfile: str, lines: Sequence[str]) -> str:
    rule = "-" * 20
    last = max(finding.line, finding.end_line)
    shown = [
        f"{number:4d} | {'>>>' if finding.line <= number <= last else '   '} {line}".rstrip()
        for number, line in enumerate(lines, 1)
        if finding.line - _AROUND <= number <= last + _AROUND
    ]
    head = f"\nWARNING: {finding.rule} - {finding.url}\n{finding.detail}\n"
    return "\n".join([f"{head}{dockerfile}:{finding.line}", rule, *shown, rule, ""])
