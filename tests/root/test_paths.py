import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.linux.paths import clean, makedirs_in_root, open_in_root, resolve_in_root


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_text("secret")
    fd = os.open(tmp_path / "root", os.O_RDONLY)
    yield fd
    os.close(fd)


def test_links_and_dots_end_at_the_root(root: int, tmp_path: Path) -> None:
    (tmp_path / "root" / "etc").mkdir()
    (tmp_path / "root" / "etc" / "up").symlink_to("../../../secret")
    (tmp_path / "root" / "secret").write_text("mine")
    for path in ("etc/up", "/etc/up", "../../secret", "/etc/../../secret"):
        fd = open_in_root(root, path, os.O_RDONLY)
        assert os.read(fd, 10) == b"mine"
        os.close(fd)
    assert resolve_in_root(root, "etc/up") == "/secret"
    assert resolve_in_root(root, "/") == "/"


def test_magic_links_are_refused(root: int) -> None:
    host = os.open("/", os.O_RDONLY)
    with pytest.raises(OSError, match="symbolic links"):
        open_in_root(host, f"proc/self/fd/{root}", os.O_RDONLY)
    os.close(host)
    with pytest.raises(OSError, match="NUL"):
        open_in_root(root, "a\0b", os.O_RDONLY)


def test_directories_are_made_inside_even_through_dangling_links(root: int, tmp_path: Path) -> None:
    (tmp_path / "root" / "abs").symlink_to("/made/here")
    (tmp_path / "root" / "loop").symlink_to("loop")
    for path in ("a/b/c", "/a/b/c", "abs/x", "a/../../up/y", ""):
        os.close(makedirs_in_root(root, path))
    assert (tmp_path / "root" / "made" / "here" / "x").is_dir()
    assert (tmp_path / "root" / "up" / "y").is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "secret"]
    with pytest.raises(OSError, match="symbolic links"):
        makedirs_in_root(root, "loop/x")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"a/b", b"a/b"),
        (b"./a//b/", b"a/b"),
        (b"/a", b"a"),
        (b"a/../b", b"b"),
        (b"../b", None),
        (b"/../b", b"b"),
        (b"a/../../b", None),
        (b".", b""),
        (b"", b""),
        (b"..", None),
        (b"a/..", b""),
        (b"a/.hidden", b"a/.hidden"),
        (b"a./b", b"a./b"),
        (b"a..", b"a.."),
        (b"...", b"..."),
        (b"a/...", b"a/..."),
    ],
)
def test_names_are_cleaned_by_the_letters(path: bytes, expected: bytes | None) -> None:
    assert clean(path) == expected
