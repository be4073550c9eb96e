"""Dockerfile text to logical lines: directives, comments, continuations, heredocs.

Knows how a line is put together and nothing of what it means; `pier.build.syntax` gives it a
meaning. Follows the Dockerfile reference ("Format", "Parser directives", "Here-Documents").
Line numbers count from 1, as people and editors do.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pier.build.words import has_open_quote, split_flags, unquote_heredoc, words_with_quotes
from pier.errors import InvalidArgument

MAX_DOCKERFILE_BYTES = 8 * 1024 * 1024
MAX_LINE_BYTES = 64 * 1024 - 1

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_DIRECTIVES = frozenset({"escape", "syntax", "check"})
_HEREDOC = re.compile(r"(\d*)<<(-?)\s*([^<]*)")
_WITH_HEREDOCS = frozenset({"ADD", "COPY", "RUN"})


class DockerfileError(InvalidArgument):
    """Something is wrong with the Dockerfile; `line` says where, 0 when nowhere in particular."""

    def __init__(self, line: int, reason: str) -> None:
        where = f"dockerfile parse error on line {line}: " if line else "dockerfile parse error: "
        super().__init__(where + reason)
        self.line = line
        self.reason = reason


class Unparsable(DockerfileError):
    """What is no Dockerfile at all, by the words Docker has for it. `line` is known, or 0."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.args = (f"failed to parse Dockerfile: {reason}",)


