"""Copies and contexts: names, what is left out, and what a hostile archive may not do."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from pier.cli.build_context import open_context
from pier.cli.copy_plan import Place, plan_copy, split_argument, split_entry
from pier.cli.extraction import UnsafeName, extract
from pier.cli.faults import Fault
from pier.cli.ignore_file import Ignored, parse_ignore_file
from pier.cli.tar_stream import END, TarStream


def same(name: str) -> str:
    return name


@pytest.mark.parametrize(
    ("patterns", "ignored", "kept"),
    [
        ("*.log", ["a.log"], ["d/a.log", "a.txt"]),
        ("**/*.log", ["a.log", "d/e/a.log"], ["a.txt"]),
        ("dir", ["dir", "dir/x", "dir/y/z"], ["directory", "x/dir"]),
        ("/dir/", ["dir", "dir/x"], ["x/dir"]),
        ("*\n!keep", ["a", "b/c"], ["keep", "keep/x"]),
        ("a?c\n[d-f].txt", ["abc", "e.txt"], ["ac", "a/c", "g.txt"]),
        ("x/**", ["x/a", "x/a/b"], ["x"]),
        ("# c\n\n./a/../b", ["b"], ["a", "# c"]),
        ("foo\n!foo/bar\nfoo/bar/baz", ["foo/x", "foo/bar/baz"], ["foo/bar", "foo/bar/y"]),
    ],
)
def test_ignored_files_stay_at_home(patterns: str, ignored: list[str], kept: list[str]) -> None:
    left_out = Ignored(parse_ignore_file(patterns))
    assert [path for path in ignored if not left_out(path)] == []
    assert [path for path in kept if left_out(path)] == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("web:/a", ("web", "/a")),
        ("/a:b", ("", "/a:b")),
        ("./a:b", ("", "./a:b")),
        ("plain", ("", "plain")),
        ("-", ("", "-")),
    ],
)
def test_cp_arguments_are_local_or_in_a_container(text: str, parts: tuple[str, str]) -> None:
    assert split_argument(text) == parts


def test_paths_end_in_a_name_or_in_a_dot() -> None:
    assert split_entry("/a/b") == ("/a", "b")
    assert split_entry("/a/b/") == ("/a", "b")
    assert split_entry("/a/.") == ("/a", ".")
    assert split_entry("/") == ("/", "/")
    assert split_entry("a") == (".", "a")


@pytest.mark.parametrize(
    ("source", "target", "directory", "name"),
    [
        (("/f", False), ("/d", True, True), "/d", "f"),
        (("/f", False), ("/g", True, False), "/", "g"),
        (("/f", False), ("/new", False, False), "/", "new"),
        (("/s", True), ("/new", False, False), "/", "new"),
        (("/s/.", True), ("/new", False, False), "/", "new"),
    ],
)
def test_a_copy_gets_its_place_and_its_name(
    source: tuple[str, bool], target: tuple[str, bool, bool], directory: str, name: str
) -> None:
    path, is_directory = source
    plan = plan_copy(
        Place(path, exists=True, directory=is_directory),
        Place(target[0], exists=target[1], directory=target[2]),
    )
    assert plan.directory == directory
    assert plan.rename(split_entry(path)[1]) == name


def test_a_directory_does_not_replace_a_file() -> None:
    with pytest.raises(Fault, match="cannot copy directory"):
        plan_copy(
            Place("/d", exists=True, directory=True), Place("/f", exists=True, directory=False)
        )


Member = tuple[str, bytes, str | bytes]  # a name, a kind, a link's target or a file's content


def archive(*members: Member) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o640
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content
                tar.addfile(info)
    return io.BytesIO(buffer.getvalue())


def read(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


FILE, DIR = tarfile.REGTYPE, tarfile.DIRTYPE
SYMLINK, HARDLINK = tarfile.SYMTYPE, tarfile.LNKTYPE


def test_an_archive_is_unpacked_with_modes_links_and_times(tmp_path: Path) -> None:
    stream = archive(
        ("d", DIR, ""), ("d/f", FILE, b"x"), ("d/h", HARDLINK, "d/f"), ("d/s", SYMLINK, "../up")
    )
    extract(stream, str(tmp_path), same)
    assert (tmp_path / "d/f").read_bytes() == b"x"
    assert (tmp_path / "d/f").stat().st_mode & 0o7777 == 0o640
    assert (tmp_path / "d/h").stat().st_ino == (tmp_path / "d/f").stat().st_ino
    assert (tmp_path / "d/s").readlink().as_posix() == "../up"
    assert (tmp_path / "d").stat().st_mtime == 0


@pytest.mark.parametrize(
    "members",
    [
        [("../evil", FILE, b"x")],
        [("a/../../evil", FILE, b"x")],
        [("out", SYMLINK, ".."), ("out/evil", FILE, b"x")],
        [("out", SYMLINK, "/tmp"), ("out/evil", DIR, "")],
        [("link", HARDLINK, "../secret")],
        [("out", SYMLINK, ".."), ("link", HARDLINK, "out/secret")],
    ],
)
def test_nothing_leads_out_of_the_destination(members: list[Member], tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_text("s")
    with pytest.raises(UnsafeName):
        extract(archive(*members), str(inside), same)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inside", "secret"]
    assert (tmp_path / "secret").stat().st_nlink == 1


def test_an_absolute_name_is_below_the_destination(tmp_path: Path) -> None:
    extract(archive(("/etc/evil", FILE, b"x")), str(tmp_path), same)
    assert (tmp_path / "etc/evil").exists()


def test_a_link_in_the_way_is_replaced_not_followed(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_text("s")
    (inside / "f").symlink_to("../secret")
    extract(archive(("f", FILE, b"new")), str(inside), same)
    assert (tmp_path / "secret").read_text() == "s"
    assert (inside / "f").read_bytes() == b"new"
    assert not (inside / "f").is_symlink()


def test_directories_and_files_do_not_replace_each_other(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_text("")
    with pytest.raises(Fault, match="cannot overwrite directory"):
        extract(archive(("d", FILE, b"x")), str(tmp_path), same)
    with pytest.raises(Fault, match="cannot overwrite non-directory"):
        extract(archive(("f", DIR, "")), str(tmp_path), same)


def test_a_tree_becomes_an_archive_tarfile_understands(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"x" * 1000)
    os.link(tmp_path / "d/f", tmp_path / "d/g")
    (tmp_path / ("n" * 150)).symlink_to("d")
    os.mkfifo(tmp_path / "p")
    data = b"".join(TarStream(owner=0).tree(str(tmp_path), "top")) + END
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {item.name: item for item in tar}
        assert found["top/d/g"].linkname == "top/d/f"
        assert found[f"top/{'n' * 150}"].linkname == "d"
        assert found["top/p"].isfifo()
        assert read(tar, "top/d/f") == b"x" * 1000
        assert {item.uid for item in found.values()} == {0}


def test_a_dockerfile_from_elsewhere_is_sent_along(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "a").write_text("a")
    (tmp_path / "Elsewhere").write_text("FROM scratch")
    opened = open_context(str(context), str(tmp_path / "Elsewhere"), io.BytesIO())
    assert opened.dockerfile.startswith(".dockerfile.")
    with tarfile.open(fileobj=io.BytesIO(b"".join(opened.chunks or ()))) as tar:
        assert read(tar, opened.dockerfile) == b"FROM scratch"
        assert "a" in tar.getnames()


def test_a_tar_on_stdin_is_the_context(tmp_path: Path) -> None:
    data = archive(("Dockerfile", FILE, b"FROM scratch")).getvalue()
    opened = open_context("-", "", io.BytesIO(data))
    assert b"".join(opened.chunks or ()) == data


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere", 'path "nowhere" not found'), ("file", "context must be a directory")],
)
def test_a_context_that_is_none_is_refused(
    path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(Fault, match=message):
        open_context(path, "", io.BytesIO())
