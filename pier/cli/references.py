"""Names of images as the command line shows and splits them. Distribution, reference grammar."""

from __future__ import annotations

HUB = "docker.io"
INDEX = "https://index.docker.io/v1/"
_LEAST_DIGITS = 32


class Name:
    """A parsed reference: `domain/path`, and a tag or a digest if it has one."""

    __slots__ = ("digest", "domain", "path", "tag")

    def __init__(self, text: str) -> None:
        rest, _, self.digest = text.partition("@")
        head, colon, tail = rest.rpartition(":")
        has_tag = bool(colon) and "/" not in tail
        self.tag = tail if has_tag else ""
        rest = head if has_tag else rest
        first, slash, path = rest.partition("/")
        if slash and (set(".:") & set(first) or first == "localhost" or first != first.lower()):
            self.domain, self.path = first, path
        else:
            self.domain, self.path = HUB, rest
        if self.domain == "index.docker.io":
            self.domain = HUB
        if self.domain == HUB:
            self.path = self.path.removeprefix("library/")
        if not self.path:
            raise ValueError("invalid reference format")
        if self.path != self.path.lower():
            path = self.full.partition("/")[2]
            raise ValueError(
                f"invalid reference format: repository name ({path}) must be lowercase"
            )

    @property
    def short(self) -> str:
        """The name as people type it, without tag or digest."""
        return self.path if self.domain == HUB else f"{self.domain}/{self.path}"

    @property
    def full(self) -> str:
        """The name with everything filled in, without tag or digest."""
        path = self.path
        if self.domain == HUB and "/" not in path:
            path = f"library/{path}"
        return f"{self.domain}/{path}"

    @property
    def server(self) -> str:
        """The key of this registry in config.json."""
        return INDEX if self.domain == HUB else self.domain

    @property
    def ending(self) -> str:
        text = f":{self.tag}" if self.tag else ""
        return f"{text}@{self.digest}" if self.digest else text


def familiar(text: str) -> str:
    """Return `text` as it is shown, with `:latest` where neither tag nor digest is given."""
    try:
        name = Name(text)
    except ValueError:
        return text
    return name.short + (name.ending or ":latest")


def check_reference(text: str) -> None:
    """Raise ValueError for what no image can be called; an ID is a name too."""
    name = Name(text)
    algorithm, _, digits = name.digest.partition(":")
    hexadecimal = len(digits) >= _LEAST_DIGITS and not set(digits) - set("0123456789abcdefABCDEF")
    if text.endswith((":", "@")) or (name.digest and not (algorithm and hexadecimal)):
        raise ValueError("invalid reference format")