class StepRefused(DockerfileError):
    """The Dockerfile is well written, and what its step asks for cannot be done."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.args = (reason,)


class EmptyDockerfile(DockerfileError):
    def __init__(self) -> None:
        super().__init__(0, "file with no instructions")
        self.args = ("the Dockerfile (Dockerfile) cannot be empty",)


@dataclass(frozen=True, slots=True)
class Heredoc:
    """`fd<<-name`. `content` is as written; `chomp` asks for leading tabs to be dropped."""

    name: str
    content: str
    expand: bool = True
    chomp: bool = False
    fd: int = 0

    @property
    def text(self) -> str:
        return re.sub(r"(?m)^\t+", "", self.content) if self.chomp else self.content


@dataclass(frozen=True, slots=True)
class Node:
    """One logical line: KEYWORD --flag... rest, and the heredocs that follow it.

    `original` is the line with its continuations joined, without heredoc bodies.
    """

    keyword: str
    flags: tuple[str, ...]
    rest: str
    original: str
    start_line: int
    end_line: int
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True)
class Caution:
    """A lint-like remark that does not stop the build."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """`lines` are the physical ones, for whoever shows where something is."""

    nodes: tuple[Node, ...]
    escape: str = "\\"
    directives: Mapping[str, str] = field(default_factory=dict)
    cautions: tuple[Caution, ...] = ()
    lines: tuple[str, ...] = ()


def parse_dockerfile(data: bytes) -> Dockerfile:
    """Split a Dockerfile into its instructions; raise DockerfileError with the line at fault.

    Bytes that are not UTF-8 become U+FFFD, as they would in the image's config.
    """
    if len(data) > MAX_DOCKERFILE_BYTES:
        raise DockerfileError(0, f"the file is larger than {MAX_DOCKERFILE_BYTES} bytes")
    if not data:
        raise EmptyDockerfile
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return _Reader([_decoded(line, number) for number, line in enumerate(lines, 1)]).read()


def parse_node(line: str, escape: str, *, start_line: int, end_line: int = 0) -> Node:
    """One logical line to a Node without heredocs (ONBUILD's inner instruction is read so too)."""
    keyword, _, tail = _split_keyword(line.strip())
    flags, rest = split_flags(tail, escape)
    return Node(keyword.upper(), flags, rest, line, start_line, end_line or start_line)


def _decoded(line: bytes, number: int) -> str:
    if len(line) > MAX_LINE_BYTES:
        raise DockerfileError(
            number, f"dockerfile line greater than max allowed size of {MAX_LINE_BYTES}"
        )
    return line.removesuffix(b"\r").decode("utf-8", "replace")


def _split_keyword(line: str) -> tuple[str, str, str]:
    found = re.search(r"[\t\v\f\r ]+", line)
    if found is None:
        return line, "", ""
    return line[: found.start()], found.group(), line[found.end() :].strip()


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


class _Reader:
    """Walks the physical lines once, front to back."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._next = 0
        self._escape = "\\"
        self._directives: dict[str, str] = {}
        self._cautions: list[Caution] = []

    def read(self) -> Dockerfile:
        self._read_directives()
        nodes = []
        while self._next < len(self._lines):
            node = self._read_node()
            if node is not None:
                nodes.append(node)
        if not nodes:
            raise Unparsable(0, "file with no instructions")
        return Dockerfile(
            tuple(nodes),
            self._escape,
            self._directives,
            tuple(self._cautions),
            tuple(self._lines),
        )

    def _read_directives(self) -> None:
        for number, line in enumerate(self._lines, 1):
            if number == 1 and line.startswith("#!"):
                continue
            found = _DIRECTIVE.fullmatch(line.lstrip())
            if found is None or found[1].lower() not in _DIRECTIVES:
                return
            self._set_directive(number, found[1].lower(), found[2])

    def _set_directive(self, number: int, name: str, value: str) -> None:
        if name in self._directives:
            raise DockerfileError(number, f"only one {name} parser directive can be used")
        if name == "escape" and value not in ("\\", "`"):
            raise DockerfileError(number, f"invalid escape token '{value}' does not match ` or \\")
        self._directives[name] = value
        self._escape = self._directives.get("escape", "\\")

    def _read_node(self) -> Node | None:
        start = self._next + 1
        first = self._take().lstrip()
        if first.startswith("#"):
            return None
        line, ended = self._without_continuation(first)
        if ended and not line:
            return None
        while not ended and self._next < len(self._lines):
            piece, ended = self._continuation()
            line += piece
        if not line.strip():
            return None
        node = parse_node(line, self._escape, start_line=start, end_line=self._next)
        heredocs = tuple(self._read_heredoc(opening) for opening in _openings(node, self._escape))
        return Node(node.keyword, node.flags, node.rest, node.original, start, self._next, heredocs)

    def _continuation(self) -> tuple[str, bool]:
        """The next piece of an unfinished line; comments and blank lines add nothing to it."""
        piece = self._take()
        if _is_comment(piece):
            return "", False
        if not piece.strip():
            self._cautions.append(Caution(self._next, "Empty continuation line"))
            return "", False
        return self._without_continuation(piece)

    def _without_continuation(self, line: str) -> tuple[str, bool]:
        """Cut a trailing escape; an escape that is itself escaped does not continue the line."""
        bare = line.rstrip(" \t")
        if not bare.endswith(self._escape) or bare.endswith(self._escape * 2):
            return line, True
        return bare[:-1], False

    def _read_heredoc(self, opening: Heredoc) -> Heredoc:
        body: list[str] = []
        opened_at = self._next
        while self._next < len(self._lines):
            line = self._take()
            if (line.lstrip("\t") if opening.chomp else line) == opening.name:
                content = "".join(f"{text}\n" for text in body)
                return Heredoc(opening.name, content, opening.expand, opening.chomp, opening.fd)
            body.append(line)
        raise DockerfileError(opened_at, f"unterminated heredoc: {opening.name} is never closed")

    def _take(self) -> str:
        self._next += 1
        return self._lines[self._next - 1]


def _openings(node: Node, escape: str) -> list[Heredoc]:
    keyword = node.keyword
    if keyword == "ONBUILD":
        keyword = _split_keyword(node.rest)[0].upper()
    if keyword not in _WITH_HEREDOCS or "<<" not in node.rest:
        return []
    words = list(words_with_quotes(node.rest, escape))
    if has_open_quote(words[-1], escape):
        return []
    found = (parse_heredoc_word(word, escape) for word in words)
    return [opening for opening in found if opening is not None]


def parse_heredoc_word(word: str, escape: str = "\\") -> Heredoc | None:
    """`<<EOF`, `3<<-"EOF"`: the opening of a heredoc, still without content; None otherwise."""
    found = _HEREDOC.fullmatch(word)
    if found is None or not found[3]:
        return None
    name = unquote_heredoc(found[3], escape)
    if not name:
        return None
    return Heredoc(name, "", name == found[3], found[2] == "-", int(found[1][:9] or 0))
