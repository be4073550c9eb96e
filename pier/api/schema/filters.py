"""The `filters` parameter: reading its two encodings, and deciding what matches. Pure.

Go clients send {"key": {"value": true}}, others {"key": ["value"]}. Within one key any value may
match; all keys must.
"""

import re
from collections.abc import Collection, Mapping, Sequence

import msgspec

from pier.errors import InvalidArgument

_TRUE = ("1", "true", "t", "True", "TRUE", "T")
_FALSE = ("0", "false", "f", "False", "FALSE", "F")
TRUTHS = _TRUE + _FALSE


class InvalidFilter(InvalidArgument):
    def __init__(self, what: str) -> None:
        super().__init__(f"invalid filter '{what}'")


class MalformedFilters(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("invalid filter")


class Filters:
    """Values by key, and how they match. An absent key lets everything pass."""

    def __init__(self, values: Mapping[str, tuple[str, ...]]) -> None:
        self._values = values

    def __contains__(self, key: str) -> bool:
        return bool(self._values.get(key))

    def __bool__(self) -> bool:
        return any(self._values.values())

    def get(self, key: str) -> tuple[str, ...]:
        return self._values.get(key, ())

    def keys(self) -> Collection[str]:
        return self._values.keys()

    def flag(self, key: str, *, default: bool) -> bool:
        """One truth value. Raises InvalidFilter for anything else, or for both."""
        values = self.get(key)
        if not values:
            return default
        truths = {value in _TRUE for value in values if value in TRUTHS}
        if len(truths) != 1 or any(value not in TRUTHS for value in values):
            raise InvalidFilter(f"{key}=[{' '.join(values)}]")
        return truths.pop()

    def exact(self, key: str, actual: str) -> bool:
        return key not in self or actual in self.get(key)

    def any_of(self, key: str, actual: Collection[str]) -> bool:
        return key not in self or any(value in actual for value in self.get(key))

    def prefix(self, key: str, *actual: str) -> bool:
        """The event stream's rule: the value begins what is there."""
        return key not in self or any(
            text.startswith(value) for value in self.get(key) for text in actual
        )

    def matches(self, key: str, *actual: str) -> bool:
        """The rule for names and IDs: the value is a regular expression that is found there."""
        return key not in self or any(
            _found(value, text) for value in self.get(key) for text in actual
        )

    def labels(self, labels: Mapping[str, str], key: str = "label") -> bool:
        """Every value, "k" or "k=v", must be among the labels."""
        return all(has_label(value, labels) for value in self.get(key))


def has_label(wanted: str, labels: Mapping[str, str]) -> bool:
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)


def _found(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return pattern in text


def parse_filters(text: str, allowed: Collection[str] | None) -> Filters:
    """Raises InvalidArgument for what is no such JSON, and for a key that is not `allowed`.

    None allows any key.
    """
    if not text.strip():
        return Filters({})
    try:
        raw = msgspec.json.decode(text, type=dict[str, dict[str, bool] | list[str] | None])
    except (msgspec.DecodeError, RecursionError):
        raise MalformedFilters from None
    for key in raw:
        if allowed is not None and key not in allowed:
            raise InvalidFilter(key)
    return Filters({key: _values(value) for key, value in raw.items()})


def _values(value: Mapping[str, bool] | Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        return tuple(key for key, wanted in value.items() if wanted)
    return tuple(value or ())
