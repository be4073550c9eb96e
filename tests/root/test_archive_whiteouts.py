"""Whiteouts in overlayfs's form, what the kernel shows of them, and changes told by them."""

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from pier.archive.changes import Change, Kind, list_changes
from pier.archive.layer import inherit
from pier.archive.layer_writer import write_layer
from pier.archive.tarball import write_tree
from pier.archive.walk import PathTooLong
from pier.linux.mount import Overlay, open_overlay
from pier.linux.trees import remove_tree
from tests.root.archive_support import directory, extract, member


def whiteout(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def opaque(path: Path) -> bool:
    return "trusted.overlay.opaque" in os.listxattr(path)


def test_whiteouts_become_overlay_marks_and_back(layer: Path, tmp_path: Path) -> None:
    extract(
        layer,
        directory("d"),
        member("d/.wh.gone"),
        directory("o"),
        member("o/.wh..wh..opq"),
        member("o/new"),
        member(".wh..wh.plnk"),
        member(".wh.top"),
    )
    assert whiteout(layer / "d" / "gone")
    assert whiteout(layer / "top")
    assert opaque(layer / "o")
    assert not opaque(layer / "d")
    out = io.BytesIO()
    write_layer(layer, out.write)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        assert archive.getnames() == [".wh.top", "d", "d/.wh.gone", "o", "o/.wh..wh..opq", "o/new"]


@pytest.mark.parametrize("late", [False, True])
def test_a_whiteout_spares_entries_of_its_own_layer(layer: Path, *, late: bool) -> None:
    marks = [member(".wh.dir"), member(".wh.file"), member(".wh.made")]
    own = [directory("dir"), member("dir/new"), member("file", data=b"new"), member("made/x")]
    extract(layer, *(own + marks if late else marks + own))
    assert (layer / "file").read_bytes() == b"new"
    assert opaque(layer / "dir")
    assert opaque(layer / "made")
    assert (layer / "dir" / "new").is_file()


def test_a_directory_in_place_of_a_file_hides_what_is_below(layer: Path) -> None:
    extract(
        layer,
        member("x", data=b"1"),
        directory("x"),
        directory("y"),
        member("y/z"),
        member("y", data=b"2"),
        directory("kept"),
        member("kept/a"),
        directory("kept"),
    )
    assert opaque(layer / "x")
    assert (layer / "y").read_bytes() == b"2"
    assert (layer / "kept" / "a").is_file()
    assert not opaque(layer / "kept")


def test_directories_without_an_entry_take_after_those_below(layer: Path, tmp_path: Path) -> None:
    lower = tmp_path / "lower"
    (lower / "usr" / "bin").mkdir(parents=True)
    (lower / "usr").chmod(0o711)
    os.chown(lower / "usr", 5, 6)
    extracted = extract(layer, member("usr/bin/x"))
    assert extracted.implied == (b"", b"usr", b"usr/bin")
    inherit(layer, [tmp_path / "world" / "outside", lower], extracted.implied)
    about = (layer / "usr").stat()
    assert (stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid) == (0o711, 5, 6)
    assert extract(layer, directory("./"), directory("usr")).implied == ()


def test_the_kernel_shows_what_the_layers_say(layer: Path, tmp_path: Path) -> None:
    """Two layers, stacked by overlayfs: what is deleted, replaced and hidden in the upper one."""
    lower = tmp_path / "lower"
    lower.mkdir()
    extract(
        lower, directory("d"), member("d/old"), member("d/kept"), directory("o"), member("o/old"),
        member("gone"), directory("r"), member("r/old"), directory("f"), member("f/old"),
    )  # fmt: skip
    extract(
        layer, member(".wh.gone"), member("d/.wh.old"), member("o/.wh..wh..opq"), member("o/new"),
        member(".wh.r"), member("r/new"), member("f", data=b"1"),
    )  # fmt: skip
    fd = open_overlay(Overlay(lower=(str(layer), str(lower))))
    out = io.BytesIO()
    try:
        write_tree(fd, b"", out.write)
    finally:
        os.close(fd)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        names = sorted(archive.getnames())
    assert names == ["d", "d/kept", "f", "o", "o/new", "r", "r/new"]


def test_changes_of_an_upper_directory_are_told(tmp_path: Path) -> None:
    upper, middle, lower = (tmp_path / name for name in ("upper", "middle", "lower"))
    extract_to = {
        lower: [
            directory("etc"),
            member("etc/hosts"),
            member("etc/passwd"),
            member("gone"),
            directory("o"),
            member("o/old"),
            member("o/kept"),
            directory("twice"),
            member("twice/deleted"),
            directory("m"),
            directory("hidden"),
            member("hidden/x"),
        ],
        middle: [
            directory("etc"),
            member("etc/new"),
            member("twice/.wh.deleted"),
            member(".wh.hidden"),
        ],
        upper: [
            directory("etc"),
            member("etc/passwd"),
            member("etc/added"),
            member(".wh.gone"),
            directory("o"),
            member("o/.wh..wh..opq"),
            member("o/kept"),
            member("o/fresh"),
            directory("twice"),
            member("twice/deleted"),
            directory("m"),
            member("m/hosts"),
            directory("hidden"),
            directory("d"),
            member("d/e"),
        ],
    }
    for path, members in extract_to.items():
        path.mkdir()
        extract(path, *members)
    found = list_changes(upper, [middle, lower], ignore={b"m/hosts"})
    expected = [
        ("/d", 1),
        ("/d/e", 1),
        ("/etc", 0),
        ("/etc/added", 1),
        ("/etc/passwd", 0),
        ("/gone", 2),
        ("/hidden", 1),
        ("/o", 0),
        ("/o/fresh", 1),
        ("/o/kept", 1),
        ("/o/old", 2),
        ("/twice", 0),
        ("/twice/deleted", 1),
    ]
    assert found == [Change(path, Kind(kind)) for path, kind in expected]


def test_a_tree_deeper_than_any_path_is_told(layer: Path) -> None:
    fd = os.open(layer, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(600):
        os.mkdir("a" * 8, dir_fd=fd)
        below = os.open("a" * 8, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    with pytest.raises(PathTooLong, match="too long"):
        write_layer(layer, lambda _: None)
    with pytest.raises(PathTooLong, match="too long"):
        list_changes(layer, [])
    root_fd = os.open(layer.parent, os.O_RDONLY | os.O_DIRECTORY)
    remove_tree(layer.name, dir_fd=root_fd)
    os.close(root_fd)
    assert not layer.exists()
