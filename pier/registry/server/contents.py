"""What a registry holds, over any backend: repositories, their blobs, manifests, tags, referrers.

A blob or manifest is kept once and linked from each repository that may serve it. Order of
writing: content, then links, then the tag; so whatever can be found is complete.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pier.oci.digest import Digest, InvalidDigest, encoded, parse_digest
from pier.registry.server import faults
from pier.registry.server.backend import Backend
from pier.registry.server.parsing import ParsedManifest, parse_manifest

_RECENT_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest as it is kept."""

    media_type: str
    digest: Digest
    data: bytes


class _Record(msgspec.Struct, rename="camel"):
    """What a repository knows of a manifest: the JSON of its link."""

    media_type: str
    subject: str = ""


class Contents:
    """One registry's content. All names and digests given to it are checked ones."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.lock = asyncio.Lock()
        """Held while a manifest is stored and while one blob is swept: see `collect`."""
        self._recent: dict[Digest, float] = {}

    def touch(self, digest: Digest) -> None:
        """Somebody was told that this blob is here: it must not go soon."""
        self._recent.pop(digest, None)
        self._recent[digest] = time.monotonic()
        if len(self._recent) > _RECENT_MAX:
            del self._recent[next(iter(self._recent))]

    def used_ago_s(self, digest: Digest) -> float | None:
        """Seconds since this process last touched it."""
        seen = self._recent.get(digest)
        return None if seen is None else time.monotonic() - seen

    def touched_within(self, digest: Digest, age_s: float) -> bool:
        ago_s = self.used_ago_s(digest)
        return ago_s is not None and ago_s < age_s

    # Blobs

    async def blob_size(self, name: str, digest: Digest) -> int:
        """Bytes of a blob the repository has; raises BLOB_UNKNOWN."""
        self.touch(digest)
        if await self.backend.size(blob_link(name, digest)) is None:
            raise faults.blob_unknown(digest)
        size = await self.backend.size(blob_key(digest))
        if size is None:
            raise faults.blob_unknown(digest)
        return size

    async def has_blob(self, name: str, digest: Digest) -> bool:
        try:
            await self.blob_size(name, digest)
        except faults.Fault:
            return False
        return True

    async def adopt_blob(self, name: str, digest: Digest, path: Path) -> None:
        """Keep the local file `path`, whose digest has been checked, as a blob of `name`."""
        self.touch(digest)
        async with self.lock:
            if await self.backend.size(blob_key(digest)) is None:
                await self.backend.adopt(blob_key(digest), path)
            else:
                await asyncio.to_thread(path.unlink, missing_ok=True)
            await self.backend.put(blob_link(name, digest), b"")

    async def mount(self, name: str, digest: Digest, source: str) -> bool:
        """Link a blob that `source` has (any repository, when "") into `name`."""
        self.touch(digest)
        async with self.lock:
            if source and await self.backend.size(blob_link(source, digest)) is None:
                return False
            if await self.backend.size(blob_key(digest)) is None:
                return False
            await self.backend.put(blob_link(name, digest), b"")
            return True

    async def unlink_blob(self, name: str, digest: Digest) -> None:
        """Take a blob from a repository. Collection removes it when no other has it."""
        await self.blob_size(name, digest)
        await self.backend.delete(blob_link(name, digest))

    # Manifests

    async def manifest(self, name: str, reference: str) -> Stored:
        """By tag or digest; raises NAME_UNKNOWN or MANIFEST_UNKNOWN."""
        digest = await self.resolve(name, reference)
        record = await self.backend.get(_manifest_link(name, digest))
        data = await self.backend.get(blob_key(digest)) if record is not None else None
        if record is None or data is None:
            raise await self._unknown(name, reference)
        return Stored(msgspec.json.decode(record, type=_Record).media_type, digest, data)

    async def resolve(self, name: str, reference: str) -> Digest:
        if reference.startswith("sha256:"):
            return parse_digest(reference)
        data = await self.backend.get(_tag_key(name, reference))
        if data is None:
            raise await self._unknown(name, reference)
        return parse_digest(data.decode())

    async def _unknown(self, name: str, reference: str) -> faults.Fault:
        if await self.exists(name):
            return faults.manifest_unknown(reference)
        return faults.name_unknown(name)

    async def put_manifest(
        self, name: str, manifest: Stored, tags: Sequence[str], *, checked: bool = True
    ) -> ParsedManifest:
        """Keep a manifest under its digest and `tags`. checked: everything it names must be here.

        A subject may be missing. Raises MANIFEST_INVALID, MANIFEST_BLOB_UNKNOWN.
        """
        parsed = parse_manifest(manifest.media_type, manifest.data)
        self.touch(manifest.digest)
        async with self.lock:
            if checked:
                await self._check_parts(name, parsed)
            await self.backend.put(blob_key(manifest.digest), manifest.data)
            record = _Record(manifest.media_type, parsed.subject or "")
            link = _manifest_link(name, manifest.digest)
            await self.backend.put(link, msgspec.json.encode(record))
            if parsed.subject:
                key = _referrer_key(name, parsed.subject, manifest.digest)
                entry = parsed.referrer(manifest.digest, len(manifest.data))
                await self.backend.put(key, msgspec.json.encode(entry))
            for tag in tags:
                await self.backend.put(_tag_key(name, tag), manifest.digest.encode())
        return parsed

    async def _check_parts(self, name: str, parsed: ParsedManifest) -> None:
        for digest in parsed.blobs:
            if not await self.has_blob(name, digest):
                raise faults.manifest_blob_unknown(digest)
        for digest in parsed.manifests:
            if await self.backend.size(_manifest_link(name, digest)) is None:
                raise faults.manifest_blob_unknown(digest)

    async def delete_manifest(self, name: str, digest: Digest) -> None:
        """Take a manifest, and the tags that point at it, from a repository."""
        link = _manifest_link(name, digest)
        record = await self.backend.get(link)
        if record is None:
            raise await self._unknown(name, digest)
        for tag in await self.tags(name):
            if await self.backend.get(_tag_key(name, tag)) == digest.encode():
                await self.backend.delete(_tag_key(name, tag))
        subject = msgspec.json.decode(record, type=_Record).subject
        if subject:
            await self.backend.delete(_referrer_key(name, parse_digest(subject), digest))
        await self.backend.delete(link)

    async def delete_tag(self, name: str, tag: str) -> None:
        await self.resolve(name, tag)
        await self.backend.delete(_tag_key(name, tag))

    # Lists

    async def exists(self, name: str) -> bool:
        return bool(await self.backend.names(f"repositories/{_encoded(name)}"))

    async def tags(self, name: str) -> list[str]:
        """Sorted."""
        return await self.backend.names(f"repositories/{_encoded(name)}/tags")

    async def referrers(self, name: str, subject: Digest) -> list[msgspec.Raw]:
        """Descriptors, as JSON, of the manifests that name `subject`, by digest."""
        prefix = f"repositories/{_encoded(name)}/referrers/{encoded(subject)}"
        entries = [await self.backend.get(f"{prefix}/{one}") for one in await self.names(prefix)]
        return [msgspec.Raw(entry) for entry in entries if entry]

    async def names(self, prefix: str) -> list[str]:
        return await self.backend.names(prefix)

    async def catalogue(self, last: str, count: int) -> list[str]:
        """At most `count` repositories that have manifests, after `last`, sorted."""
        found: list[str] = []
        for name in sorted(map(_decoded, await self.backend.names("repositories"))):
            if len(found) == count:
                break
            if name > last and await self.manifests(name):
                found.append(name)
        return found

    async def repositories(self) -> list[str]:
        return [_decoded(name) for name in await self.backend.names("repositories")]

    async def manifests(self, name: str) -> list[Digest]:
        return _digests(await self.backend.names(f"repositories/{_encoded(name)}/manifests"))

    async def linked_blobs(self, name: str) -> list[Digest]:
        return _digests(await self.backend.names(f"repositories/{_encoded(name)}/blobs"))

    async def blobs(self) -> list[Digest]:
        """Every blob there is, linked or not."""
        return _digests(await self.backend.names("blobs/sha256"))

    @asynccontextmanager
    async def sweeping(self) -> AsyncIterator[Backend]:
        """The backend, while no manifest can be stored and no blob adopted."""
        async with self.lock:
            yield self.backend


def _digests(names: Sequence[str]) -> list[Digest]:
    found = []
    for name in names:
        try:
            found.append(parse_digest(f"sha256:{name}"))
        except InvalidDigest:
            continue
    return found


def blob_key(digest: Digest) -> str:
    return f"blobs/sha256/{encoded(digest)}"


def _encoded(name: str) -> str:
    return name.replace("/", "+")


def _decoded(name: str) -> str:
    return name.replace("+", "/")


def blob_link(name: str, digest: Digest) -> str:
    return f"repositories/{_encoded(name)}/blobs/{encoded(digest)}"


def _manifest_link(name: str, digest: Digest) -> str:
    return f"repositories/{_encoded(name)}/manifests/{encoded(digest)}"


def _tag_key(name: str, tag: str) -> str:
    return f"repositories/{_encoded(name)}/tags/{tag}"


def _referrer_key(name: str, subject: Digest, digest: Digest) -> str:
    return f"repositories/{_encoded(name)}/referrers/{encoded(subject)}/{encoded(digest)}"
