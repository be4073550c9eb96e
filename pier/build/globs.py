"""Shell patterns matched in linear time: `*`, `?`, `[a-z]` and, for `.dockerignore`, `**`.

A pattern is foreign text, so it never becomes a backtracking regular expression: matching
advances a set of states, kept in the bits of one integer, over each character once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pier.errors import InvalidArgument


class BadPattern(InvalidArgument):
    def __init__(self, pattern: str) -> None:
        super().__init__(f"syntax error in pattern: {pattern!r}")


@dataclass(frozen=True, slots=True)
class Token:
    """One element of a pattern: it accepts a character, and `many` says any number of them.

    `jumps` are the distances to elements that may be taken up in its stead, at no cost.
    """

    accepts: Callable[[str], bool]
    jumps: tuple[int, ...] = ()
    many: bool = False


class Pattern:
    """A sequence of tokens, matched as a whole or by where matches end."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tuple(tokens)
        self._many = sum(1 << i for i, token in enumerate(tokens) if token.many)
        self._jumps: dict[int, int] = {}
        for i, token in enumerate(tokens):
            for distance in token.jumps:
                self._jumps[distance] = self._jumps.get(distance, 0) | 1 << i
        self._done = 1 << len(tokens)
        self._masks: dict[str, int] = {}

    def matches(self, text: str) -> bool:
        state = self._closed(1)
        for char in text:
            state = self._step(state, char)
            if not state:
                return False
        return bool(state & self._done)

    def ends(self, text: str, start: int = 0) -> Iterator[int]:
        """Every position where a match that begins at `start` ends, ascending."""
        state = self._closed(1)
        if state & self._done:
            yield start
        for position in range(start, len(text)):
            state = self._step(state, text[position])
            if not state:
                return
            if state & self._done:
                yield position + 1

    def _step(self, state: int, char: str) -> int:
        mask = self._masks.get(char)
        if mask is None:
            mask = sum(1 << i for i, token in enumerate(self._tokens) if token.accepts(char))
            self._masks[char] = mask
        alive = state & mask
        return self._closed((alive & self._many) | ((alive & ~self._many) << 1))

    def _closed(self, state: int) -> int:
        while True:
            further = state
            for distance, sources in self._jumps.items():
                further |= (state & sources) << distance
            if further == state:
                return state
            state = further


def literal(char: str) -> Token:
    return Token(lambda other: other == char)


ANY = Token(lambda char: char != "\n")
ANY_RUN = Token(lambda char: char != "\n", jumps=(1,), many=True)
_NAME_CHAR = Token(lambda char: char != "/")
_NAME_RUN = Token(lambda char: char != "/", jumps=(1,), many=True)


def file_pattern(pattern: str) -> Pattern:
    r"""Go's filepath.Match: `*` and `?` stop at slashes, `\` quotes, `[^a-z]` is a class."""
    return Pattern(list(_file_tokens(pattern)))


def file_match(pattern: str, name: str) -> bool:
    return file_pattern(pattern).matches(name)


def has_wildcards(pattern: str) -> bool:
    return any(char in pattern for char in "*?[\\")


def _file_tokens(pattern: str) -> Iterator[Token]:
    position = 0
    while position < len(pattern):
        token, position = read_token(pattern, position)
        yield token


def read_token(pattern: str, position: int) -> tuple[Token, int]:
    """The element of a file pattern at `position`, and where the next one begins."""
    char = pattern[position]
    position += 1
    if char == "*":
        return _NAME_RUN, position
    if char == "?":
        return _NAME_CHAR, position
    if char == "[":
        return read_class(pattern, position)
    if char == "\\":
        if position == len(pattern):
            raise BadPattern(pattern)
        return literal(pattern[position]), position + 1
    return literal(char), position


def read_class(pattern: str, position: int) -> tuple[Token, int]:
    """A character class whose `[` has been read: its token, and the position after its `]`."""
    negated = pattern[position : position + 1] == "^"
    position += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and pattern[position : position + 1] == "]"):
        low, position = _class_char(pattern, position)
        high = low
        if pattern[position : position + 1] == "-":
            high, position = _class_char(pattern, position + 1)
        ranges.append((low, high))
    return _class_token(ranges, negated=negated), position + 1


def _class_char(pattern: str, position: int) -> tuple[str, int]:
    char = pattern[position : position + 1]
    if char == "\\":
        position += 1
        char = pattern[position : position + 1]
    elif char in ("-", "]"):
        raise BadPattern(pattern)
    if not char or position + 1 >= len(pattern):
        raise BadPattern(pattern)
    return char, position + 1


def _class_token(ranges: Iterable[tuple[str, str]], *, negated: bool) -> Token:
    fixed = tuple(ranges)
    return Token(
        lambda char: char != "/" and any(low <= char <= high for low, high in fixed) != negated
    )
