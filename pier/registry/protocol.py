"""The distribution protocol as values: headers, names, error bodies, ranges. No I/O.

OCI distribution specification 1.1; RFC 9110 (ranges, challenges, Retry-After), RFC 8288 (Link).
Both ends use it: what the client parses, the server formats. Everything here reads bytes of
strangers, so every parser is bounded, never backtracks without limit and raises only
InvalidArgument or returns None.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urljoin, urlsplit

import msgspec

MANIFEST_LIMIT = 4 * 1024 * 1024
"""Bytes of the largest manifest accepted: what the specification asks everyone to accept."""

INDEX_DOCKER = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEX_OCI = "application/vnd.oci.image.index.v1+json"
MANIFEST_DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
MANIFEST_OCI = "application/vnd.oci.image.manifest.v1+json"
SCHEMA1 = (
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
)
MANIFESTS = (MANIFEST_DOCKER, MANIFEST_OCI)
INDEXES = (INDEX_DOCKER, INDEX_OCI)
ACCEPT = f"{MANIFEST_DOCKER}, {INDEX_DOCKER}, {MANIFEST_OCI}, {INDEX_OCI}, */*"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_MAX_NAME = 255
_MAX_HEADER = 8192
_MAX_WARNINGS = 8


def valid_name(text: str) -> bool:
    """Whether `text` can be a repository's name."""
    return len(text) <= _MAX_NAME and _NAME.fullmatch(text) is not None


def valid_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None


def parse_http_url(text: str) -> SplitResult | None:
    """The parts of an absolute http(s) URL without user; None for anything else."""
    try:
        parts = urlsplit(text)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        return None
    wanted = parts.scheme in ("http", "https") and parts.hostname and parts.username is None
    return parts if wanted and port_is_valid else None


def join_url(base: str, reference: str) -> str:
    """`reference` as seen from `base`; "" when it cannot be read."""
    try:
        return urljoin(base, reference)
    except ValueError:
        return ""


def media_type(header: str) -> str:
    """A Content-Type without its parameters, in lower case."""
    return header.partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way a server offers to be convinced: `Bearer realm="…",service="…"`."""

    scheme: str
    """In lower case."""
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def scopes(self) -> tuple[str, ...]:
        return tuple(self.parameters.get("scope", "").split())


_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105
_CHALLENGE_PART = re.compile(
    rf'[\s,]*(?:({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))|({_TOKEN})(?=\s|,|$))'
)


def parse_challenges(headers: Sequence[str]) -> list[Challenge]:
    """Read WWW-Authenticate headers; what cannot be read is left out."""
    found: list[Challenge] = []
    for header in headers:
        found += _parse_challenge_header(header[:_MAX_HEADER])
    return found


def _parse_challenge_header(header: str) -> list[Challenge]:
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while match := _CHALLENGE_PART.match(header, position):
        position = match.end()
        name, quoted, bare, scheme = match.groups()
        if scheme:
            found.append((scheme.lower(), {}))
        elif found:
            value = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found[-1][1][name.lower()] = value
    return [Challenge(scheme, parameters) for scheme, parameters in found]


def format_challenge(challenge: Challenge) -> str:
    parameters = ",".join(f'{name}="{value}"' for name, value in challenge.parameters.items())
    return f"{challenge.scheme.capitalize()} {parameters}".rstrip()


_LINK = re.compile(r'<([^<>]*)>\s*((?:;\s*[A-Za-z]+\s*=\s*(?:"[^"]*"|[^\s;,"]+)\s*)*)')
_REL = re.compile(r';\s*rel\s*=\s*"?([^";]*)"?', re.IGNORECASE)


def parse_next_link(header: str) -> str | None:
    """The target of the link to the next page (`rel="next"`), as written; None without one."""
    for target, parameters in _LINK.findall(header[:_MAX_HEADER]):
        relation = _REL.search(parameters)
        if relation and "next" in relation[1].lower().split():
            return str(target)
    return None


def format_next_link(target: str) -> str:
    return f'<{target}>; rel="next"'


class ErrorEntry(msgspec.Struct, frozen=True):
    """One entry of an error body."""

    code: str = "UNKNOWN"
    message: str = ""
    detail: object = None

    def text(self) -> str:
        """As Docker prints it: `denied: requested access to the resource is denied`."""
        code = self.code.lower().replace("_", " ")
        return f"{code}: {self.message}" if self.message else code


class _ErrorBody(msgspec.Struct):
    errors: list[ErrorEntry] | None = None
    details: str = ""
    message: str = ""


def parse_errors(body: bytes) -> tuple[ErrorEntry, ...]:
    """Read an error body; empty for anything that is none."""
    try:
        decoded = msgspec.json.decode(body, type=_ErrorBody)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ()
    if decoded.errors:
        return tuple(decoded.errors[:16])
    text = decoded.details or decoded.message
    return (ErrorEntry("UNKNOWN", text),) if text else ()


def format_errors(*entries: ErrorEntry) -> bytes:
    return msgspec.json.encode({"errors": entries})


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `first` to `last`, both included, of `total` (None: not said)."""

    first: int
    last: int
    total: int | None = None

    @property
    def size(self) -> int:
        return self.last - self.first + 1


