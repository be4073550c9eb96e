"""Trees inside a root: exported, copied out of it and into it."""

import contextlib
import io
import os
import stat
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pier.archive.tarball import ExtractOptions, OverwriteRefused, extract_tree, write_tree
from pier.errors import PierError
from tests.root.archive_support import build, directory, link, member, tar, tree, world

Writer = Callable[[bytes], int]


def test_export_names_members_by_their_path(layer: Path) -> None:
    build(layer)
    out = io.BytesIO()
    root_fd = os.open(layer, os.O_RDONLY)
    write_tree(root_fd, b"", out.write)
    os.close(root_fd)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        names = archive.getnames()
    assert "dir/file" in names
    assert len(names) == len(tree(layer))


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        (b"/dir", b"dir", ["dir", "dir/file", "dir/link", "dir/same", "dir/sub"]),
        (b"dir/", b".", [".", "./file", "./link", "./same", "./sub"]),
        (b"dir/file", b"renamed", ["renamed"]),
        (b"dir/link", None, ["link"]),
    ],
)
def test_cp_takes_files_and_directories(
    layer: Path, path: bytes, name: bytes | None, expected: list[str]
) -> None:
    build(layer)
    out = io.BytesIO()
    root_fd = os.open(layer, os.O_RDONLY)
    write_tree(root_fd, path, out.write, name=name)
    os.close(root_fd)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        assert archive.getnames() == expected


def test_an_archive_goes_into_an_existing_tree(layer: Path) -> None:
    (layer / "real").mkdir(mode=0o700)
    (layer / "to").symlink_to("/real")
    (layer / "real" / "old").write_text("old")
    (layer / "real" / ".wh.name").touch()
    os.setxattr(layer / "real", "user.kept", b"1")
    root_fd = os.open(layer, os.O_RDONLY)
    archive = tar(
        directory("."),
        member("old", data=b"new"),
        directory("sub"),
        member("sub/x", data=b"123"),
        member(".wh.literal"),
        link("lib", "sub"),
        member("lib/y"),
    )
    size = extract_tree([archive], root_fd, b"to", ExtractOptions(owner=(7, 8)))
    assert size == 6
    assert (layer / "real" / "old").read_text() == "new"
    assert (layer / "real" / "old").stat().st_uid == 7
    assert (layer / "real" / "sub" / "y").is_file()
    assert (layer / "real" / ".wh.literal").is_file()
    assert stat.S_IMODE((layer / "real").stat().st_mode) == 0o700
    with pytest.raises(NotADirectoryError):
        extract_tree([archive], root_fd, b"real/old")
    kinds = ExtractOptions(keep_kinds=True)
    with pytest.raises(OverwriteRefused, match='cannot overwrite directory "sub" with non-dir'):
        extract_tree([tar(member("sub"))], root_fd, b"real", kinds)
    with pytest.raises(OverwriteRefused, match='non-directory "old" with directory'):
        extract_tree([tar(directory("old"))], root_fd, b"real", kinds)
    os.close(root_fd)


def test_a_tree_that_changes_meanwhile_leads_nowhere_else(layer: Path) -> None:
    """A container swaps a directory for a link to the outside, again and again."""
    before = world(layer)
    (layer / "d").mkdir()
    (layer / "l").symlink_to(layer.parent / "outside")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for source, target in (("d", "t"), ("l", "d"), ("d", "l"), ("t", "d")):
                with contextlib.suppress(OSError):
                    (layer / source).rename(layer / target)

    swapper = threading.Thread(target=swap)
    root_fd = os.open(layer, os.O_RDONLY)
    archive = tar(*(member(f"d/{number}", data=b"x") for number in range(20)))
    swapper.start()
    try:
        for _ in range(50):
            with contextlib.suppress(PierError):
                extract_tree([archive], root_fd)
            out = io.BytesIO()
            with contextlib.suppress(OSError):
                write_tree(root_fd, b"d", out.write, name=b"d")
            assert b"precious" not in out.getvalue()
    finally:
        stop.set()
        swapper.join()
        os.close(root_fd)
    assert world(layer) == before
