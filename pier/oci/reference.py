"""How images are named: `[domain/]path[:tag][@digest]`.

The grammar is the distribution project's; the defaults are Docker's: no domain means docker.io,
and a path of one component there lives in `library/`. `Reference` is always in the full form;
`familiar()` gives what people write. No tag is *not* the tag latest: see `tagged()`.
"""

import re
from dataclasses import dataclass, replace
from typing import Self

from pier.errors import InvalidArgument
from pier.oci.digest import Digest, InvalidDigest, parse_digest

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
_MAX_NAME = 255
_MAX_TEXT = 4096

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(
    rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?",
)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")


class InvalidReference(InvalidArgument):
    def __init__(self, why: str = "") -> None:
        super().__init__("invalid reference format" + (f": {why}" if why else ""))


class NameTooLong(InvalidArgument):
    def __init__(self) -> None:
        super().__init__(f"repository name must not be more than {_MAX_NAME} characters")


class NameIsIdentifier(InvalidArgument):
    def __init__(self, text: str) -> None:
        super().__init__(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed name; tag and digest may be empty. `str()` is the full form, as stored."""

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """Domain and path: `docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """What people write: `busybox`, `me/app`, `host:5000/app`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_OFFICIAL)
        return self.path if "/" in short else short

    def familiar(self) -> str:
        return self.familiar_name + self._suffix()

    def tagged(self) -> Self:
        """Itself, with the tag latest if it has neither tag nor digest."""
        if self.tag or self.digest:
            return self
        return replace(self, tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> Self:
        """The same name under `tag` alone."""
        return replace(self, tag=parse_tag(tag), digest=None)

    def with_digest(self, digest: Digest) -> Self:
        """The same name at `digest` alone: how a pulled image's repository digest reads."""
        return replace(self, tag="", digest=digest)

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return tag + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:  # type: ignore[explicit-override]  # typing.override: 3.12
        return self.name + self._suffix()


def parse_tag(text: str) -> str:
    """Return `text` if it can be a tag, or raise InvalidReference."""
    if not _TAG.fullmatch(text):
        raise InvalidReference
    return text


def parse_reference(text: str) -> Reference:
    """Read what a person or a client wrote, or raise a subclass of InvalidArgument."""
    if _IDENTIFIER.fullmatch(text):
        raise NameIsIdentifier(text)
    if not text or len(text) > _MAX_TEXT:
        raise InvalidReference
    rest, digest = _split_digest(text)
    domain, remainder = _split_domain(rest)
    path, colon, tag = remainder.partition(":")
    if path.lower() != path:
        raise InvalidReference(f"repository name ({path}) must be lowercase")
    if colon:
        parse_tag(tag)
    if not _DOMAIN.fullmatch(domain) or not _PATH.fullmatch(path):
        raise InvalidReference
    if len(path) > _MAX_NAME:
        raise NameTooLong
    return Reference(domain, path, tag, digest)


def find_reference(text: str) -> Reference | None:
    """What `parse_reference` reads; None for what it refuses."""
    try:
        return parse_reference(text)
    except InvalidArgument:
        return None


def _split_digest(text: str) -> tuple[str, Digest | None]:
    rest, at, digest = text.partition("@")
    if not at:
        return rest, None
    try:
        return rest, parse_digest(digest)
    except InvalidDigest as error:
        raise InvalidReference from error


def _split_domain(text: str) -> tuple[str, str]:
    """Apply Docker Hub's defaults. Only something host-like before the first slash is a domain."""
    first, slash, rest = text.partition("/")
    hostlike = "." in first or ":" in first or first == "localhost" or first.lower() != first
    if not slash or not hostlike:
        first, rest = DEFAULT_DOMAIN, text
    if first == _LEGACY_DOMAIN:
        first = DEFAULT_DOMAIN
    if first == DEFAULT_DOMAIN and "/" not in rest.partition(":")[0]:
        rest = _OFFICIAL + rest
    return first, rest
