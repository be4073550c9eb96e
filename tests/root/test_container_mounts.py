"""What a container mounts is made ready, and new volumes are filled."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pier.containers.model import MountPoint
from pier.containers.mounts import (
    BindSourceMissing,
    CannotMountOverFile,
    SubpathEscapes,
    SubpathNotFound,
    copy_up,
    prepare,
    release,
    with_sources,
)
from pier.linux.mount import Overlay

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    (path / "sub/dir").mkdir(parents=True)
    (path / "sub/file").write_text("inside")
    (path / "out").symlink_to("/etc")
    (path / "up").symlink_to("..")
    (path / "in").symlink_to("sub")
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mounts"
    yield path
    release(path)


def no_image(_: str) -> Overlay:
    raise AssertionError


def point(volume: Path, subpath: str) -> MountPoint:
    return MountPoint(kind="volume", destination="/d", source=str(volume), subpath=subpath)


@pytest.mark.parametrize("subpath", ["sub", "in"])
def test_a_part_of_a_volume_is_mounted_and_released(
    volume: Path, directory: Path, subpath: str
) -> None:
    points = (point(volume, subpath), point(volume, "sub/file"))
    prepare(points, directory, no_image)
    prepare(points, directory, no_image)
    first, second = with_sources(points, directory)
    assert (Path(first.source) / "file").read_text() == "inside"
    assert Path(second.source).read_text() == "inside"
    release(directory)
    release(directory)
    assert not directory.exists()
    assert (volume / "sub/file").read_text() == "inside"


@pytest.mark.parametrize("subpath", ["out", "out/passwd", "up", "up/mounts"])
def test_no_link_leads_out_of_a_volume(volume: Path, directory: Path, subpath: str) -> None:
    escapes = "path concatenation escapes the base directory, base: "
    with pytest.raises(SubpathEscapes, match=escapes):
        prepare((point(volume, subpath),), directory, no_image)


def test_what_is_missing_in_a_volume_is_not_made(volume: Path, directory: Path) -> None:
    with pytest.raises(SubpathNotFound, match=r"cannot access path .*/missing: lstat"):
        prepare((point(volume, "missing"),), directory, no_image)


def test_an_image_is_mounted_read_only(tmp_path: Path, volume: Path, directory: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/top").write_text("t")
    layers = Overlay((str(tmp_path / "other"), str(volume)))
    whole = MountPoint(kind="image", destination="/i", source="busybox", writable=False)
    points = (whole, replace(whole, subpath="sub"))
    prepare(points, directory, lambda _: layers)
    first, second = with_sources(points, directory)
    assert (Path(first.source) / "top").read_text() == "t"
    assert (Path(second.source) / "file").read_text() == "inside"
    with pytest.raises(OSError, match="Read-only"):
        (Path(second.source) / "new").touch()


def test_a_bind_source_is_made_only_if_asked(tmp_path: Path, directory: Path) -> None:
    missing = MountPoint(kind="bind", destination="/d", source=str(tmp_path / "a/b"))
    with pytest.raises(BindSourceMissing):
        prepare((missing,), directory, no_image)
    prepare((replace(missing, create_source=True),), directory, no_image)
    assert (tmp_path / "a/b").is_dir()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "root/data").mkdir(parents=True)
    (tmp_path / "root/data/file").write_text("from the image")
    (tmp_path / "root/data").chmod(0o700)
    os.chown(tmp_path / "root/data", 5, 6)
    (tmp_path / "root/link").symlink_to("/data")
    fd = os.open(tmp_path / "root", os.O_PATH)
    yield fd
    os.close(fd)


def fresh(tmp_path: Path, destination: str) -> MountPoint:
    (tmp_path / "fresh").mkdir()
    return MountPoint(kind="volume", destination=destination, source=str(tmp_path / "fresh"))


@pytest.mark.parametrize("destination", ["/data", "/link"])
def test_an_empty_volume_takes_over_what_the_image_has(
    tmp_path: Path, root: int, destination: str
) -> None:
    copy_up(root, (fresh(tmp_path, destination),))
    assert (tmp_path / "fresh/file").read_text() == "from the image"
    found = (tmp_path / "fresh").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (5, 6, 0o700)


def test_a_used_volume_is_left_as_it_is(tmp_path: Path, root: int) -> None:
    used = fresh(tmp_path, "/data")
    (tmp_path / "fresh/mine").touch()
    copy_up(root, (used,))
    assert [path.name for path in (tmp_path / "fresh").iterdir()] == ["mine"]


def test_nothing_there_is_nothing_to_copy(tmp_path: Path, root: int) -> None:
    copy_up(root, (fresh(tmp_path, "/missing/dir"),))
    with pytest.raises(CannotMountOverFile):
        copy_up(root, (replace(fresh_again(tmp_path), destination="/data/file"),))


def fresh_again(tmp_path: Path) -> MountPoint:
    return MountPoint(kind="volume", destination="/", source=str(tmp_path / "fresh"))
