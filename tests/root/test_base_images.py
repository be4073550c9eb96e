"""Base images from the machine itself."""

import asyncio
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.events import Events
from pier.images.base import BUSYBOX, busybox_archive, host_codename, is_base, make_base
from pier.images.store import Images
from pier.oci.reference import parse_reference
from pier.store.content import ContentStore
from pier.store.database import Database
from pier.store.leases import Leases
from pier.store.snapshots import Snapshotter


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Images]:
    database = Database(tmp_path / "pier.db")
    snapshotter = Snapshotter(tmp_path / "snapshots", database)
    content = ContentStore(tmp_path / "content", database)
    yield Images(database, content, snapshotter, Leases(database), Events())
    snapshotter.close()
    database.close()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("busybox", True), ("busybox:latest", True), ("busybox:1.36", False), ("debian", True),
     ("debian:trixie", True), ("debian:bookworm", False), ("me/busybox", False),
     ("busybox@sha256:" + "a" * 64, False), ("localhost/busybox", False), ("alpine", False)],
)  # fmt: skip
def test_only_these_very_names_are_made(name: str, *, expected: bool) -> None:
    assert is_base(parse_reference(name), "trixie") is expected


def test_another_systems_codename_is_not_debians() -> None:
    assert host_codename('ID=debian\nVERSION_CODENAME="trixie"\n') == "trixie"
    assert host_codename("ID=ubuntu\nVERSION_CODENAME=noble\n") == "bookworm"
    assert host_codename("") == "bookworm"


def test_the_busybox_archive_is_reproducible() -> None:
    archive = busybox_archive(b"binary", ["sh", "ls", "busybox"], 10**18)
    assert archive == busybox_archive(b"binary", ["ls", "busybox", "sh"], 10**18)
    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        assert found.getmember("bin/sh").linkname == "busybox"
        assert found.getmember("bin/busybox").isreg()
        assert found.getmember("tmp").mode == 0o1777
        assert {member.mtime for member in found} == {10**9}


@pytest.mark.skipif(not BUSYBOX.exists(), reason="busybox-static is not installed")
def test_busybox_is_made_of_the_hosts(images: Images) -> None:
    lines: list[str] = []
    image = asyncio.run(make_base(images, "busybox", lines.append))
    assert image is not None
    assert image.tags == ("docker.io/library/busybox:latest",)
    assert image.config.run.cmd == ("sh",)
    assert image.created_ns == int(BUSYBOX.stat().st_mtime) * 10**9
    again = asyncio.run(make_base(images, "busybox:latest", lines.append))
    assert again == image
    root = images.snapshotter.directory(image.chain_id)
    assert (root / "bin" / "sh").readlink() == Path("busybox")
    assert lines[0].startswith("No registry")
    assert asyncio.run(make_base(images, "alpine", lines.append)) is None
