"""Image manifests and indexes, OCI's and Docker's (schema 2).

OCI image spec, manifest.md and image-index.md. The bytes are what the digest is of: `raw` keeps
them. Schema 1 is refused, as Docker does since 28.2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from pier.errors import InvalidArgument
from pier.oci.digest import Descriptor, InvalidDigest, parse_digest
from pier.oci.image import MAX_LAYERS, TooManyLayers
from pier.oci.platform import Platform, to_platform

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
DOCKER_PLUGIN = "application/vnd.docker.plugin.v1+json"
SCHEMA1 = (
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
)

MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_INDEX)
ACCEPTED = (*MANIFESTS, *INDEXES)
"""What to ask a registry for."""
CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)

_ATTESTATION = "attestation-manifest"
_REFERENCE_TYPE = "vnd.docker.reference.type"
_FOREIGN = ("foreign", "nondistributable")
_MAX_ENTRIES = 10_000
_MAX_BLOB = 2**53


class InvalidManifest(InvalidArgument):
    def __init__(self, why: str) -> None:
        super().__init__(f"invalid manifest: {why}")


class Schema1Refused(InvalidArgument):
    def __init__(self) -> None:
        super().__init__(
            "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has "
            "been removed; have the image's author push it again with a current tool"
        )


class NotAnImage(InvalidArgument):
    def __init__(self, media_type: str) -> None:
        super().__init__(f'Encountered remote "{media_type}"(unknown) when fetching')


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One image: its config and its layers, bottom first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    layer_urls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Where foreign layers are, by digest."""
    raw: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One of the images of an index; platform None where the index does not say."""

    descriptor: Descriptor
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_attestation(self) -> bool:
        """Says something about another entry, and can never run."""
        return self.annotations.get(_REFERENCE_TYPE) == _ATTESTATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    media_type: str
    entries: tuple[IndexEntry, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    raw: bytes = field(default=b"", repr=False, compare=False)


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = msgspec.field(name="os.version", default="")


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str
    size: int
    media_type: str = ""
    platform: _Platform | None = None
    annotations: dict[str, str] | None = None
    urls: list[str] | None = None


class _Wire(msgspec.Struct, rename="camel"):
    schema_version: int = 0
    media_type: str = ""
    artifact_type: str = ""
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None
    annotations: dict[str, str] | None = None


def parse_manifest(data: bytes, media_type: str = "") -> Manifest | Index:
    """Read a manifest or an index. media_type is what its sender said, if anything.

    The document's own mediaType must agree with it. Raises InvalidManifest, Schema1Refused,
    NotAnImage, TooManyLayers.
    """
    if media_type in SCHEMA1:
        raise Schema1Refused
    try:
        wire = msgspec.json.decode(data, type=_Wire)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidManifest(str(error)) from error
    if wire.schema_version == 1 or wire.media_type in SCHEMA1:
        raise Schema1Refused
    stated = wire.media_type or (media_type if media_type in ACCEPTED else "")
    if media_type in ACCEPTED and stated != media_type:
        raise InvalidManifest(f"sent as {media_type}, but says it is {stated}")
    try:
        return _from_wire(wire, stated, data)
    except InvalidDigest as error:
        raise InvalidManifest(str(error)) from error


def _from_wire(wire: _Wire, media_type: str, data: bytes) -> Manifest | Index:
    both = wire.manifests is not None and (wire.config or wire.layers)
    # Tools that write layouts forget the version; what the document calls itself will do.
    version = wire.schema_version or (2 if wire.media_type in ACCEPTED else 0)
    if version != 2 or both:
        raise InvalidManifest("neither an image manifest nor an index")
    if wire.manifests is not None and media_type not in MANIFESTS:
        return _index(wire, media_type or OCI_INDEX, wire.manifests, data)
    if wire.config is not None and media_type not in INDEXES:
        return _manifest(wire, media_type or OCI_MANIFEST, wire.config, data)
    raise InvalidManifest("neither an image manifest nor an index")


def _index(wire: _Wire, media_type: str, entries: Sequence[_Descriptor], data: bytes) -> Index:
    if len(entries) > _MAX_ENTRIES:
        raise InvalidManifest("too many entries")
    return Index(
        media_type=media_type,
        entries=tuple(_entry(entry) for entry in entries),
        annotations=wire.annotations or {},
        raw=data,
    )


def _manifest(wire: _Wire, media_type: str, config: _Descriptor, data: bytes) -> Manifest:
    layers = wire.layers or []
    if len(layers) > MAX_LAYERS:
        raise TooManyLayers
    return Manifest(
        media_type=media_type,
        config=_descriptor(config),
        layers=tuple(_descriptor(layer) for layer in layers),
        annotations=wire.annotations or {},
        layer_urls={layer.digest: tuple(layer.urls) for layer in layers if layer.urls},
        raw=data,
    )


def _descriptor(wire: _Descriptor) -> Descriptor:
    if not 0 <= wire.size <= _MAX_BLOB:
        raise InvalidManifest(f"bad size of {wire.digest}")
    return Descriptor(wire.media_type, parse_digest(wire.digest), wire.size)


def _entry(wire: _Descriptor) -> IndexEntry:
    platform = wire.platform
    return IndexEntry(
        descriptor=_descriptor(wire),
        platform=None if platform is None else _platform(platform),
        annotations=wire.annotations or {},
    )


def _platform(wire: _Platform) -> Platform:
    return to_platform(wire.os, wire.architecture, wire.variant, wire.os_version)


def check_config_type(manifest: Manifest) -> None:
    """Raise NotAnImage for plugins and other artifacts."""
    if manifest.config.media_type not in (*CONFIGS, ""):
        raise NotAnImage(manifest.config.media_type)


def is_foreign(layer: Descriptor) -> bool:
    """Whether a layer may not be pushed, and has to be fetched from its own URLs."""
    return any(word in layer.media_type for word in _FOREIGN)


def format_manifest(
    config: Descriptor, layers: Sequence[Descriptor], media_type: str = OCI_MANIFEST
) -> bytes:
    """The bytes of a manifest made here."""
    return msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": to_json(config),
            "layers": [to_json(layer) for layer in layers],
        }
    )


def to_json(descriptor: Descriptor, **more: object) -> dict[str, object]:
    """A descriptor as the specification has it; `more` adds fields."""
    return {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
        **more,
    }
