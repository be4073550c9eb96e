"""Variables in a Dockerfile word: every `$` form, quotes and escapes.

Follows the reference, "Environment replacement": `$v ${v} ${v:-w} ${v-w} ${v:+w} ${v+w} ${v:?e}
${v?e} ${v#p} ${v##p} ${v%p} ${v%%p} ${v/p/r} ${v//p/r}`. Single quotes hide variables, an escape
hides one character, and a name nobody set is empty.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pier.build.globs import ANY, ANY_RUN, Pattern, literal
from pier.errors import InvalidArgument

_MAX_DEPTH = 64
_MAX_RESULT = 8 * 1024 * 1024
_SPECIAL = "@*#?-$!"


class BadSubstitution(InvalidArgument):
    def __init__(self, word: str, reason: str) -> None:
        super().__init__(f"failed to process {json.dumps(word, ensure_ascii=False)}: {reason}")


class _Fault(Exception):
    """The reason alone; `expand` adds the word."""


@dataclass(frozen=True, slots=True)
class Expanded:
    """`text` as one word; `words` parted at blanks that were not quoted; names it asked for.

    unset: those that nobody set, and for which the word has nothing to say instead.
    """

    text: str
    words: tuple[str, ...]
    used: frozenset[str]
    unset: frozenset[str]


def expand(word: str, variables: Mapping[str, str], escape: str = "\\") -> Expanded:
    """Replace the variables of `word` and undo its quotes; raise BadSubstitution."""
    reader = _Reader(word, variables, escape)
    try:
        out = reader.read_until("", keep_escapes=False)
    except _Fault as fault:
        raise BadSubstitution(word, str(fault)) from fault
    return Expanded(out.text(), tuple(out.words()), frozenset(reader.used), frozenset(reader.unset))


@dataclass(slots=True)
class _Out:
    """Collects (character run, may be split) so that both readings can be had at the end."""

    pieces: list[tuple[str, bool]] = field(default_factory=list)
    size: int = 0

    def add(self, text: str, *, splits: bool) -> None:
        self.size += len(text)
        if self.size > _MAX_RESULT:
            raise _Fault("the result is too large")
        self.pieces.append((text, splits))

    def text(self) -> str:
        return "".join(text for text, _ in self.pieces)

    def words(self) -> list[str]:
        words: list[str] = []
        word: list[str] = []
        for text, splits in self.pieces:
            if not splits:
                word.append(text)
                continue
            for char in text:
                if not char.isspace():
                    word.append(char)
                elif any(word):
                    words.append("".join(word))
                    word = []
        return [*words, "".join(word)] if any(word) else words


class _Reader:
    def __init__(self, word: str, variables: Mapping[str, str], escape: str) -> None:
        self._word = word
        self._at = 0
        self._variables = variables
        self._escape = escape
        self._depth = 0
        self.used: set[str] = set()
        self.unset: set[str] = set()

    def read_until(self, stop: str, *, keep_escapes: bool) -> _Out:
        """Up to and including an unquoted `stop`, or to the end when `stop` is empty."""
        out = _Out()
        while self._at < len(self._word):
            char = self._take()
            if char == stop:
                return out
            if char == "$":
                out.add(self._dollar(), splits=True)
            elif char == "'":
                out.add(self._single_quoted(), splits=False)
            elif char == '"':
                out.add(self._double_quoted(keep_escapes=keep_escapes), splits=False)
            elif char == self._escape:
                kept = char if keep_escapes else ""
                out.add(kept + self._take_any(), splits=False)
            else:
                out.add(char, splits=True)
        if stop:
            what = "missing '/' in ${}" if stop == "/" else "missing '}'"
            raise _Fault(f"syntax error: {what}")
        return out

    def _single_quoted(self) -> str:
        end = self._word.find("'", self._at)
        if end < 0:
            raise _Fault("unexpected end of statement while looking for matching single-quote")
        text = self._word[self._at : end]
        self._at = end + 1
        return text

    def _double_quoted(self, *, keep_escapes: bool) -> str:
        out: list[str] = []
        while self._at < len(self._word):
            char = self._take()
            if char == '"':
                return "".join(out)
            if char == "$":
                out.append(self._dollar())
            elif char == self._escape:
                out.append(self._escape_in_quotes(keep_escapes=keep_escapes))
            else:
                out.append(char)
        raise _Fault("unexpected end of statement while looking for matching double-quote")

    def _escape_in_quotes(self, *, keep_escapes: bool) -> str:
        """Between double quotes only `"`, `$` and the escape itself can be escaped."""
        following = self._peek()
        if following and following in f'"${self._escape}':
            self._at += 1
            return (self._escape if keep_escapes else "") + following
        if not following:
            return ""
        return self._escape * 2 if keep_escapes else self._escape

    def _dollar(self) -> str:
        if self._peek() != "{":
            name = self._name()
            return self._value(name)[0] if name else "$"
        self._at += 1
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _Fault("substitutions are nested too deeply")
        text = self._braced()
        self._depth -= 1
        return text

    def _braced(self) -> str:
        if not self._peek():
            raise _Fault("syntax error: missing '}'")
        if self._peek() in "{}:":
            raise _Fault("syntax error: bad substitution")
        name = self._name()
        operator = self._take_any()
        if operator == "}":
            return self._value(name)[0]
        if operator == "/":
            return self._replaced(name)
        if operator == ":":
            operator += self._take_any()
        if operator not in (":-", ":+", ":?", "-", "+", "?", "#", "%", ":#", ":%"):
            if not operator or operator == ":":
                raise _Fault("syntax error: missing '}'")
            raise _Fault(f"unsupported modifier ({operator}) in substitution")
        word = self.read_until("}", keep_escapes=operator[-1] in "#%").text()
        return self._modified(name, operator, word)

    def _modified(self, name: str, operator: str, word: str) -> str:
        value, is_set = self._value(name, needed=operator[-1] in "#%")
        absent = not is_set or (operator.startswith(":") and not value)
        match operator[-1]:
            case "-":
                return word if absent else value
            case "+":
                return "" if absent else word
            case "?":
                if absent:
                    state = "empty" if is_set else "unset"
                    raise _Fault(f"{name}: {word or f'is not allowed to be {state}'}")
                return value
            case "#":
                return _without_prefix(value, word)
            case _:
                return _without_suffix(value, word)

    def _replaced(self, name: str) -> str:
        everywhere = self._peek() == "/"
        self._at += everywhere
        pattern = self.read_until("/", keep_escapes=True).text()
        replacement = self.read_until("}", keep_escapes=True).text()
        return _replace(self._value(name)[0], pattern, replacement, everywhere=everywhere)

    def _name(self) -> str:
        start = self._at
        first = self._peek()
        if first.isdigit():
            while self._peek().isdigit():
                self._at += 1
        elif first and first in _SPECIAL:
            self._at += 1
        else:
            while self._peek().isalnum() or self._peek() == "_":
                self._at += 1
        return self._word[start : self._at]

    def _value(self, name: str, *, needed: bool = True) -> tuple[str, bool]:
        value = self._variables.get(name)
        if value is not None:
            self.used.add(name)
        elif needed:
            self.unset.add(name)
        return value or "", value is not None

    def _peek(self) -> str:
        return self._word[self._at : self._at + 1]

    def _take(self) -> str:
        self._at += 1
        return self._word[self._at - 1]

    def _take_any(self) -> str:
        return self._take() if self._at < len(self._word) else ""


def _tokens(pattern: str) -> list[str]:
    """`*` and `?` as they are, every other character as two: a backslash and itself."""
    tokens = []
    chars = iter(pattern)
    for char in chars:
        if char in "*?":
            tokens.append(char)
        elif char == "\\":
            tokens.append("\\" + _escaped(next(chars, ""), pattern))
        else:
            tokens.append("\\" + char)
    return tokens


def _escaped(char: str, pattern: str) -> str:
    if not char or char not in "*?\\}/":
        raise _Fault(f"invalid pattern ({pattern}) in substitution: invalid escape '\\{char}'")
    return char


def _pattern(tokens: list[str]) -> Pattern:
    kinds = {"*": ANY_RUN, "?": ANY}
    return Pattern([kinds.get(token) or literal(token[1]) for token in tokens])


def _without_prefix(value: str, word: str) -> str:
    longest = word.startswith("#")
    ends = list(_pattern(_tokens(word[1:] if longest else word)).ends(value))
    if not ends:
        return value
    return value[ends[-1] if longest else ends[0] :]


def _without_suffix(value: str, word: str) -> str:
    """A suffix is a prefix of everything reversed."""
    longest = word.startswith("%")
    tokens = _tokens(word[1:] if longest else word)[::-1]
    ends = list(_pattern(tokens).ends(value[::-1]))
    if not ends:
        return value
    return value[: len(value) - (ends[-1] if longest else ends[0])]


def _replace(value: str, pattern: str, replacement: str, *, everywhere: bool) -> str:
    """The leftmost longest match, or every one; nothing matches emptily beside a match."""
    compiled = _pattern(_tokens(pattern))
    out = _Out()
    start = last_end = 0
    while start <= len(value):
        end = max(compiled.ends(value, start), default=-1)
        if end < 0 or (end == start and start == last_end and start > 0):
            out.add(value[start : start + 1], splits=True)
            start += 1
            continue
        out.add(replacement, splits=True)
        last_end = end
        if not everywhere:
            out.add(value[end:], splits=True)
            break
        if end == start:
            out.add(value[start : start + 1], splits=True)
            start += 1
        else:
            start = end
    return out.text()
