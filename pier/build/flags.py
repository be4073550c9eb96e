"""The `--name[=value]` flags of one instruction, checked against those it knows."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from enum import Enum

from pier.errors import InvalidArgument

_FEW_EDITS = 2
_COMPARED = 16


class FlagKind(Enum):
    YES_NO = "yes_no"
    TEXT = "text"
    TEXTS = "texts"


class BadFlag(InvalidArgument):
    """A flag that is unknown, doubled, or has the wrong kind of value."""


def suggestion(word: str, known: Sequence[str]) -> str:
    """` (did you mean x?)`, when one of `known` is close enough; else nothing."""
    close = get_close_matches(word.lower(), [name.lower() for name in known], n=1, cutoff=0.6)
    match = next((name for name in known if close and name.lower() == close[0]), "")
    if not match and len(word) <= _COMPARED:  # what is longer may be anything
        match = next((name for name in known if _edits(word, name) <= _FEW_EDITS), "")
    return f" (did you mean {match}?)" if match and match != word else ""


def _edits(one: str, other: str) -> int:
    """Letters to add, drop or replace (Levenshtein); one too many where lengths say enough."""
    if abs(len(one) - len(other)) > _FEW_EDITS:
        return _FEW_EDITS + 1
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, 1):
        before, row[0] = row[0], number
        for column, wanted in enumerate(other, 1):
            kept = before + (letter != wanted)
            before, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, kept)
    return row[-1]


class Flags:
    """Parsed once; asked by name with the kind that is expected."""

    def __init__(self, words: Sequence[str], known: Mapping[str, FlagKind]) -> None:
        self._values: dict[str, list[str]] = {}
        self._known = known
        for word in words:
            name, equals, value = word.removeprefix("--").partition("=")
            self._add(name, value if equals else None)

    def yes(self, name: str) -> bool | None:
        """None when the flag was not given."""
        values = self._values.get(name)
        return values[0] == "true" if values else None

    def text(self, name: str, default: str = "") -> str:
        return self._values.get(name, [default])[0]

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(self._values.get(name, ()))

    def _add(self, name: str, value: str | None) -> None:
        kind = self._known.get(name)
        if kind is None:
            raise BadFlag(f"unknown flag: --{name}{suggestion(name, list(self._known))}")
        if name in self._values and kind is not FlagKind.TEXTS:
            raise BadFlag(f"duplicate flag specified: --{name}")
        if kind is FlagKind.YES_NO:
            value = _yes_no(name, value)
        if value is None:
            raise BadFlag(f"missing a value on flag: --{name}")
        self._values.setdefault(name, []).append(value)


def _yes_no(name: str, value: str | None) -> str | None:
    if value is None:
        return "true"
    if value and value.lower() not in ("true", "false"):
        raise BadFlag(f"expecting boolean value for flag --{name}, not: {value}")
    return value.lower() or None
