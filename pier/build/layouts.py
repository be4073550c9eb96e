"""An OCI image layout as a named context: a directory the client sent, taken in as an image.

What the layout calls its images means nothing here: the wanted one is loaded without a name.
The files are foreign: only regular ones, strictly below the layout, are read.
"""

import contextlib
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from pier.errors import InvalidArgument
from pier.images.model import Image
from pier.images.store import Images
from pier.linux.paths import STRICTLY_BELOW, NotAPlainFile, open_in_root, open_plain
from pier.oci.platform import Platform
from pier.threads import blocking

_TAG = "org.opencontainers.image.ref.name"
_MAX_INDEX_BYTES = 4 << 20
_CHUNK = 1 << 20
_KEPT = ("mediaType", "digest", "size", "platform", "annotations")
_BLOBS = "blobs/sha256"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


class BadLayout(InvalidArgument):
    def __init__(self, why: str) -> None:
        super().__init__(f"invalid OCI layout: {why}")


async def load_layout(
    images: Images, layout: Path, selector: str, platform: Platform, work: Path
) -> Image:
    """The image that `selector` (`:tag`, `@digest`, "" for the only one) means in `layout`.

    work: a directory for an archive of it, which is gone afterwards. Raises BadLayout.
    """
    archive = work / f"{layout.name}.layout"
    try:
        await blocking(_pack, layout, selector, archive)
        found: Image | None = None
        with archive.open("rb") as file:
            async for event in images.load(_chunks(file), platform=str(platform)):
                found = event.image or found
    finally:
        archive.unlink(missing_ok=True)
    if found is None:
        raise BadLayout("there is no image in it")
    return found


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    while chunk := await blocking(file.read, _CHUNK):
        yield chunk


def _pack(layout: Path, selector: str, archive: Path) -> None:
    """The layout as an archive with the one manifest in its index."""
    root_fd = os.open(layout, _DIRECTORY)
    try:
        entry = _chosen(_index(root_fd), selector)
        index = {"schemaVersion": 2, "manifests": [entry]}
        with tarfile.open(archive, "w") as tar:
            _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            _add(tar, "index.json", json.dumps(index).encode())
            for name, fd in _blobs(root_fd):
                with os.fdopen(fd, "rb") as file:
                    member = tarfile.TarInfo(f"{_BLOBS}/{name}")
                    member.size = os.fstat(fd).st_size
                    tar.addfile(member, file)
    finally:
        os.close(root_fd)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _index(root_fd: int) -> list[Mapping[str, object]]:
    try:
        fd = open_plain(root_fd, "index.json", resolve=STRICTLY_BELOW)
    except OSError as error:
        raise BadLayout("index.json is missing") from error
    with os.fdopen(fd, "rb") as file:
        data = file.read(_MAX_INDEX_BYTES)
    try:
        manifests = json.loads(data)["manifests"]
        entries = [entry for entry in manifests if isinstance(entry, dict)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadLayout("index.json cannot be read") from error
    return [{key: value for key, value in entry.items() if key in _KEPT} for entry in entries]


def _chosen(entries: list[Mapping[str, object]], selector: str) -> Mapping[str, object]:
    """The entry without its names. A tag alone, or the tag of a full name, is meant by `:tag`."""
    tag, _, digest = selector.removeprefix(":").partition("@")
    fitting = [
        entry
        for entry in entries
        if (not digest or entry.get("digest") == digest) and (not tag or _tag_of(entry) == tag)
    ]
    if len(fitting) > 1 and not selector:
        fitting = [entry for entry in fitting if _tag_of(entry) == "latest"]
    if not fitting:
        raise BadLayout(f"it has no image {selector or 'latest'}")
    return {key: value for key, value in fitting[0].items() if key != "annotations"}


def _tag_of(entry: Mapping[str, object]) -> str:
    annotations = entry.get("annotations")
    text = annotations.get(_TAG, "") if isinstance(annotations, dict) else ""
    return str(text).rpartition("/")[2].rpartition(":")[2]


def _blobs(root_fd: int) -> Iterator[tuple[str, int]]:
    try:
        directory_fd = open_in_root(root_fd, _BLOBS, _DIRECTORY, resolve=STRICTLY_BELOW)
    except OSError as error:
        raise BadLayout(f"{_BLOBS} is missing") from error
    try:
        with os.scandir(directory_fd) as listing:
            names = sorted(item.name for item in listing)
        for name in names:
            with contextlib.suppress(NotAPlainFile):
                yield name, open_plain(directory_fd, name, follow=False, resolve=STRICTLY_BELOW)
    finally:
        os.close(directory_fd)
