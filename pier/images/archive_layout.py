"""What an image archive holds: from its members' names and documents to a list of images. Pure.

Two layouts, often both in one archive: Docker's (`manifest.json`) and OCI's (`index.json`; OCI
image spec, image-layout.md). OCI's is preferred, it keeps the manifests; Docker's adds names.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from posixpath import dirname, join, normpath

import msgspec

from pier.errors import InvalidArgument
from pier.oci.digest import Descriptor, Digest
from pier.oci.manifest import (
    Index,
    IndexEntry,
    InvalidManifest,
    Manifest,
    check_config_type,
    parse_manifest,
)
from pier.oci.platform import NoMatchingPlatform, Platform, choose
from pier.oci.reference import Reference, parse_reference

DOCKER_MANIFEST_FILE = "manifest.json"
INDEX_FILE = "index.json"
_NAME_ANNOTATION = "io.containerd.image.name"
_TAG_ANNOTATION = "org.opencontainers.image.ref.name"
_MAX_LINKS = 8
_MAX_IMAGES = 1000
_MAX_DEPTH = 4


class InvalidImageArchive(InvalidArgument):
    pass


class NoManifest(InvalidImageArchive):
    def __init__(self) -> None:
        super().__init__("invalid archive: does not contain a manifest.json")


class MemberMissing(InvalidImageArchive):
    def __init__(self, name: str) -> None:
        super().__init__(f"invalid archive: {name[:200]} is missing")


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of the archive."""

    digest: Digest
    size: int


@dataclass(slots=True)
class Contents:
    """What was found in an archive; names are normalized."""

    files: dict[str, Member] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    """Symbolic and hard links: name to name."""

    def add_link(self, name: str, target: str, *, symbolic: bool) -> None:
        self.links[name] = normpath(join(dirname(name), target) if symbolic else target)

    def find(self, name: str) -> Member | None:
        """A file, through links. A name outside of the archive is not in it."""
        name = normpath(name)
        for _ in range(_MAX_LINKS):
            if name in self.files:
                return self.files[name]
            if name not in self.links:
                return None
            name = self.links[name]
        return None

    def get(self, name: str) -> Member:
        member = self.find(name)
        if member is None:
            raise MemberMissing(name)
        return member


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImage:
    """An image to be made: its config, its layer files bottom first, its names."""

    config: Member
    layers: tuple[Member, ...]
    manifest: Manifest | None = None
    names: tuple[Reference, ...] = ()


Read = Callable[[Member], bytes]
"""Reads a small member; raises if it is long."""


class _DockerEntry(msgspec.Struct, rename="pascal"):
    config: str
    layers: list[str] | None = None
    repo_tags: list[str] | None = None


def plan(
    contents: Contents, read: Read, host: Platform, wanted: Platform | None
) -> list[PlannedImage]:
    """The images of an archive. Raises NoManifest, MemberMissing, InvalidImageArchive."""
    docker, index = contents.find(DOCKER_MANIFEST_FILE), contents.find(INDEX_FILE)
    if docker is None and index is None:
        raise NoManifest
    planned: dict[Digest, PlannedImage] = {}
    if index is not None:
        chooser = _OciChooser(contents, read, host, wanted)
        for image in chooser.images(read(index), required=docker is None):
            _merge(planned, image)
    if docker is not None:
        for image in _docker_images(contents, read(docker)):
            _merge(planned, image)
    if len(planned) > _MAX_IMAGES:
        raise InvalidImageArchive("invalid archive: too many images")
    return list(planned.values())


def _merge(planned: dict[Digest, PlannedImage], image: PlannedImage) -> None:
    known = planned.get(image.config.digest, image)
    names = dict.fromkeys((*known.names, *image.names))
    planned[image.config.digest] = replace(known, names=tuple(names))


def _docker_images(contents: Contents, data: bytes) -> Sequence[PlannedImage]:
    try:
        entries = msgspec.json.decode(data, type=list[_DockerEntry])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidImageArchive(f"invalid manifest.json: {error}") from error
    return [
        PlannedImage(
            config=contents.get(entry.config),
            layers=tuple(contents.get(name) for name in entry.layers or ()),
            names=tuple(_tag(text) for text in entry.repo_tags or ()),
        )
        for entry in entries
    ]


def _tag(text: str) -> Reference:
    reference = parse_reference(text)
    if not reference.tag or reference.digest:
        raise InvalidImageArchive(f'invalid tag "{text}"')
    return reference


@dataclass(frozen=True, slots=True)
class _OciChooser:
    contents: Contents
    read: Read
    host: Platform
    wanted: Platform | None

    def images(self, data: bytes, *, required: bool) -> Sequence[PlannedImage]:
        """required: the index is all there is, so what it lists has to be there."""
        index = parse_manifest(data)
        if not isinstance(index, Index):
            raise InvalidManifest("index.json is no index")
        found = []
        for entry in index.entries:
            if entry.is_attestation or not (required or self._blob(entry.descriptor)):
                continue
            image = self._image(entry, _MAX_DEPTH)
            found.append(replace(image, names=_names(entry.annotations)))
        return found

    def _image(self, entry: IndexEntry, depth: int) -> PlannedImage:
        parsed = parse_manifest(
            self.read(self._member(entry.descriptor)), entry.descriptor.media_type
        )
        if isinstance(parsed, Manifest):
            check_config_type(parsed)
            layers = tuple(self._member(layer) for layer in parsed.layers)
            return PlannedImage(config=self._member(parsed.config), layers=layers, manifest=parsed)
        if depth == 0:
            raise InvalidImageArchive("invalid archive: indexes too deep")
        return self._image(self._choose(parsed, str(entry.descriptor.digest)), depth - 1)

    def _choose(self, index: Index, name: str) -> IndexEntry:
        """The best for the platform among those whose manifest came along."""
        entries = [
            entry
            for entry in index.entries
            if not entry.is_attestation and self._blob(entry.descriptor)
        ]
        best = choose([entry.platform for entry in entries], self.host, self.wanted)
        if best is None:
            raise NoMatchingPlatform(name, self.wanted or self.host)
        return entries[best]

    def _blob(self, descriptor: Descriptor) -> Member | None:
        return self.contents.find(f"blobs/{descriptor.digest.replace(':', '/')}")

    def _member(self, descriptor: Descriptor) -> Member:
        member = self._blob(descriptor)
        if member is None:
            raise MemberMissing(descriptor.digest)
        if (member.digest, member.size) != (descriptor.digest, descriptor.size):
            raise InvalidImageArchive(
                f"invalid archive: {descriptor.digest} has digest {member.digest} "
                f"and {member.size} bytes"
            )
        return member


def _names(annotations: Mapping[str, str]) -> tuple[Reference, ...]:
    """The full name as containerd has it; else the specification's, where it is more than a tag."""
    text = annotations.get(_NAME_ANNOTATION) or annotations.get(_TAG_ANNOTATION, "")
    full = _NAME_ANNOTATION in annotations or "/" in text or ":" in text
    return (parse_reference(text).tagged(),) if text and full else ()
