"""The text of a scenario and its parts. The notation is explained in the package's docstring."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

DIRECTORY = Path(__file__).parent / "scenarios"
_EMPTY_LINE = "␤"
_NO_NEWLINE = "␄"


class Kind(Enum):
    """What a line of shell is for; the value is its mark."""

    PREPARATION = "-"
    WAIT = "?"
    STEP = "$"


@dataclass(frozen=True, slots=True)
class Result:
    """What a command line did, normalised."""

    out: str
    err: str
    code: int

    def lines(self) -> Iterator[str]:
        yield from (f"  {line}".rstrip() for line in _to_lines(self.out))
        yield from (f"! {line}".rstrip() for line in _to_lines(self.err))
        if self.code:
            yield f"= {self.code}"


@dataclass(frozen=True, slots=True)
class Command:
    """A line of shell; of a step also what dockerd answered, and why Pier answers otherwise."""

    kind: Kind
    line: str
    recorded: Result | None = None
    reason: str = ""
    own: Result | None = None

    @property
    def expected(self) -> Result | None:
        """What Pier is to answer."""
        return self.own if self.reason else self.recorded

    def lines(self) -> Iterator[str]:
        first, *more = self.line.split("\n")
        yield f"{self.kind.value} {first}"
        yield from (f"> {line}" for line in more)
        if self.recorded:
            yield from self.recorded.lines()
        if self.reason:
            yield from (f"~ {line}" for line in self.reason.split("\n"))
        if self.own:
            yield from (f"| {line}" for line in self.own.lines())


@dataclass(frozen=True, slots=True)
class Scenario:
    """A file's commands, each with the comments and blank lines above it."""

    topic: str
    parts: tuple["Command | str", ...]

    @property
    def steps(self) -> list[Command]:
        return [p for p in self.parts if isinstance(p, Command) and p.kind is Kind.STEP]

    def with_steps(self, steps: Sequence[Command]) -> "Scenario":
        """The same text around other steps, in the same order."""
        new = iter(steps)
        of_old = (
            next(new) if isinstance(p, Command) and p.kind is Kind.STEP else p for p in self.parts
        )
        return replace(self, parts=tuple(of_old))

    def text(self) -> str:
        lines: list[str] = []
        for part in self.parts:
            lines.extend(part.lines() if isinstance(part, Command) else [part])
        return "".join(f"{line}\n" for line in lines)


def topics() -> list[str]:
    return sorted(path.stem for path in DIRECTORY.glob("*.txt"))


def read_scenario(topic: str) -> Scenario:
    return parse_scenario(topic, (DIRECTORY / f"{topic}.txt").read_text())


def write_scenario(scenario: Scenario) -> None:
    (DIRECTORY / f"{scenario.topic}.txt").write_text(scenario.text())


def parse_scenario(topic: str, text: str) -> Scenario:
    parts: list[Command | str] = []
    lines = text.splitlines()
    while lines:
        first = lines.pop(0)
        if first[:2] in [f"{kind.value} " for kind in Kind]:
            parts.append(_parse_command(first, lines))
        elif not first or first.startswith("#"):
            parts.append(first)
        else:
            raise ValueError(f"{topic}: not a line of a scenario: {first!r}")
    return Scenario(topic, tuple(parts))


def difference(step: Command, result: Result) -> str:
    """What was expected of Pier and what it answered; "" if that is the same."""
    if step.expected == result:
        return ""
    expected = list(step.expected.lines()) if step.expected else []
    lines = difflib.unified_diff(expected, list(result.lines()), lineterm="")
    return "\n".join([f"$ {step.line}", *list(lines)[2:], "", ""])


def _parse_command(first: str, lines: list[str]) -> Command:
    """Take the lines that belong to `first` from the front of `lines`."""
    kind = Kind(first[0])
    line = "\n".join([first[2:], *_taken(lines, ">")])
    if kind is not Kind.STEP:
        return Command(kind, line)
    recorded = _parse_result(_taken(lines, " !=", strip=False))
    reason = "\n".join(_taken(lines, "~"))
    own = _parse_result(_taken(lines, "|")) if reason else None
    return Command(kind, line, recorded, reason, own)


def _taken(lines: list[str], marks: str, *, strip: bool = True) -> list[str]:
    taken = []
    while lines and lines[0] and lines[0][0] in marks:
        line = lines.pop(0)
        taken.append(line[2:] if strip else line)
    return taken


def _parse_result(lines: Sequence[str]) -> Result:
    def of(mark: str) -> list[str]:
        return [line[2:] for line in lines if line.startswith(mark)]

    return Result(_from_lines(of(" ")), _from_lines(of("!")), int((of("=") or ["0"])[0]))


def _to_lines(text: str) -> list[str]:
    lines = text.split("\n")
    last = lines.pop()
    if last:
        lines.append(last + _NO_NEWLINE)
    return [line or _EMPTY_LINE for line in lines]


def _from_lines(lines: Sequence[str]) -> str:
    text = "".join(f"{line}\n" for line in lines).replace(f"{_EMPTY_LINE}\n", "\n")
    return text.replace(f"{_NO_NEWLINE}\n", "")
