"""Images as tests make them, and archives of them as others would write them."""

import asyncio
import gzip
import io
import json
import tarfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from pier.images.model import Image, LoadEvent
from pier.images.store import Images
from pier.oci.digest import digest_of

NOW = 1_700_000_000 * 10**9


def tar(files: dict[str, bytes | None], links: dict[str, str] | None = None) -> bytes:
    """None is a directory."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            info.mode, info.size = 0o755, len(data or b"")
            archive.addfile(info, io.BytesIO(data or b""))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return stream.getvalue()


async def chunks(data: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        await asyncio.sleep(0)
        yield data[start : start + size]


def load(images: Images, archive: bytes) -> list[LoadEvent]:
    async def run() -> list[LoadEvent]:
        return [event async for event in images.load(chunks(archive))]

    return asyncio.run(run())


def lines(events: Sequence[LoadEvent]) -> str:
    return "".join(event.stream for event in events)


def import_(images: Images, files: dict[str, bytes | None], reference: str = "") -> Image:
    return asyncio.run(images.import_(chunks(tar(files)), reference=reference, changes=["CMD sh"]))


def save(images: Images, *names: str) -> bytes:
    async def run() -> bytes:
        return b"".join([chunk async for chunk in images.save(names)])

    return asyncio.run(run())


@dataclass
class Made:
    """An image as others would archive it."""

    layers: list[bytes]
    config: bytes

    @property
    def id(self) -> str:
        return digest_of(self.config)


def make(*layers: bytes) -> Made:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["x"]},
        "extra": [1],
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
        "history": [{"created_by": f"step {n}"} for n, _ in enumerate(layers)],
    }
    return Made(list(layers), json.dumps(config, indent=1).encode())


LOWER = tar({"etc": None, "etc/a": b"a", "gone": b"x"})
UPPER = tar({"etc/b": b"bb", ".wh.gone": b""})


def docker_archive(made: Made, tags: list[str] | None, pack: bool = False) -> bytes:
    files: dict[str, bytes | None] = {}
    names = []
    for number, layer in enumerate(made.layers):
        files[f"{number}/"] = None
        files[f"{number}/layer.tar"] = gzip.compress(layer) if pack else layer
        files[f"{number}/VERSION"] = b"1.0"
        names.append(f"{number}/layer.tar")
    files["config.json"] = made.config
    files["manifest.json"] = json.dumps(
        [{"Config": "config.json", "RepoTags": tags, "Layers": names}]
    ).encode()
    return tar(files)
