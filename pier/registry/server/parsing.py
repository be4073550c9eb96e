"""What a registry has to know of a manifest: what it refers to. Values only.

OCI image spec, manifest.md and image-index.md; Docker schema 2. Lenient where an artifact may
be: any JSON object with `layers`, `config` or `manifests` is a manifest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from pier.oci.digest import Digest, InvalidDigest, parse_digest
from pier.registry import protocol
from pier.registry.server import faults


class _Part(msgspec.Struct, rename="camel"):
    digest: str
    media_type: str = ""
    size: int = 0
    urls: list[str] | None = None


class _Wire(msgspec.Struct, rename="camel"):
    schema_version: int = 0
    media_type: str = ""
    config: _Part | None = None
    layers: list[_Part] | None = None
    blobs: list[_Part] | None = None
    manifests: list[_Part] | None = None
    subject: _Part | None = None
    artifact_type: str = ""
    annotations: dict[str, str] | None = None


class ReferrerEntry(msgspec.Struct, rename="camel", omit_defaults=True):
    """A descriptor as the referrers API lists it."""

    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    annotations: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ParsedManifest:
    media_type: str
    blobs: tuple[Digest, ...] = ()
    """Config and layers that the registry must have; layers kept elsewhere are left out."""
    manifests: tuple[Digest, ...] = ()
    subject: Digest | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    def referrer(self, digest: Digest, size: int) -> ReferrerEntry:
        return ReferrerEntry(
            self.media_type, digest, size, self.artifact_type, self.annotations or None
        )


def parse_manifest(media_type: str, data: bytes) -> ParsedManifest:
    """Read a manifest or index; raises the fault MANIFEST_INVALID."""
    if media_type in protocol.SCHEMA1:
        raise faults.manifest_invalid("schema 1 is no longer supported")
    try:
        wire = msgspec.json.decode(data, type=_Wire)
        return _from_wire(wire, media_type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidDigest) as error:
        raise faults.manifest_invalid(str(error)) from error


def stated_type(data: bytes) -> str:
    """The media type of a manifest that was sent without one: its own word, else OCI's."""
    try:
        wire = msgspec.json.decode(data, type=_Wire)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return protocol.MANIFEST_OCI  # parse_manifest says what is wrong
    if wire.media_type:
        return wire.media_type
    return protocol.MANIFEST_OCI if wire.manifests is None else protocol.INDEX_OCI


def _from_wire(wire: _Wire, media_type: str) -> ParsedManifest:
    if wire.media_type and media_type and wire.media_type != media_type:
        raise faults.manifest_invalid(
            f"mediaType is {wire.media_type}, Content-Type is {media_type}"
        )
    if wire.manifests is None and wire.layers is None and wire.config is None:
        raise faults.manifest_invalid("it has neither layers nor manifests")
    parts = [wire.config] if wire.config else []
    parts += [part for part in wire.layers or [] if not part.urls]
    config_type = wire.config.media_type if wire.config else ""
    return ParsedManifest(
        media_type,
        blobs=tuple(parse_digest(part.digest) for part in parts),
        manifests=tuple(parse_digest(part.digest) for part in wire.manifests or []),
        subject=parse_digest(wire.subject.digest) if wire.subject else None,
        artifact_type=wire.artifact_type or config_type,
        annotations=wire.annotations or {},
    )
