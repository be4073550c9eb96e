"""`.dockerignore`: which paths of a context are left out, by Docker's rules.

The last pattern that matches decides; `!` takes back in; `**` is any number of directories; a
match on a directory is a match on everything in it. Patterns come cleaned as Go's filepath.Clean
does it. The same rules serve `COPY --exclude`.
"""

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pier.build.globs import Pattern, Token, file_pattern, literal, read_token
from pier.errors import InvalidArgument

_ALL_RUN = Token(lambda char: True, jumps=(1,), many=True)
_ANY_DIRECTORIES = (Token(lambda char: False, jumps=(1, 3)), _ALL_RUN, literal("/"))


class BadExclusion(InvalidArgument):
    def __init__(self) -> None:
        super().__init__('illegal exclusion pattern: "!"')


def read_ignore_file(data: bytes) -> list[str]:
    """The patterns of an ignore file, cleaned; comments and blank lines are gone."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    lines = (line.strip() for line in text.split("\n") if not line.startswith("#"))
    return [_cleaned_line(line) for line in lines if line]


def _cleaned_line(line: str) -> str:
    inverted = line.startswith("!")
    pattern = line[1:].strip() if inverted else line
    if pattern:
        pattern = clean(pattern)
        if len(pattern) > 1 and pattern.startswith("/"):
            pattern = pattern[1:]
    return "!" + pattern if inverted else pattern


def clean(path: str) -> str:
    """Go's filepath.Clean: the shortest equal name; "" becomes "."."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


@dataclass(frozen=True, slots=True)
class _Rule:
    inverted: bool
    pattern: Pattern
    text: str

    def covers(self, path: str) -> bool:
        """Whether the pattern matches `path` or a directory it is in."""
        if self.pattern.matches(path):
            return True
        slash = path.find("/")
        while slash > 0:
            if self.pattern.matches(path[:slash]):
                return True
            slash = path.find("/", slash + 1)
        return False


class IgnoreRules:
    """Answers, for a slash-separated relative path, whether it is left out."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._rules = [_rule(text) for text in map(str.strip, patterns) if text]
        self.has_exceptions = any(rule.inverted for rule in self._rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def excludes(self, path: str) -> bool:
        excluded = False
        for rule in self._rules:
            if rule.inverted == excluded and rule.covers(path):
                excluded = not rule.inverted
        return excluded

    def prunes(self, directory: str) -> bool:
        """Whether nothing below an excluded `directory` can be taken back in."""
        if not self.has_exceptions:
            return True
        parts = directory.split("/")
        return not any(rule.inverted and _may_reach(rule.text, parts) for rule in self._rules)


def _may_reach(exception: str, directory: Sequence[str]) -> bool:
    """Whether `exception` can match something below `directory`, judged on leading literals."""
    for wanted, actual in zip(exception.split("/"), directory, strict=False):
        if any(char in wanted for char in "*?[\\"):
            return True
        if wanted != actual:
            return False
    return True


def _rule(text: str) -> _Rule:
    cleaned = clean(text)
    inverted = cleaned.startswith("!")
    if cleaned == "!":
        raise BadExclusion
    pattern = cleaned[1:] if inverted else cleaned
    file_pattern(pattern)  # for its syntax check
    return _Rule(inverted, Pattern(list(_tokens(pattern))), pattern)


def _tokens(pattern: str) -> Iterator[Token]:
    if pattern.startswith("**") and not any(char in pattern[2:] for char in "*?[]\\"):
        yield from _suffix_tokens(pattern[2:])
        return
    position = 0
    while position < len(pattern):
        if pattern.startswith("**", position):
            position += 2 + pattern.startswith("/", position + 2)
            yield from _ANY_DIRECTORIES if position < len(pattern) else (_ALL_RUN,)
            continue
        token, position = read_token(pattern, position)
        yield token


def _suffix_tokens(suffix: str) -> Iterator[Token]:
    """`**` and plain text: any name that ends so, at whatever character (Docker's own quirk)."""
    if suffix.startswith("/"):
        yield from _ANY_DIRECTORIES
        suffix = suffix[1:]
    else:
        yield _ALL_RUN
    yield from map(literal, suffix)
