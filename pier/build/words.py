"""How the rest of a Dockerfile line falls into words, flags, pairs and JSON arrays.

Pure text work: quotes are kept wherever a later expansion has to see them.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pier.errors import InvalidArgument

_BLANKS = re.compile(r"[\t\v\f\r ]+")


class NotStrings(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("when using JSON array syntax, arrays must be comprised of strings only")


class BadPair(InvalidArgument):
    """A name=value instruction that is not."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One `name=value` as written: quotes and variables are still in it."""

    name: str
    value: str


def split_blanks(text: str) -> tuple[str, ...]:
    return tuple(_BLANKS.split(text)) if text else ()


def split_json(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array, or None when `text` is not one: then it is the shell form."""
    if not text.lstrip().startswith("["):
        return None
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(items, list):
        return None
    if not all(isinstance(item, str) for item in items):
        raise NotStrings
    return tuple(item.encode("utf-8", "replace").decode() for item in items)


def split_flags(text: str, escape: str) -> tuple[tuple[str, ...], str]:
    """Leading `--name=value` words, their quotes and escapes undone, and what is left."""
    flags = []
    rest = text.lstrip()
    while rest.startswith("--"):
        end = _word_end(rest, escape)
        word, rest = _plain(rest[:end], escape), rest[end:].lstrip()
        if word == "--":
            break
        flags.append(word)
    return tuple(flags), rest


def words_with_quotes(text: str, escape: str) -> Iterator[str]:
    """Words as a shell would part them, each with its quotes and escapes still in place."""
    rest = text.lstrip()
    while rest:
        end = _word_end(rest, escape)
        yield rest[:end]
        rest = rest[end:].lstrip()


def split_pairs(text: str, instruction: str, escape: str) -> tuple[Pair, ...]:
    """`a=b "c d"=e` or, the old form, `a all the rest`."""
    words = [_without_last_escape(word, escape) for word in words_with_quotes(text, escape)]
    words = [word for word in words if word]
    if not words:
        return ()
    if "=" not in words[0]:
        parts = _BLANKS.split(text, maxsplit=1)
        if len(parts) < 2:
            raise BadPair(f"{instruction} must have two arguments")
        return (Pair(parts[0], parts[1]),)
    return tuple(_pair(word) for word in words)


def unquote_heredoc(word: str, escape: str) -> str | None:
    """The delimiter without its quotes, or None if it is not exactly one word."""
    if _word_end(word, escape) != len(word):
        return None
    return _plain(word, escape)


def _pair(word: str) -> Pair:
    name, equals, value = word.partition("=")
    if not equals:
        raise BadPair(
            f"Syntax error - can't find = in {json.dumps(word, ensure_ascii=False)}. "
            "Must be of the form: name=value"
        )
    return Pair(name, value)


def _without_last_escape(word: str, escape: str) -> str:
    """An escape with nothing after it, at the very end of the line, is dropped."""
    trailing = len(word) - len(word.rstrip(escape))
    return word[:-1] if trailing % 2 else word


def _word_end(text: str, escape: str) -> int:
    """Where the word that begins `text` ends: at the first blank outside quotes and escapes."""
    quote = ""
    position = 0
    while position < len(text):
        char = text[position]
        if char == escape and quote != "'":
            position += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char.isspace():
            return position
        position += 1
    return len(text)


def _plain(word: str, escape: str) -> str:
    return _unquoted(word, escape)[0]


def has_open_quote(word: str, escape: str) -> bool:
    return bool(_unquoted(word, escape)[1])


def _unquoted(word: str, escape: str) -> tuple[str, str]:
    """The word without quotes and escapes, and the quote that is still open at its end."""
    out: list[str] = []
    quote = ""
    chars = iter(word)
    for char in chars:
        if char == escape and quote != "'":
            out.append(next(chars, ""))
        elif quote:
            if char == quote:
                quote = ""
            else:
                out.append(char)
        elif char in "\"'":
            quote = char
        else:
            out.append(char)
    return "".join(out), quote
