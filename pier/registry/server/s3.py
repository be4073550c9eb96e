"""A registry's content in S3-compatible object storage, through obstore (the extra `s3`).

An object appears whole when its (multipart) upload is complete, so nothing more is needed for
atomicity. Uploads under way stay on the local disk, see `spool`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pier.errors import InvalidArgument, NotSupported
from pier.registry.server.backend import Entry

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

_PART = 16 * 1024 * 1024


class NoObstore(NotSupported):
    def __init__(self) -> None:
        super().__init__("S3 storage needs the package obstore: pip install 'pier[s3]'")


def open_store(url: str, options: Mapping[str, str]) -> "S3Store":
    """The bucket of `s3://bucket/prefix`. Credentials come from the usual AWS variables.

    `options`: endpoint, region.
    """
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise NoObstore from error
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket:
        raise InvalidArgument(f"{url!r} is not s3://bucket[/prefix]")
    endpoint = options.get("endpoint") or None
    plain = endpoint is not None and endpoint.startswith("http://")
    config: S3Config = {"region": options.get("region") or "us-east-1"}
    if endpoint:
        config["endpoint"] = endpoint
    return S3Store(
        bucket,
        prefix=prefix.strip("/") or None,
        config=config,
        client_options={"allow_http": plain},
    )


class ObjectStorage:
    """A backend in a bucket."""

    def __init__(self, store: "S3Store") -> None:
        self._store = store

    async def get(self, key: str) -> bytes | None:
        try:
            result = await self._store.get_async(key)
            return bytes(await result.bytes_async())
        except FileNotFoundError:
            return None

    async def put(self, key: str, data: bytes) -> None:
        await self._store.put_async(key, data or b"\n")

    async def adopt(self, key: str, path: Path) -> None:
        await self._store.put_async(key, path, chunk_size=_PART)
        await asyncio.to_thread(path.unlink)

    async def size(self, key: str) -> int | None:
        try:
            return int((await self._store.head_async(key))["size"])
        except FileNotFoundError:
            return None

    async def modified_s(self, key: str) -> float | None:
        try:
            return float((await self._store.head_async(key))["last_modified"].timestamp())
        except FileNotFoundError:
            return None

    def local(self, key: str) -> Path | None:
        return None

    async def read(self, key: str, first: int, size: int) -> AsyncIterator[bytes]:
        if size == 0:
            return
        result = await self._store.get_async(key, options={"range": (first, first + size)})
        async for chunk in result.stream(min_chunk_size=1024 * 1024):
            yield bytes(chunk)

    async def names(self, prefix: str) -> list[str]:
        found = await self._store.list_with_delimiter_async(prefix)
        paths = [str(entry["path"]) for entry in found["objects"]]
        paths += [str(path) for path in found["common_prefixes"]]
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    async def entries(self, prefix: str) -> list[Entry]:
        found = await self._store.list_with_delimiter_async(prefix)
        return [
            Entry(
                str(each["path"]).rpartition("/")[2],
                int(each["size"]),
                float(each["last_modified"].timestamp()),
            )
            for each in found["objects"]
        ]

    async def touch(self, key: str) -> None:
        """Object storage keeps no time of use; the process remembers it."""

    async def delete(self, key: str) -> None:
        try:
            await self._store.delete_async(key)
        except FileNotFoundError:
            return

    async def close(self) -> None:
        return
