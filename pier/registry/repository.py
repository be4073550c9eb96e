"""One repository of one registry, for reading. Everything returned has been verified."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import aiohttp
import msgspec

from pier.errors import InvalidArgument, PierError
from pier.oci.digest import Descriptor, Digest, InvalidDigest, digest_of, parse_digest
from pier.registry import protocol
from pier.registry.auth import Identity
from pier.registry.credentials import ANONYMOUS, HUB, Credentials
from pier.registry.failures import (
    BadAnswer,
    BlobUnknown,
    ManifestUnknown,
    RegistryDenied,
    RegistryError,
    RegistryUnauthorized,
    WrongContent,
)
from pier.registry.fetching import Memory, Sink, fetch
from pier.registry.hosts import PULL, PUSH, RESOLVE, Endpoint
from pier.registry.transport import Request, Transport, Waiting, read_bounded

_PAGE_LIMIT = 4 * 1024 * 1024
_MAX_PAGES = 1000
_MAX_TAGS = 200_000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index, as its registry has it."""

    media_type: str
    digest: Digest
    data: bytes = field(repr=False)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.data))


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest whose `subject` is the one asked about."""

    descriptor: Descriptor
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


class Repository:
    """As one identity sees it. Mirrors are asked in order, the origin last."""

    def __init__(
        self, transport: Transport, registry: str, path: str, credentials: Credentials = ANONYMOUS
    ) -> None:
        self.transport = transport
        self.registry = registry
        self.path = path
        self.credentials = credentials
        self.only_origin = False
        self.waiting: Waiting | None = None
        """Told of pauses before another attempt, unless a call names somebody else."""
        self.warned: Callable[[str], None] | None = None
        """Told what the registry wants people to read."""
        self.scopes = (protocol.pull_scope(path),)

    @property
    def familiar(self) -> str:
        """The name in messages: `busybox`, `host:5000/app`."""
        if self.registry == HUB:
            return self.path.removeprefix("library/")
        return f"{self.registry}/{self.path}"

    @property
    def has_mirrors(self) -> bool:
        return len(self._endpoints(PULL)) > 1

    def at_origin(self) -> "Repository":
        """The same, without its mirrors: for when one of them has lied."""
        made = Repository(self.transport, self.registry, self.path, self.credentials)
        made.only_origin = True
        made.waiting, made.warned = self.waiting, self.warned
        return made

    def _endpoints(self, capability: str) -> list[Endpoint]:
        found = self.transport.hosts.endpoints(self.registry, capability)
        return found[-1:] if self.only_origin else found

    def identity(self, endpoint: Endpoint) -> Identity:
        """Credentials are the registry's own; a mirror is asked as nobody."""
        return Identity(endpoint, ANONYMOUS if endpoint.mirror else self.credentials)

    def origin(self) -> Identity:
        """The one to push to, and to ask what only it knows."""
        return self.identity(self.transport.hosts.endpoints(self.registry, PUSH)[-1])

    async def resolve(self, reference: str) -> Descriptor:
        """What a tag or digest points at now; a HEAD where the registry understands it."""
        request = self._manifest_request("HEAD", reference)

        async def ask(identity: Identity) -> Descriptor | None:
            async with self.transport.open(identity, request) as response:
                return _described(response, reference)

        found = await self._first(RESOLVE, reference, ask)
        return found or (await self.manifest(reference)).descriptor

    async def manifest(self, reference: str, *, size: int | None = None) -> Manifest:
        """Fetch a manifest or index by tag or digest; exactly `size` bytes when that is known."""
        limit = min(protocol.MANIFEST_LIMIT if size is None else size, protocol.MANIFEST_LIMIT)
        request = self._manifest_request("GET", reference)

        async def ask(identity: Identity) -> Manifest:
            async with self.transport.open(identity, request) as response:
                data = await read_bounded(response, limit)
                if self.warned is not None:
                    for text in protocol.parse_warnings(response.headers.getall("Warning", [])):
                        self.warned(text)
                return _checked(identity.endpoint.host, reference, response, data)

        by_digest = reference.startswith("sha256:")
        return await self._first(PULL if by_digest else RESOLVE, reference, ask)

    async def fetch(self, blob: Descriptor, sink: Sink, waiting: Waiting | None = None) -> None:
        """Write to `sink` what it lacks of `blob`, going on by Range when a connection breaks.

        The caller checks the digest of what the sink then holds; the size is checked here:
        WrongContent as soon as there is more than the descriptor says.
        """
        request = Request(
            "GET",
            f"/{self.path}/blobs/{blob.digest}",
            self.scopes,
            waiting=waiting or self.waiting,
        )

        async def ask(identity: Identity) -> None:
            try:
                await fetch(self.transport, identity, request, blob, sink)
            except RegistryError as error:
                if error.status == 404:
                    raise BlobUnknown(blob.digest, identity.endpoint.host) from error
                raise

        await self._first(PULL, blob.digest, ask)

    async def blob_size(self, digest: Digest) -> int:
        """Bytes of a blob as the first endpoint that has it says."""
        request = Request("HEAD", f"/{self.path}/blobs/{digest}", self.scopes)

        async def ask(identity: Identity) -> int:
            host = identity.endpoint.host
            try:
                async with self.transport.open(identity, request) as response:
                    return int(response.headers.get("Content-Length", ""))
            except ValueError as error:
                raise BadAnswer(host, f"does not say how large blob {digest} is") from error
            except RegistryError as error:
                if error.status == 404:
                    raise BlobUnknown(digest, host) from error
                raise

        return await self._first(PULL, digest, ask)

    async def small_blob(self, blob: Descriptor, limit: int = protocol.MANIFEST_LIMIT) -> bytes:
        """A whole blob in memory, verified: image configs."""
        if blob.size > limit:
            raise BadAnswer(
                self.registry, f"blob {blob.digest} has {blob.size} bytes, {limit} are allowed"
            )
        memory = Memory()
        await self.fetch(blob, memory)
        data = bytes(memory.data)
        if digest_of(data) != blob.digest:
            raise WrongContent(self.registry, f"blob {blob.digest} has digest {digest_of(data)}")
        return data

    async def tags(self) -> list[str]:
        """All tags, in the registry's order."""
        return await self._first(RESOLVE, self.path, self._tags_from)

    async def _tags_from(self, identity: Identity) -> list[str]:
        found: list[str] = []
        query: tuple[tuple[str, str], ...] = ()
        for _ in range(_MAX_PAGES):
            request = Request("GET", f"/{self.path}/tags/list", self.scopes, query)
            async with self.transport.open(identity, request) as response:
                data = await read_bounded(response, _PAGE_LIMIT)
                link = protocol.parse_next_link(response.headers.get("Link", ""))
            found += _parse_tags(identity.endpoint.host, data)
            if link is None or len(found) > _MAX_TAGS:
                return found[:_MAX_TAGS]
            # Only the query is taken over: a link cannot lead to another host.
            query = tuple(parse_qsl(link.partition("?")[2]))
        raise BadAnswer(identity.endpoint.host, "its list of tags has no end")

    async def referrers(self, digest: Digest, artifact_type: str = "") -> list[Referrer]:
        """Manifests that refer to `digest`; by the tag scheme where there is no such API."""
        request = Request(
            "GET",
            f"/{self.path}/referrers/{digest}",
            self.scopes,
            (("artifactType", artifact_type),) if artifact_type else (),
            {"Accept": protocol.INDEX_OCI},
            accepted=frozenset({404}),
        )
        data = b""
        async with self.transport.open(self.origin(), request) as response:
            if response.status == 200:
                data = await read_bounded(response, protocol.MANIFEST_LIMIT)
        if not data:
            try:
                data = (await self.manifest(protocol.referrers_tag(digest))).data
            except ManifestUnknown:
                return []
        found = _parse_referrers(self.registry, data)
        return [one for one in found if not artifact_type or one.artifact_type == artifact_type]

    def _manifest_request(self, method: str, reference: str) -> Request:
        path = f"/{self.path}/manifests/{quote(reference, safe=':')}"
        accepted = frozenset({405}) if method == "HEAD" else frozenset[int]()
        headers = {"Accept": protocol.ACCEPT}
        return Request(
            method, path, self.scopes, headers=headers, accepted=accepted, waiting=self.waiting
        )

    async def _first(
        self, capability: str, what: str, ask: Callable[[Identity], Awaitable[T]]
    ) -> T:
        """The first endpoint's answer that is one. What the origin says is final."""
        endpoints = self._endpoints(capability)
        for endpoint in endpoints[:-1]:
            try:
                return await ask(self.identity(endpoint))
            except InvalidArgument:
                raise
            except PierError:
                continue
        try:
            return await ask(self.identity(endpoints[-1]))
        except RegistryUnauthorized as error:
            if self.credentials.anonymous:
                raise RegistryDenied(self.familiar, str(error)) from error
            raise
        except RegistryError as error:
            raise self._translated(error, what) from error

    def _translated(self, error: RegistryError, what: str) -> PierError:
        if error.status == 403 or "DENIED" in error.codes:
            return RegistryDenied(self.familiar, str(error))
        if error.status == 404 and "NAME_UNKNOWN" in error.codes:
            return RegistryDenied(self.familiar, str(error))
        if error.status == 404:
            joint = "@" if what.startswith("sha256:") else ":"
            said = "manifest unknown: manifest unknown" if not error.codes else str(error)
            return ManifestUnknown(f"{self.familiar}{joint}{what}", said)
        return error


