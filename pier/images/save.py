"""Images become one archive: `docker save`.

An OCI image layout with Docker's manifest.json and repositories beside it, the same bytes for
the same images. Blobs go out as they are kept: compressed as they came, plain where made here.
"""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pier.archive.entry import DIRECTORY, REGULAR, Entry
from pier.archive.header import END, format_entry, padding
from pier.errors import InvalidArgument
from pier.images.feed import from_thread
from pier.images.library import Library
from pier.images.lookup import is_id_of, missing, parse_name
from pier.images.model import Image
from pier.oci.digest import Descriptor, Digest, encoded
from pier.oci.manifest import OCI_INDEX, Manifest, parse_manifest, to_json
from pier.oci.reference import Reference, parse_reference

BLOBS = "blobs/sha256/"
_SECOND_NS = 1_000_000_000
LAYOUT = {"imageLayoutVersion": "1.0.0"}
NAME_ANNOTATION = "io.containerd.image.name"
TAG_ANNOTATION = "org.opencontainers.image.ref.name"
_CHUNK = 256 * 1024
"""Held for each reader that stalls."""


class NothingToSave(InvalidArgument):
    def __init__(self) -> None:
        super().__init__("no images specified")


@dataclass(slots=True)
class _Chosen:
    """An image, and the names it is saved under."""

    image: Image
    manifest: Manifest
    references: list[Reference] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Blob:
    path: Path
    size: int
    mtime_ns: int = 0


def save_archive(images: Library, names: Sequence[str]) -> AsyncIterator[bytes]:
    """See `Images.save`. What is read is looked up now; the bytes come as they are asked for."""
    if not names:
        raise NothingToSave
    chosen: dict[Digest, _Chosen] = {}
    for name in names:
        _choose(images, name, chosen)
    blobs = {digest: blob for one in chosen.values() for digest, blob in _blobs(images, one)}
    return _leased(images, list(chosen.values()), blobs)


def _choose(images: Library, name: str, chosen: dict[Digest, _Chosen]) -> None:
    """Add what `name` means: a repository without a tag means all its tags."""
    reference = parse_name(name)
    tags = images.records.tags_of(reference.name) if reference else []
    bare = reference and parse_reference(name).tag == "" and reference.digest is None
    found = images.find(name)
    if found and is_id_of(name, found) and str(reference) not in found.tags:
        _add(images, found, None, chosen)
    elif bare and tags:
        for tag in tags:
            _add(images, images.get(tag), parse_reference(tag), chosen)
    elif found:
        tagged = reference if reference and not reference.digest else None
        _add(images, found, tagged, chosen)
    else:
        raise missing(images.records, name, tagged=False)


def _add(
    images: Library, image: Image, reference: Reference | None, chosen: dict[Digest, _Chosen]
) -> None:
    one = chosen.get(image.id)
    if one is None:
        manifest = parse_manifest(images.content.read(image.manifest))
        assert isinstance(manifest, Manifest)
        one = chosen[image.id] = _Chosen(image, manifest)
    if reference and reference not in one.references:
        one.references.append(reference)


def _blobs(images: Library, chosen: _Chosen) -> Iterator[tuple[Digest, _Blob]]:
    """Config and layers are as old as the image, to the second; what is made for it has no age."""

    def blob(digest: Digest, mtime_ns: int) -> tuple[Digest, _Blob]:
        return digest, _Blob(images.content.path(digest), images.content.size(digest), mtime_ns)

    created_ns = max(chosen.image.created_ns, 0) // _SECOND_NS * _SECOND_NS
    yield blob(chosen.image.manifest, 0)
    for digest in (chosen.image.id, *(layer.digest for layer in chosen.manifest.layers)):
        yield blob(digest, created_ns)


async def _leased(
    images: Library, chosen: Sequence[_Chosen], blobs: dict[Digest, _Blob]
) -> AsyncIterator[bytes]:
    lease = images.lease()
    try:
        for digest in blobs:
            images.leases.add(lease, "blob", digest)
        async for chunk in from_thread(_archive(chosen, blobs)):
            yield chunk
    finally:
        images.leases.release(lease)
    for one in chosen:
        images.announce("save", one.image, one.image.id)


def _archive(chosen: Sequence[_Chosen], blobs: dict[Digest, _Blob]) -> Iterator[bytes]:
    yield _header(Entry(DIRECTORY, b"blobs/", mode=0o755))
    yield _header(Entry(DIRECTORY, b"blobs/sha256/", mode=0o755))
    for digest in sorted(blobs):
        yield from _blob(digest, blobs[digest])
    documents: dict[str, object] = {
        "index.json": _index(chosen),
        "manifest.json": [_docker_manifest(one) for one in chosen],
        "oci-layout": json.dumps(LAYOUT).encode(),
    }
    if repositories := _repositories(chosen):
        documents["repositories"] = repositories
    for name, document in documents.items():
        data = document if isinstance(document, bytes) else _encoded(document)
        yield _header(_file(name, len(data))) + data + bytes(padding(len(data)))
    yield END


def _encoded(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _header(entry: Entry) -> bytes:
    return format_entry(entry)


def _file(name: str, size: int, mtime_ns: int = 0) -> Entry:
    return Entry(REGULAR, name.encode(), size=size, stored=size, mtime_ns=mtime_ns)


def _blob(digest: Digest, blob: _Blob) -> Iterator[bytes]:
    yield _header(_file(BLOBS + encoded(digest), blob.size, blob.mtime_ns))
    left = blob.size
    with blob.path.open("rb") as file:
        while left:
            chunk = file.read(min(_CHUNK, left))
            if not chunk:
                raise OSError(f"blob {digest} is shorter than it was")
            left -= len(chunk)
            yield chunk
    yield bytes(padding(blob.size))


def _index(chosen: Sequence[_Chosen]) -> dict[str, object]:
    """One entry for each name; one without for an image saved by its ID."""
    entries: list[dict[str, object]] = []
    for one in chosen:
        manifest = Descriptor(one.manifest.media_type, one.image.manifest, len(one.manifest.raw))
        for reference in one.references or (None,):
            annotations = _annotations(reference)
            more: dict[str, object] = {"annotations": annotations} if annotations else {}
            entries.append(to_json(manifest, **more))
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}


def _annotations(reference: Reference | None) -> dict[str, str]:
    if reference is None:
        return {}
    return {NAME_ANNOTATION: str(reference), TAG_ANNOTATION: reference.tag}


def _docker_manifest(one: _Chosen) -> dict[str, object]:
    layers = one.manifest.layers
    return {
        "Config": BLOBS + encoded(one.image.id),
        "RepoTags": [reference.familiar() for reference in one.references] or None,
        "Layers": [BLOBS + encoded(layer.digest) for layer in layers],
        "LayerSources": {
            diff_id: {"mediaType": layer.media_type, "size": layer.size, "digest": layer.digest}
            for diff_id, layer in sorted(zip(one.image.layers, layers, strict=True))
        },
    }


def _repositories(chosen: Sequence[_Chosen]) -> dict[str, dict[str, str]]:
    """Docker's oldest list: repository, tag, and the top layer."""
    found: dict[str, dict[str, str]] = {}
    for one in chosen:
        top = encoded(one.manifest.layers[-1].digest) if one.manifest.layers else ""
        for reference in one.references:
            found.setdefault(reference.familiar_name, {})[reference.tag] = top
    return found
