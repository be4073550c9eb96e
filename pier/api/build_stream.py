"""What `POST /build` answers: the classic stream, and what Pier's client asks for besides.

`explain=1` says for every step that ran which input was not what it was, as text and as
`{"aux": {"Explain": ...}}`. `lines=1` names the Dockerfile's line before the error of a RUN.
`events=1` tells the steps as they happen, those of parallel stages in between each other, as
`{"aux": {"Event": ...}}` instead of text. `check=1` builds nothing and answers what the checks
found, as text and as `{"aux": {"Check": [..]}}`. Outputs come last: each is announced by
`{"aux": {"Output": {"Index": .., "Size": ..}}}` and follows as so many bytes, which are no JSON.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from typing import BinaryIO

from pier.build.builder import Builder
from pier.build.checks import Finding
from pier.build.parser import DockerfileError, StepRefused, Unparsable
from pier.build.progress import (
    BuildEvent,
    ImageBuilt,
    PullTold,
    Remark,
    StageDone,
    StepCached,
    StepDone,
    StepOutput,
    StepRuns,
    StepStarted,
    WithImage,
    classic_pieces,
    classic_text,
)
from pier.build.request import BuildRequest, BuildResult, StepFailed
from pier.errors import PierError
from pier.images.transfer import Report, Step, reported

_CHUNK = 256 * 1024
_LOG_LINES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a client wants to be told."""

    quiet: bool = False
    explain: bool = False
    lines: bool = False
    events: bool = False


class _Log:
    """What a quiet build has said, for when it fails: then Docker's clients show it."""

    def __init__(self) -> None:
        self._texts: deque[str] = deque(maxlen=_LOG_LINES)

    def add(self, event: BuildEvent) -> None:
        if text := classic_text(event):
            self._texts.append(text)

    def report(self, report: Report) -> None:
        for text in self._texts:
            report(Step(stream=text))


async def build_stream(
    builder: Builder, request: BuildRequest, context: AsyncIterator[bytes], manner: Manner
) -> AsyncIterator[Step | bytes]:
    """Everything the client gets; closing it stops the build."""
    with ExitStack() as opened:
        files: list[BinaryIO] = []

        async def work(report: Report) -> None:
            result = await _told(builder, request, context, manner, report)
            files.extend(opened.enter_context(file) for file in result.files)

        async with aclosing(reported(work)) as steps:  # type: ignore[type-var]  # it is a generator
            async for step in steps:
                yield step
        async for part in _outputs(files):
            yield part


async def check_stream(
    builder: Builder, request: BuildRequest, context: AsyncIterator[bytes]
) -> AsyncIterator[Step | bytes]:
    """What the checks find, and nothing else."""
    checked = await builder.check(request, context)
    yield Step(aux={"Check": [finding_json(finding) for finding in checked.findings]})
    yield Step(stream=checked.text)


def finding_json(finding: Finding) -> Mapping[str, object]:
    return {
        "Rule": finding.rule,
        "Description": finding.description,
        "URL": finding.url,
        "Detail": finding.detail,
        "Line": finding.line,
        "EndLine": max(finding.line, finding.end_line),
    }


async def _told(
    builder: Builder,
    request: BuildRequest,
    context: AsyncIterator[bytes],
    manner: Manner,
    report: Report,
) -> BuildResult:
    """Build, and report it; a RUN that failed is reported, other errors are raised."""
    log = _Log()

    def tell(event: BuildEvent) -> None:
        if manner.quiet:
            log.add(event)
        for step in _steps(event, manner):
            report(step)

    try:
        if manner.events:
            result = await builder.build(request, context, tell, in_order=False)
        else:
            with WithImage(tell) as told:
                result = await builder.build(request, context, told)
    except PierError as error:
        log.report(report)
        if manner.events and isinstance(error, StepRefused | Unparsable):
            raise DockerfileError(error.line, error.reason) from error
        if not isinstance(error, StepFailed):
            raise
        if manner.lines:
            report(Step(aux={"Failed": {"Line": error.line}}))
        report(Step(error=str(error), error_code=error.code))
        return BuildResult("")
    if manner.quiet and result.image:
        report(Step(stream=f"{result.image}\n"))
    return result


async def _outputs(files: Sequence[BinaryIO]) -> AsyncIterator[Step | bytes]:
    for index, file in enumerate(files):
        size = await asyncio.to_thread(file.seek, 0, 2)
        await asyncio.to_thread(file.seek, 0)
        yield Step(aux={"Output": {"Index": index, "Size": size}})
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk


def _steps(event: BuildEvent, manner: Manner) -> list[Step]:
    """The messages that tell one event."""
    steps: list[Step] = []
    if isinstance(event, PullTold) and not manner.events:
        return [] if manner.quiet else [event.step]
    if isinstance(event, ImageBuilt):
        steps.append(Step(aux={"ID": event.id}))
    if manner.events:
        return [*steps, Step(aux={"Event": event_json(event)})]
    if manner.quiet:
        return steps
    steps += [Step(stream=text) for text in classic_pieces(event) if text]
    if manner.explain and isinstance(event, StepRuns):
        steps.append(Step(stream=f" ---> Not cached: {event.miss.told()}\n"))
        steps.append(Step(aux={"Explain": explain_json(event)}))
    return steps


def explain_json(event: StepRuns) -> Mapping[str, object]:
    changes = [
        {"Name": change.name, "Before": change.before, "After": change.after}
        for change in event.miss.changes
    ]
    return {"Step": event.number, "Reason": event.miss.told(), "Changes": changes}


def pull_text(step: Step) -> str:
    """A line of a pull, as the last line of a step's output."""
    words = [f"{step.id}:"] * bool(step.id) + [step.status]
    words += [f"{step.current * 100 // step.total}%"] * bool(step.total)
    return " ".join(words) + "\n"


def event_json(event: BuildEvent) -> Mapping[str, object]:
    """An event as an object: its kind, its stage, and what it has to say."""
    said: Mapping[str, object]
    match event:
        case StepStarted():
            said = {
                "Step": event.number, "Total": event.total, "Text": event.text, "Line": event.line,
            }  # fmt: skip
        case StepRuns():
            said = {**explain_json(event), "Runs": bool(event.id)}
        case StepOutput():
            said = {"Step": event.number, "Text": event.data.decode("utf-8", "replace")}
        case PullTold():
            said = {"Step": event.number, "Text": pull_text(event.step)}
        case StepCached() | StepDone():
            said = {"Step": event.number}
        case Remark():
            said = {"Text": classic_text(event)}
        case StageDone():
            said = {}
        case _:
            said = {"Text": classic_text(event)}
    return {"Kind": type(event).__name__, "Stage": event.stage, **said}