def _described(response: aiohttp.ClientResponse, reference: str) -> Descriptor | None:
    """The descriptor a HEAD's headers give; None when they do not."""
    try:
        digest = parse_digest(response.headers.get("Docker-Content-Digest", ""))
        size = int(response.headers.get("Content-Length", ""))
    except (InvalidDigest, ValueError):
        return None
    if response.status != 200 or (reference.startswith("sha256:") and digest != reference):
        return None
    return Descriptor(protocol.media_type(response.headers.get("Content-Type", "")), digest, size)


def _checked(host: str, reference: str, response: aiohttp.ClientResponse, data: bytes) -> Manifest:
    """The manifest, if its bytes are what the request and the headers promised."""
    actual = digest_of(data)
    said = response.headers.get("Docker-Content-Digest", "")
    expected = reference if reference.startswith("sha256:") else said
    if expected.startswith("sha256:") and actual != expected:
        raise WrongContent(
            host, f"manifest verification failed for digest {expected}: it is {actual}"
        )
    media_type = protocol.media_type(response.headers.get("Content-Type", ""))
    return Manifest(_media_type(data, media_type), actual, data)


class _Typed(msgspec.Struct):
    mediaType: str = ""  # noqa: N815 -- the specification's name
    schemaVersion: int = 0  # noqa: N815
    manifests: msgspec.Raw = msgspec.Raw()
    layers: msgspec.Raw = msgspec.Raw()


