"""The registry client at work, for one call, and pushes of a small image."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from pier.oci.digest import Descriptor, digest_of
from pier.registry.client import RegistryClient
from pier.registry.repository import Repository
from pier.registry.uploads import Source, Uploads
from tests.clients.registries import SmallImage, client

T = TypeVar("T")


def using(work: Callable[[RegistryClient], Awaitable[T]], made: RegistryClient | None = None) -> T:
    """Run `work` with a client that is closed afterwards."""

    async def scenario() -> T:
        registries = made or client()
        try:
            return await work(registries)
        finally:
            await registries.close()

    return asyncio.run(scenario())


def source_of(data: bytes) -> Source:
    async def chunks(offset: int, size: int) -> AsyncIterator[bytes]:
        for start in range(offset, offset + size, 65_536):
            yield data[start : min(start + 65_536, offset + size)]

    return chunks


async def push_small(repository: Repository, tag: str, image: SmallImage) -> None:
    uploads = Uploads(repository)
    for data in (image.config, image.layer):
        digest = digest_of(data)
        assert not await uploads.has_blob(digest)
        await uploads.upload(Descriptor("", digest, len(data)), source_of(data))
        assert await uploads.has_blob(digest)
    await uploads.put_manifest(tag, image.media_type, image.manifest)
