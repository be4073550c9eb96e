"""What a build tells while it goes on: values, and the order in which people can follow them.

Stages run side by side; `InOrder` holds back what later stages say until the earlier ones are
done, so that the classic stream reads as if they had run one after the other. `classic_text`
gives the words of Docker's classic builder, which clients parse.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pier.build.cache import Miss
from pier.images.transfer import Step

SHORT = 12
_RED, _PLAIN = "\x1b[91m", "\x1b[0m"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildEvent:
    """`stage` is the place of the event's stage in the plan; -1 before and after all stages."""

    stage: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted(BuildEvent):
    number: int
    total: int
    text: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCached(BuildEvent):
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRuns(BuildEvent):
    """The step was not in the cache, because of `miss`; `id` is its name while it runs."""

    number: int
    id: str
    miss: Miss


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutput(BuildEvent):
    number: int
    data: bytes
    stderr: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone(BuildEvent):
    """`id`: of the image it stands for. `removed`: the ID of StepRuns, of a RUN that ended.

    before_triggers: Docker's classic builder names no image then.
    """

    number: int
    id: str
    removed: str = ""
    before_triggers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PullTold(BuildEvent):
    """A word of a pull that the step `number` waits for; 0 when it is no step's base image."""

    number: int = 0
    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDone(BuildEvent):
    """Nothing more comes of this stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark(BuildEvent):
    """A warning, or a word about triggers and pulls: one line."""

    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBuilt(BuildEvent):
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTagged(BuildEvent):
    reference: str


Progress = Callable[[BuildEvent], None]


class InOrder:
    """Passes events on, those of a stage only when all before it have said StageDone.

    How far a pull has come is not held back: nobody wants to see it afterwards.
    """

    def __init__(self, progress: Progress, stages: Sequence[int]) -> None:
        self._progress = progress
        self._left = list(stages)
        self._held: defaultdict[int, list[BuildEvent]] = defaultdict(list)
        self._done: set[int] = set()

    def __call__(self, event: BuildEvent) -> None:
        if isinstance(event, StageDone):
            self._done.add(event.stage)
            self._advance()
        elif event.stage < 0 or (self._left and event.stage == self._left[0]):
            self._progress(event)
        elif not (isinstance(event, PullTold) and event.step.total):
            self._held[event.stage].append(event)

    def flush(self) -> None:
        """Say everything that is held back: the build is over, perhaps because it failed."""
        for stage in self._left:
            for event in self._held.pop(stage, []):
                self._progress(event)
        self._left = []

    def _advance(self) -> None:
        while self._left and self._left[0] in self._done:
            self._left.pop(0)
            if self._left:
                for event in self._held.pop(self._left[0], []):
                    self._progress(event)


class WithImage:
    """Names the image in the last step's word, too: in Docker's stream both are the same."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._held: StepDone | None = None

    def __call__(self, event: BuildEvent) -> None:
        if self._held is not None and isinstance(event, ImageBuilt):
            self._held = replace(self._held, id=event.id)
        self._flush()
        if not isinstance(event, StepDone):
            self._progress(event)
        elif not event.before_triggers:
            self._held = event

    def __enter__(self) -> "WithImage":
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()

    def _flush(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._progress(held)


def classic_text(event: BuildEvent) -> str:
    """The event as Docker's classic builder writes it; "" for what it does not say."""
    return "".join(classic_pieces(event))


def classic_pieces(event: BuildEvent) -> Sequence[str]:
    """The same in the pieces in which it writes them: each is a message of the stream."""
    match event:
        case StepStarted():
            return f"Step {event.number}/{event.total} : {event.text}", "\n"
        case StepCached():
            return (" ---> Using cache\n",)
        case StepRuns() if event.id:
            return (f" ---> Running in {short(event.id)}\n",)
        case StepOutput():
            text = event.data.decode("utf-8", "replace")
            return (f"{_RED}{text}{_PLAIN}" if event.stderr else text,)
        case StepDone() if event.removed:
            removed = f" ---> Removed intermediate container {short(event.removed)}\n"
            return removed, f" ---> {short(event.id)}\n"
        case StepDone():
            return (f" ---> {short(event.id)}\n",)
        case Remark():
            return (f"[Warning] {event.text}\n" if event.warning else f"{event.text}\n",)
        case ImageBuilt():
            return (f"Successfully built {short(event.id)}\n",)
        case ImageTagged():
            return (f"Successfully tagged {event.reference}\n",)
        case _:
            return ()


def short(identity: str) -> str:
    return identity.removeprefix("sha256:")[:SHORT]
