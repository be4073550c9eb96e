"""What `--output` asks for besides the image: its files, or an archive of it."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from pier.archive.tarball import write_tree
from pier.build.request import Output
from pier.errors import InvalidArgument
from pier.images.model import Image
from pier.images.store import Images
from pier.linux.mount import Overlay, open_overlay


class UnknownOutput(InvalidArgument):
    def __init__(self, kind: str) -> None:
        super().__init__(f"unknown output type {kind}: use image, local, tar or oci")


async def export(output: Output, image: Image, images: Images) -> None:
    """Write one output to its path: a file. `local` is a tar too, unpacked by the client."""
    if output.type in ("image", "docker") and output.path is None:
        return
    if output.path is None:
        raise InvalidArgument(f"output {output.type} needs a destination")
    if output.type in ("local", "tar"):
        overlay = _overlay(image, images)
        await asyncio.to_thread(_write_files, overlay, output.path)
    elif output.type in ("oci", "docker"):
        with output.path.open("wb") as file:
            async for chunk in images.save([image.id]):
                await asyncio.to_thread(file.write, chunk)
    else:
        raise UnknownOutput(output.type)


def _overlay(image: Image, images: Images) -> Overlay | None:
    if not image.chain_id:
        return None
    return images.snapshotter.overlay(image.chain_id)


def _write_files(overlay: Overlay | None, path: Path) -> None:
    with path.open("wb") as file:
        if overlay is None:
            file.write(bytes(1024))
            return
        _write_overlay(overlay, file.write)


def _write_overlay(overlay: Overlay, write: Callable[[bytes], object]) -> None:
    root_fd = open_overlay(overlay)
    try:
        write_tree(root_fd, b"", write)
    finally:
        os.close(root_fd)
