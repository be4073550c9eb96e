"""Removing what no manifest refers to, while the registry goes on serving.

Mark: every manifest of every repository, and what it names. Sweep: links to blobs that no
manifest of their repository names, then content that nothing names at all. A blob is spared when
it is younger than the grace time, or when a client has been told within it that it is here (it
may be about to push a manifest that needs it). Each removal holds the lock under which manifests
are stored and blobs adopted, and asks again there; so a manifest is never stored whose blobs
then go. Several processes on one bucket: let only one of them collect.
"""

import time
from dataclasses import dataclass, field

from pier.oci.digest import Digest
from pier.registry.server.contents import Contents, blob_key, blob_link
from pier.registry.server.faults import Fault
from pier.registry.server.parsing import ParsedManifest, parse_manifest

DEFAULT_GRACE_S = 24 * 3600.0


@dataclass(slots=True)
class Collected:
    blobs: int = 0
    links: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class _Marks:
    began_s: float = field(default_factory=time.time)
    everything: set[Digest] = field(default_factory=set)
    by_repository: dict[str, set[Digest]] = field(default_factory=dict)


async def collect(contents: Contents, grace_s: float = DEFAULT_GRACE_S) -> Collected:
    """Remove unreferenced links and content older than `grace_s` seconds."""
    marks = await _mark(contents)
    done = Collected()
    oldest = marks.began_s - grace_s
    for name, marked in marks.by_repository.items():
        for digest in await contents.linked_blobs(name):
            if digest not in marked:
                done.links += await _sweep_link(contents, name, digest, oldest)
    for digest in await contents.blobs():
        if digest not in marks.everything:
            await _sweep_blob(contents, digest, oldest, done)
    return done


async def _mark(contents: Contents) -> _Marks:
    marks = _Marks()
    for name in await contents.repositories():
        marked: set[Digest] = set()
        for digest in await contents.manifests(name):
            marked.add(digest)
            parsed = await _parsed(contents, name, digest)
            if parsed is not None:
                marked.update(parsed.blobs, parsed.manifests)
        marks.by_repository[name] = marked
        marks.everything |= marked
        marks.everything.update(await contents.linked_blobs(name))
    return marks


async def _parsed(contents: Contents, name: str, digest: Digest) -> ParsedManifest | None:
    """None when it went away meanwhile. One that cannot be read stops the collection."""
    try:
        stored = await contents.manifest(name, digest)
    except Fault:
        return None
    return parse_manifest(stored.media_type, stored.data)


async def _sweep_link(contents: Contents, name: str, digest: Digest, oldest_s: float) -> bool:
    key = blob_link(name, digest)
    async with contents.sweeping() as backend:
        stored_s = await backend.modified_s(key)
        if stored_s is None or not _old(contents, digest, stored_s, oldest_s):
            return False
        await backend.delete(key)
        return True


async def _sweep_blob(contents: Contents, digest: Digest, oldest_s: float, done: Collected) -> None:
    key = blob_key(digest)
    async with contents.sweeping() as backend:
        stored_s, size = await backend.modified_s(key), await backend.size(key)
        if stored_s is None or size is None or not _old(contents, digest, stored_s, oldest_s):
            return
        await backend.delete(key)
        done.blobs += 1
        done.size_bytes += size


def _old(contents: Contents, digest: Digest, stored_s: float, oldest_s: float) -> bool:
    """Neither stored nor asked about since `oldest_s`, which is before the marking began."""
    age_s = time.time() - oldest_s
    return stored_s < oldest_s and not contents.touched_within(digest, age_s)