def _media_type(data: bytes, header: str) -> str:
    """What a manifest is. Its own word wins over the header's; OCI lets it say nothing."""
    try:
        wire = msgspec.json.decode(data, type=_Typed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return header
    if wire.mediaType:
        return wire.mediaType
    known = (*protocol.MANIFESTS, *protocol.INDEXES, *protocol.SCHEMA1)
    if header in known:
        return header
    if wire.schemaVersion == 1:
        return protocol.SCHEMA1[0]
    return protocol.INDEX_OCI if bytes(wire.manifests) else protocol.MANIFEST_OCI


class _TagsBody(msgspec.Struct):
    tags: list[str] | None = None


def _parse_tags(host: str, data: bytes) -> list[str]:
    try:
        tags = msgspec.json.decode(data, type=_TagsBody).tags or []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer(host, f"its list of tags cannot be read: {error}") from error
    return [tag for tag in tags if protocol.valid_tag(tag)]


class _ReferrerEntry(msgspec.Struct, rename="camel"):
    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    annotations: dict[str, str] | None = None


class _ReferrersBody(msgspec.Struct):
    manifests: list[_ReferrerEntry] | None = None


def _parse_referrers(host: str, data: bytes) -> list[Referrer]:
    try:
        entries = msgspec.json.decode(data, type=_ReferrersBody).manifests or []
        return [
            Referrer(
                Descriptor(entry.media_type, parse_digest(entry.digest), entry.size),
                entry.artifact_type,
                entry.annotations or {},
            )
            for entry in entries
        ]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidDigest) as error:
        raise BadAnswer(host, f"its list of referrers cannot be read: {error}") from error


def absolute(response: aiohttp.ClientResponse, location: str) -> str:
    """A Location header as a full URL."""
    return protocol.join_url(str(response.url), location)


def with_query(url: str, **query: str) -> str:
    """`url` with more parameters; what it has, signatures among it, stays untouched."""
    return url + ("&" if urlsplit(url).query else "?") + urlencode(query)
