"""When a step need not run again, and if it must: because of what.

A step's key is the hash of its parent's key, of what it does, and of its *named* inputs: files by
path, arguments, environment, mounts. The names are kept with the key, so two keys that differ can
be told apart in words. Pure; `cache_store` remembers.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

MAX_FILES_NAMED = 20_000
"""Beyond that, the inputs name directories: the row would be larger than the layer."""
_MAX_TOLD = 5
INSTRUCTION = "instruction"
PARENT = "parent"


@dataclass(frozen=True, slots=True)
class StepKey:
    """`parent` is the key of the step whose files this one starts from: an image's ID at first.

    `instruction` is the line as written; what its variables came to is among the `inputs`, which
    map names as people know them ("file app/main.py", "arg VERSION") to a digest or a value.
    """

    parent: str
    instruction: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    digest: str = field(init=False, compare=False)
    """The key itself. Names and values are quoted by JSON, so none can pass for another."""

    def __post_init__(self) -> None:
        parts = [self.parent, self.instruction, sorted(self.inputs.items())]
        digest = "sha256:" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        object.__setattr__(self, "digest", digest)

    def above(self, below: str) -> str:
        """The parent of what comes next. A step that does not ask what is below it is no parent
        by itself: another such step below would go unnoticed."""
        if self.parent == below:
            return self.digest
        return "sha256:" + hashlib.sha256(json.dumps([below, self.digest]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Change:
    """One input that is not what it was. `name` "parent": the files the step starts from."""

    name: str
    before: str | None
    after: str | None

    def told(self) -> str:
        if self.before is None:
            return f"{self.name} is new"
        if self.after is None:
            return f"{self.name} is gone"
        if self.name.startswith(("arg ", "env ")):
            return f"{self.name} was {self.before!r}, is {self.after!r}"
        return f"{self.name} changed"


@dataclass(frozen=True, slots=True)
class Miss:
    """Why a step runs. `changes` empty: nothing like it is remembered (or caching is off)."""

    reason: str
    changes: tuple[Change, ...] = ()

    def told(self) -> str:
        if not self.changes or self.changes[0].name == INSTRUCTION:
            return self.reason
        told = [change.told() for change in self.changes[:_MAX_TOLD]]
        more = len(self.changes) - len(told)
        return "; ".join([*told, f"and {more} more"] if more else told)


def explain(key: StepKey, remembered: Sequence[StepKey]) -> Miss:
    """What set `key` apart from the most alike of the `remembered` steps, newest first.

    Those are steps with the same instruction, or with the same parent.
    """
    same = [old for old in remembered if old.instruction == key.instruction]
    if same:
        nearest = min(same, key=lambda old: (len(compare(old, key)), old.parent != key.parent))
        changes = tuple(compare(nearest, key))
        return Miss("an input changed" if changes else "what it starts from came out different",
                    changes)  # fmt: skip
    keyword = key.instruction.partition(" ")[0]
    for old in remembered:
        if old.parent == key.parent and old.instruction.partition(" ")[0] == keyword:
            change = Change(INSTRUCTION, old.instruction, key.instruction)
            return Miss(f"the instruction changed: it was {old.instruction!r}", (change,))
    return Miss("nothing like it was built before")


def compare(old: StepKey, new: StepKey) -> list[Change]:
    """The inputs that differ, files first, the parent last: it is the least telling."""
    names = sorted({*old.inputs, *new.inputs}, key=_rank)
    pairs = ((name, old.inputs.get(name), new.inputs.get(name)) for name in names)
    changes = [Change(name, before, after) for name, before, after in pairs if before != after]
    if old.parent != new.parent:
        changes.append(Change(PARENT, old.parent, new.parent))
    return changes


def _rank(name: str) -> tuple[bool, str]:
    return (not name.startswith("file "), name)


def file_inputs(files: Iterable[tuple[str, str]]) -> dict[str, str]:
    """`(path, digest)` of what is copied, as inputs; very many are folded into directories."""
    found = list(files)
    if len(found) <= MAX_FILES_NAMED:
        return {_named(path): digest for path, digest in found}
    folded: dict[str, list[str]] = {}
    for path, digest in found:
        directory = path.rpartition("/")[0]
        folded.setdefault(directory, []).append(f"{path}\0{digest}")
    return {
        _named(f"{directory}/"): hashlib.sha256(
            "\0\0".join(sorted(entries)).encode("utf-8", "surrogateescape")
        ).hexdigest()
        for directory, entries in folded.items()
    }


def _named(path: str) -> str:
    """A name that is no UTF-8 is told byte by byte: no two files share an input."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "bytes " + path.encode("utf-8", "surrogateescape").hex()
    return f"file {path}"
