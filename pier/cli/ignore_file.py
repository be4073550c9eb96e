"""`.dockerignore`: which files of a context stay at home. Pure.

Docker build reference, ".dockerignore file". Patterns are matched in order and the last one that
matches decides; a path is also matched by a pattern that matches one of its directories.
"""

from __future__ import annotations

import posixpath
import re

from pier.cli.faults import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Pattern:
    __slots__ = ("exception", "regex", "text")

    def __init__(self, text: str, *, exception: bool) -> None:
        self.text = text
        self.exception = exception
        self.regex = re.compile(_to_regex(text), re.DOTALL)


def parse_ignore_file(text: str) -> list[Pattern]:
    """Return the patterns of a .dockerignore."""
    lines = text.removeprefix("\ufeff").split("\n")
    cleaned = (_clean(line.strip()).strip() for line in lines if not line.startswith("#"))
    return [_pattern(line) for line in cleaned if line]


def _clean(line: str) -> str:
    """Return `line` with its name as Go's path.Clean has it, without a leading slash."""
    mark = "!" if line.startswith("!") else ""
    name = line.removeprefix(mark).strip()
    return mark + (posixpath.normpath(name).lstrip("/") or "." if name else "")


def _pattern(line: str) -> Pattern:
    """Docker reads each line twice, so a slash before the mark (`/!a`) changes nothing."""
    if line == "!":
        raise Fault('illegal exclusion pattern: "!"')
    exception = line.startswith("!")
    return Pattern(posixpath.normpath(line[1:] if exception else line), exception=exception)


def _to_regex(pattern: str) -> str:
    """`*` and `?` stay within a name, `**` is any number of directories.

    A pattern that begins with `**` and has no other wildcard means every name that ends so, at
    whatever character: Docker's own quirk.
    """
    if pattern.startswith("**") and not any(mark in pattern[2:] for mark in "*?[]\\"):
        plain = re.escape(pattern[2:].removeprefix("/"))
        return f"(?:.*/)?{plain}" if pattern.startswith("**/") else f".*{plain}"
    regex, position = "", 0
    while position < len(pattern):
        character = pattern[position]
        if pattern.startswith("**", position):
            position += 2 + pattern.startswith("/", position + 2)
            regex += "(?:.*/)?" if position < len(pattern) else ".*"
            continue
        if character == "[":
            end = pattern.find("]", position + 2)
            if end > 0:
                regex += _character_class(pattern[position + 1 : end])
                position = end + 1
                continue
        if character == "\\" and position + 1 < len(pattern):
            position += 1
            regex += re.escape(pattern[position])
        else:
            regex += {"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character))
        position += 1
    return regex


def _character_class(inside: str) -> str:
    negated = inside.startswith("^")
    body = inside[1:] if negated else inside
    escaped = body.replace("\\", "\\\\").replace("[", "\\[")
    return f"[{'^' if negated else ''}{escaped}]"


class Ignored:
    """Answers whether a path is left out."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self._patterns = list(patterns)

    def __call__(self, path: str) -> bool:
        parents = [path[:end] for end, character in enumerate(path) if character == "/"]
        ignored = False
        for pattern in self._patterns:
            if pattern.exception != ignored:
                continue
            if any(pattern.regex.fullmatch(name) for name in (path, *parents)):
                ignored = not pattern.exception
        return ignored

    def whole_directory(self, path: str) -> bool:
        """Whether nothing below an ignored directory can be wanted after all."""
        prefix = path + "/"
        return not any(
            pattern.exception
            and (pattern.text.startswith(prefix) or any(mark in pattern.text for mark in "*?["))
            for pattern in self._patterns
        )