_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?\s*(\d{1,19})-(\d{1,19})(?:/(\d{1,19}|\*))?")


def parse_content_range(header: str) -> Span | None:
    """Read `bytes 0-99/1000`, or `0-99` as the distribution protocol writes it."""
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if not match or int(match[2]) < int(match[1]):
        return None
    total = int(match[3]) if match[3] and match[3] != "*" else None
    return Span(int(match[1]), int(match[2]), total)


def parse_upload_offset(header: str) -> int:
    """How many bytes an upload holds, from its Range header: `0-99` is 100; `0-0`, as sent for
    an empty upload by some registries and for one byte by others, is taken as 0.
    """
    span = parse_content_range(header)
    return 0 if span is None or span.last == 0 else span.last + 1


def format_upload_range(offset: int) -> str:
    """The Range header of an upload that holds `offset` bytes."""
    return f"0-{max(offset - 1, 0)}"


def parse_byte_range(header: str, size: int) -> Span | None:
    """Read a request's Range against content of `size` bytes; None: serve it all.

    Raises ValueError when the range lies outside (416). Several ranges count as none.
    """
    match = re.fullmatch(r"bytes=(\d{0,19})-(\d{0,19})", header.strip())
    if not match or not (match[1] or match[2]):
        return None
    if not match[1]:
        first, last = max(size - int(match[2]), 0), size - 1
    else:
        first, last = int(match[1]), min(int(match[2]), size - 1) if match[2] else size - 1
    if first >= size or last < first:
        raise ValueError(header)
    return Span(first, last, size)


_WARNING = re.compile(r'299\s+\S+\s+"((?:[^"\\]|\\.)*)"')


def parse_warnings(headers: Sequence[str]) -> list[str]:
    """What a registry wants people to read: the texts of `Warning: 299 - "…"`."""
    found = [text for header in headers for text in _WARNING.findall(header[:_MAX_HEADER])]
    texts = [re.sub(r"\\(.)", r"\1", text) for text in found[:_MAX_WARNINGS]]
    return [text for text in texts if text.isprintable()]


def parse_retry_after(header: str, now_s: float) -> float | None:
    """Seconds to wait, from a number or an HTTP date; `now_s` is seconds since the epoch."""
    text = header.strip()
    if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text):
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - now_s, 0.0)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def referrers_tag(digest: str) -> str:
    """The tag that stands in for the referrers API where a registry has none."""
    return digest.replace(":", "-", 1)


def pull_scope(name: str) -> str:
    return f"repository:{name}:pull"


def push_scope(name: str) -> str:
    return f"repository:{name}:pull,push"


CATALOG_SCOPE = "registry:catalog:*"


def merge_scopes(wanted: Sequence[str], offered: Sequence[str]) -> tuple[str, ...]:
    """What to ask a token for: the scopes we need and those the challenge names, each once."""
    kept = [scope for scope in offered if scope not in wanted and not _covered(scope, wanted)]
    return (*wanted, *kept)


def _covered(scope: str, wanted: Sequence[str]) -> bool:
    resource, _, actions = scope.rpartition(":")
    for other in wanted:
        other_resource, _, other_actions = other.rpartition(":")
        if resource == other_resource and set(actions.split(",")) <= set(other_actions.split(",")):
            return True
    return False
