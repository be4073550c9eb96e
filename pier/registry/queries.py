"""Questions to a registry that change nothing here: what is there, who am I, what matches."""

from dataclasses import dataclass

import msgspec

from pier.errors import Failed, InvalidArgument
from pier.oci.digest import Descriptor
from pier.oci.image import parse_image_config
from pier.oci.manifest import Index, InvalidManifest, check_config_type, parse_manifest
from pier.oci.reference import Reference, parse_reference
from pier.registry.auth import Identity
from pier.registry.client import RegistryClient
from pier.registry.credentials import HUB, Auth, credentials_for, registry_host
from pier.registry.failures import BadAnswer
from pier.registry.hosts import Endpoint
from pier.registry.repository import Manifest, Repository
from pier.registry.transport import Request, read_bounded

_ANSWER_LIMIT = 4 * 1024 * 1024
_HUB_INDEX = "index.docker.io"
_MAX_RESULTS = 100
_ANY_ERROR = frozenset(range(400, 600))


class WrittenPlatform(msgspec.Struct, frozen=True, omit_defaults=True):
    """As the registry has it, not in normal form: `arm64/v8` stays that."""

    architecture: str
    os: str
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: list[str] = msgspec.field(default_factory=list, name="os.features")
    variant: str = ""


class _Entry(msgspec.Struct):
    platform: WrittenPlatform | None = None


class _Entries(msgspec.Struct):
    manifests: list[_Entry]


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a reference means at its registry."""

    descriptor: Descriptor
    platforms: tuple[WrittenPlatform, ...]

    @property
    def media_type(self) -> str:
        return self.descriptor.media_type

    @property
    def digest(self) -> str:
        return self.descriptor.digest

    @property
    def size(self) -> int:
        return self.descriptor.size


class SearchResult(msgspec.Struct):
    """One repository found; the fields are those of the registry's answer."""

    name: str
    description: str = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _SearchBody(msgspec.Struct):
    results: list[SearchResult] | None = None


@dataclass(frozen=True, slots=True)
class SearchFilters:
    """Which results are wanted."""

    official: bool | None = None
    automated: bool = False
    """Docker Hub no longer tells: nothing is."""
    stars: int = 0

    def accepts(self, result: SearchResult) -> bool:
        if self.automated or result.star_count < self.stars:
            return False
        return self.official is None or result.is_official == self.official


class SearchRefused(Failed):
    """Most registries offer no search: 404, in Docker's words."""

    def __init__(self, status: int) -> None:
        super().__init__(f"Unexpected status code {status}")


NO_FILTERS = SearchFilters()


class Queries:
    """One per daemon, over its client."""

    def __init__(self, client: RegistryClient) -> None:
        self._client = client

    async def distribution(self, reference: str, *, auth: Auth | None = None) -> Distribution:
        """The descriptor of `reference`, and the platforms it is there for."""
        found = await self.manifest(reference, auth=auth)
        parsed = parse_manifest(found.data, found.media_type)
        if isinstance(parsed, Index):
            offered = (entry.platform for entry in _entries(found.data))
            return Distribution(found.descriptor, tuple(one for one in offered if one))
        check_config_type(parsed)
        repository = self._repository(parse_reference(reference), auth)
        config = parse_image_config(await repository.small_blob(parsed.config))
        platform = WrittenPlatform(
            config.architecture, config.os, config.os_version, [], config.variant
        )
        return Distribution(found.descriptor, (platform,))

    async def manifest(self, reference: str, *, auth: Auth | None = None) -> Manifest:
        """The manifest or index itself, as `docker manifest inspect` shows it."""
        parsed = parse_reference(reference).tagged()
        return await self._repository(parsed, auth).manifest(parsed.digest or parsed.tag)

    async def login(self, auth: Auth) -> str:
        """Check credentials against `auth.server`; an identity token, or ""."""
        registry = registry_host(auth.server)
        return await self._client.login(registry, credentials_for(registry, auth))

    async def search(
        self,
        term: str,
        *,
        limit: int = 25,
        auth: Auth | None = None,
        filters: SearchFilters = NO_FILTERS,
    ) -> list[SearchResult]:
        """Ask Docker Hub, or the registry `term` begins with, by the old index protocol."""
        if not 1 <= limit <= _MAX_RESULTS:
            raise InvalidArgument(f"limit {limit} is outside the range of [1, {_MAX_RESULTS}]")
        registry, text = _split_term(term)
        endpoint = self._client.transport.hosts.origin(registry)
        if registry == HUB:
            endpoint = Endpoint(_HUB_INDEX, trust=endpoint.trust)
        credentials = credentials_for(registry, auth)
        request = Request(
            "GET", "/search", query=(("q", text), ("n", str(limit))), accepted=_ANY_ERROR
        )
        old = Endpoint(endpoint.host, endpoint.schemes, "/v1", trust=endpoint.trust)
        async with self._client.transport.open(Identity(old, credentials), request) as response:
            if response.status != 200:
                raise SearchRefused(response.status)
            data = await read_bounded(response, _ANSWER_LIMIT)
        try:
            found = (msgspec.json.decode(data, type=_SearchBody).results or [])[:limit]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadAnswer(registry, f"its search results cannot be read: {error}") from error
        wanted = [result for result in found if filters.accepts(result)]
        return [msgspec.structs.replace(result, is_automated=False) for result in wanted]

    def _repository(self, reference: Reference, auth: Auth | None) -> Repository:
        credentials = credentials_for(reference.domain, auth)
        return self._client.repository(reference.domain, reference.path, credentials)


def _split_term(term: str) -> tuple[str, str]:
    """`host/term` asks that host; everything else Docker Hub."""
    if term.startswith(("http://", "https://")):
        words = f"repository name ({term}) should not have a scheme"
        raise InvalidArgument(f"invalid repository name: {words}")
    first, slash, rest = term.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return registry_host(first), rest
    return HUB, term.removeprefix("library/")


def _entries(data: bytes) -> list[_Entry]:
    try:
        return msgspec.json.decode(data, type=_Entries).manifests
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidManifest(str(error)) from error
