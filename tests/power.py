"""A disk whose power can be cut: what it holds at a moment, without what was not written back.

    <directory>/outer.img    on a loop device: ext4, which can be frozen
      outer/disk.img         on a loop device: ext4, the disk itself; mounted where the caller says

Writes to the disk's files stay in the kernel's memory until it writes them back or somebody
syncs; `disk.img` has only those. While `outer` is frozen no block changes, so a copy of it is what
a disk would hold if the power went at this moment; mounting it replays the journal.
"""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

_OUTER_BYTES = 4 << 30
_DISK_BYTES = 400 << 20


class Disk:
    """Made by `power_disk`."""

    def __init__(self, outer: Path) -> None:
        self._outer = outer
        self._number = 0
        self.image = self._outer / "disk.img"
        _make(self.image, _DISK_BYTES)

    def begin_with(self, image: Path) -> None:
        """Another disk, which holds what a cut's copy does.

        Not the same file again: a mount namespace made meanwhile may still have it mounted.
        """
        self.image.unlink()
        self._number += 1
        self.image = self._outer / f"disk-{self._number}.img"
        _run("cp", "--sparse=always", str(image), str(self.image))

    def cut(self) -> Path:
        """What the disk holds now, as the path of a copy; the caller removes it."""
        self._number += 1
        copy = self._outer.parent / f"cut-{self._number}.img"
        _run("fsfreeze", "--freeze", str(self._outer))
        try:
            _run("cp", "--sparse=always", str(self.image), str(copy))
        finally:
            _run("fsfreeze", "--unfreeze", str(self._outer))
        return copy


@contextlib.contextmanager
def power_disk() -> Iterator[Disk]:
    """In memory, as nothing else than the tests' machine's speed should count."""
    with tempfile.TemporaryDirectory(prefix="pier-power", dir="/dev/shm") as name:
        outer = Path(name, "outer")
        _make(outer.with_suffix(".img"), _OUTER_BYTES)
        with mounted(outer.with_suffix(".img"), outer):
            yield Disk(outer)


def _make(image: Path, size: int) -> None:
    with image.open("wb") as file:
        file.truncate(size)
    _run("mkfs.ext4", "-q", "-F", "-O", "^has_journal" if "outer" in image.name else "has_journal",
         str(image))  # fmt: skip


@contextlib.contextmanager
def mounted(image: Path, place: Path, options: str = "") -> Iterator[Path]:
    place.mkdir(parents=True, exist_ok=True)
    _run("mount", "-o", ",".join(("loop", *filter(None, [options]))), str(image), str(place))
    try:
        yield place
    finally:
        _run("umount", "--lazy", str(place))


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)
