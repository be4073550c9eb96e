"""What `--output` asks for besides the image: its files, or an archive of it."""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pier.archive.tarball import write_tree
from pier.build.request import Output
from pier.errors import InvalidArgument
from pier.images.store import Images
from pier.linux.mount import Overlay, open_overlay
from pier.threads import blocking

FILES = ("local", "tar")
ARCHIVES = ("oci", "docker")


class UnknownOutput(InvalidArgument):
    def __init__(self, kind: str) -> None:
        super().__init__(f"unknown output type {kind}: use image, local, tar, oci or docker")


@dataclass(frozen=True, slots=True)
class Made:
    """What a build came to: its top layer ("" for none), and the image's names or ID, if any."""

    chain_id: str
    names: Sequence[str] = ()


def check_outputs(outputs: Sequence[Output]) -> None:
    """Before anything is built. Raises UnknownOutput."""
    for output in outputs:
        if output.type not in ("image", *FILES, *ARCHIVES):
            raise UnknownOutput(output.type)


def keeps_image(outputs: Sequence[Output]) -> bool:
    """Whether an image is to be made: not if only files are wanted."""
    return not outputs or any(output.type not in FILES for output in outputs)


async def export(output: Output, made: Made, images: Images, directory: Path) -> BinaryIO | None:
    """Write one output. `local` is a tar too, unpacked by the client.

    Without a path it goes to a file in `directory` that has no name, so nothing is left of it
    once the caller closes it; it is returned at its beginning.
    """
    if output.type == "image":
        return None
    if output.path is not None:
        with output.path.open("wb") as named:
            await _write(output, made, images, named)
        return None
    file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - the caller's
    try:
        await _write(output, made, images, file)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


async def _write(output: Output, made: Made, images: Images, file: BinaryIO) -> None:
    if output.type in ARCHIVES:
        async for chunk in images.save(made.names):
            await blocking(file.write, chunk)
        return
    overlay = images.snapshotter.overlay(made.chain_id) if made.chain_id else None
    await blocking(_write_files, overlay, file.write)


def _write_files(overlay: Overlay | None, write: Callable[[bytes], object]) -> None:
    if overlay is None:
        write(bytes(1024))
        return
    root_fd = open_overlay(overlay)
    try:
        write_tree(root_fd, b"", write)
    finally:
        os.close(root_fd)
