"""Layers and trees against a real file system, GNU tar, tarfile, and hostile archives."""

import contextlib
import io
import os
import resource
import stat
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pier.archive.changes import Change, Kind, list_changes
from pier.archive.compression import CHUNK, decompressed, gzipped, zstandard
from pier.archive.entry import DIRECTORY, REGULAR, Entry, InvalidArchive
from pier.archive.header import PAX, format_entry, padding
from pier.archive.layer import Extracted, extract_layer, inherit
from pier.archive.layer_writer import write_layer
from pier.archive.tarball import ExtractOptions, OverwriteRefused, extract_tree, write_tree
from pier.archive.walk import PathTooLong
from pier.errors import PierError
from pier.linux.mount import Overlay, open_overlay
from pier.linux.trees import remove_tree
from pier.oci.digest import digest_of

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **more: object) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def tar(*members: Member, form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def directory(name: str) -> Member:
    return member(name, tarfile.DIRTYPE)


def link(name: str, target: str) -> Member:
    return member(name, tarfile.SYMTYPE, linkname=target)


def hard(name: str, target: str) -> Member:
    return member(name, tarfile.LNKTYPE, linkname=target)


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    path = tmp_path / "world" / "layer"
    path.mkdir(parents=True)
    (tmp_path / "world" / "outside").mkdir()
    (tmp_path / "world" / "outside" / "precious").write_text("precious")
    return path


def extract(layer: Path, *members: Member) -> Extracted:
    return extract_layer([tar(*members)], layer)


def tree(root: Path) -> dict[str, tuple[int, int, int, int, object, object, str]]:
    """Everything that makes a tree: kind, mode, owner, time, content, xattrs."""
    found: dict[str, tuple[int, int, int, int, object, object, str]] = {}
    inodes: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        about = path.lstat()
        name = str(path.relative_to(root))
        content: object = about.st_rdev
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        xattrs = {
            n: os.getxattr(path, n, follow_symlinks=False)
            for n in os.listxattr(path, follow_symlinks=False)
        }
        same = inodes.setdefault(about.st_ino, name)
        found[name] = (
            about.st_mode,
            about.st_uid,
            about.st_gid,
            about.st_mtime_ns,
            content,
            xattrs,
            same,
        )
    return found


def build(root: Path) -> None:
    """One of everything a file system can hold."""
    (root / "dir" / "sub").mkdir(parents=True)
    (root / "dir" / "file").write_bytes(b"content")
    os.link(root / "dir" / "file", root / "dir" / "same")
    (root / "dir" / "link").symlink_to("../nowhere")
    (root / ("long" * 50)).write_bytes(b"x" * 3000)
    (root / "ümlaut").write_bytes(b"")
    os.mkfifo(root / "fifo", 0o620)
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "disk", stat.S_IFBLK | 0o640, os.makedev(8, 1))
    (root / "suid").write_bytes(b"#!")
    os.chown(root / "suid", 1000, 3_000_000)
    (root / "suid").chmod(0o4755)
    os.setxattr(root / "suid", "user.note", b"a\nb=\0c")
    os.setxattr(root / "suid", "security.capability", bytes.fromhex("0100000200040000" + "00" * 12))
    os.setxattr(root / "dir", "trusted.mine", b"1")
    with (root / "sparse").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"middle")
        file.truncate(3 << 20)
    os.utime(root / "dir" / "sub", ns=(1, 1_234_567_890_123_456_789))
    (root / "dir" / "sub").chmod(0o1777)
    os.utime(root / "dir" / "link", ns=(0, 5), follow_symlinks=False)
    os.utime(root / "fifo", ns=(0, -1_500_000_000))


def test_everything_survives_a_round_trip(layer: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    build(source)
    out = io.BytesIO()
    written = write_layer(source, out.write)
    extracted = extract_layer([out.getvalue()], layer)
    assert tree(layer) == tree(source)
    assert extracted.diff_id == digest_of(out.getvalue())
    assert extracted.size == written.size
    assert (layer / "sparse").stat().st_blocks * 512 < 1 << 20
    again = io.BytesIO()
    write_layer(layer, again.write)
    assert again.getvalue() == out.getvalue()


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar", "oldgnu"])
@pytest.mark.parametrize("sparse", ["", "0.0", "0.1", "1.0"])
def test_what_gnu_tar_writes_is_read(layer: Path, tmp_path: Path, form: str, sparse: str) -> None:
    if sparse and form != "pax":
        pytest.skip("sparse versions are PAX's")
    source = tmp_path / "source"
    source.mkdir()
    build(source)
    (source / ("long" * 50)).unlink()
    os.utime(source / "fifo", (1, 1))
    os.chown(source / "suid", 1000, 1000)
    (source / "suid").chmod(0o4755)
    os.setxattr(source / "suid", "user.note", b"ab")
    options = [f"--format={form}", "--numeric-owner"]
    if form != "ustar":
        (source / ("n" * 150)).write_bytes(b"long name")
        options.append("--sparse")
    if form == "pax":
        options += ["--xattrs", "--xattrs-include=*"]
    if sparse:
        options.append(f"--sparse-version={sparse}")
    archive = subprocess.run(
        ["tar", "-C", source, "-cf", "-", *options, "."], stdout=subprocess.PIPE, check=True
    ).stdout
    extract_layer([archive[i : i + 1000] for i in range(0, len(archive), 1000)], layer)
    full = form == "pax"

    def comparable(root: Path) -> dict[str, object]:
        """Seconds alone and no attributes, where the format has no place for them."""
        return {
            name: about if full else (*about[:3], about[3] // 10**9, about[4], about[6])
            for name, about in tree(root).items()
        }

    assert comparable(layer) == comparable(source)


def test_gnu_tar_and_tarfile_read_what_is_written(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    build(source)
    out = io.BytesIO()
    write_layer(source, out.write)
    subprocess.run(
        ["tar", "-C", target, "-xpf", "-", "--xattrs", "--xattrs-include=*", "--numeric-owner"],
        input=out.getvalue(),
        check=True,
    )
    assert tree(target) == tree(source)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        assert len(archive.getnames()) == len(tree(source))


@pytest.mark.parametrize("pack", [gzipped, zstandard, "bz2", "xz", "plain"])
def test_compressed_layers_have_the_same_diff_id(layer: Path, pack: object) -> None:
    plain = tar(directory("a"), member("a/b", data=os.urandom(3 * CHUNK)))
    import bz2
    import lzma

    match pack:
        case "bz2":
            chunks = [bz2.compress(plain[:5000]), bz2.compress(plain[5000:])]
        case "xz":
            chunks = [lzma.compress(plain)]
        case "plain":
            chunks = [plain]
        case _:
            assert callable(pack)
            chunks = [*pack([plain[:100_000]]), *pack([plain[100_000:]])]
    extracted = extract_layer(
        [c[i : i + 70_001] for c in chunks for i in range(0, len(c), 70_001)], layer
    )
    assert extracted.diff_id == digest_of(plain)
    assert (layer / "a" / "b").stat().st_size == 3 * CHUNK


def test_padding_after_a_gzip_stream_is_ignored_and_garbage_is_not() -> None:
    packed = b"".join(gzipped([b"data"]))
    assert b"".join(decompressed([packed + bytes(700)])) == b"data"
    for bad in (packed + b"garbage", packed[:-3], packed[:-5] + b"?" + packed[-4:]):
        with pytest.raises(PierError, match="gzip"):
            b"".join(decompressed([bad]))


# Whiteouts, in overlayfs's form.


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


def test_more_directories_than_are_kept_open_can_link_to_each_other(layer: Path) -> None:
    files = [member(f"{number}/file", data=b"%d" % number) for number in range(200)]
    links = [hard(f"{number}/link", f"{199 - number}/file") for number in range(200)]
    before = len(list(Path("/proc/self/fd").iterdir()))
    extract(layer, *files, *links)
    for number in range(200):
        assert (layer / str(number) / "link").read_bytes() == b"%d" % (199 - number)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# Hostile archives. Whatever happens, nothing outside of the layer changes.

OUT = "../outside"
HOSTILE: dict[str, list[Member]] = {
    "dots": [member(f"{OUT}/precious", data=b"x")],
    "inner dots": [directory("a"), member("a/../../outside/precious", data=b"x")],
    "absolute": [member("/ABS/outside/precious", data=b"x")],
    "link then write": [link("l", OUT), member("l/precious", data=b"x")],
    "absolute link then write": [link("l", "/ABS/outside"), member("l/precious", data=b"x")],
    "link chain": [
        link("a", "b/.."),
        directory("b"),
        link("c", "a/../../../outside"),
        member("c/precious", data=b"x"),
    ],
    "link then directory": [link("l", OUT), directory("l"), member("l/new")],
    "link then mode": [link("l", OUT), member("l", tarfile.DIRTYPE, mode=0o777)],
    "write through final link": [link("l", f"{OUT}/precious"), member("l", data=b"x")],
    "hard link out": [hard("h", f"{OUT}/precious"), member("h", data=b"x")],
    "hard link through link": [link("l", OUT), hard("h", "l/precious"), member("h", data=b"x")],
    "hard link absolute": [hard("h", "/ABS/outside/precious"), member("h", data=b"x")],
    "hard link to link": [link("l", f"{OUT}/precious"), hard("h", "l"), member("h", data=b"x")],
    "hard link to itself": [member("a", data=b"1"), hard("a", "a")],
    "hard link to a directory": [directory("d"), hard("h", "d")],
    "hard link to nothing": [hard("h", "")],
    "whiteout of dots": [directory("a"), member("a/.wh...")],
    "whiteout of dot": [member(".wh..")],
    "whiteout of nothing": [member(".wh.")],
    "whiteout through link": [link("l", OUT), member("l/.wh.precious")],
    "opaque through link": [link("l", OUT), member("l/.wh..wh..opq")],
    "whiteout dots": [member(f"{OUT}/.wh.precious")],
    "link replaced": [directory("d"), member("d/f"), link("d", OUT), member("d/precious")],
    "fd link": [link("l", "/proc/self/cwd"), member("l/x", data=b"x")],
    "root is a file": [member(".", data=b"x")],
    "root is a link": [link(".", OUT), member("precious", data=b"x")],
    "device": [member("dev", tarfile.CHRTYPE, devmajor=1, devminor=3), member("dev", data=b"x")],
    "disk": [member("sda", tarfile.BLKTYPE, devmajor=8, devminor=0)],
    "fifo": [member("f", tarfile.FIFOTYPE), member("f", data=b"x")],
    "overlay redirect": [
        member(
            "d",
            tarfile.DIRTYPE,
            pax_headers={
                "SCHILY.xattr.trusted.overlay.redirect": "/../outside",
                "SCHILY.xattr.security.selinux": "x",
            },
        )
    ],
    "long name": [member("n" * 300)],
    "deep": [member("/".join("d" * 3000))],
    "loop": [link("a", "b"), link("b", "a"), member("a/x")],
    "file as a directory": [member("f"), member("f/x")],
    "bad owner": [member("f", uid=-1)],
    "negative time": [member("f", mtime=-(10**10))],
    "huge time": [member("f", mtime=10**15)],
    "empty link": [link("l", "")],
}


def world(layer: Path) -> dict[str, object]:
    return {
        name: about for name, about in tree(layer.parent).items() if not name.startswith("layer")
    }


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("into", ["layer", "tree"])
def test_no_hostile_archive_changes_anything_outside(layer: Path, name: str, into: str) -> None:
    before = world(layer)
    absolute = str(layer.parent)[1:]
    members = []
    for info, data in HOSTILE[name]:
        info.name = info.name.replace("ABS", absolute)
        info.linkname = info.linkname.replace("ABS", absolute)
        members.append((info, data))
    archive = tar(*members, form=tarfile.GNU_FORMAT if "owner" in name else tarfile.PAX_FORMAT)
    try:
        if into == "layer":
            extract_layer([archive], layer)
        else:
            root_fd = os.open(layer, os.O_RDONLY)
            try:
                extract_tree([archive], root_fd)
            finally:
                os.close(root_fd)
    except PierError:
        pass
    assert world(layer) == before
    for path in layer.rglob("*"):
        assert not any(
            "overlay.redirect" in n or "selinux" in n
            for n in os.listxattr(path, follow_symlinks=False)
        )


@pytest.mark.parametrize(
    "name",
    [
        "dots",
        "inner dots",
        "hard link out",
        "whiteout of dots",
        "whiteout of nothing",
        "root is a file",
        "whiteout dots",
        "hard link to nothing",
    ],
)
def test_what_would_leave_the_root_is_refused(layer: Path, name: str) -> None:
    with pytest.raises(InvalidArchive):
        extract(layer, *HOSTILE[name])


NAMES = st.lists(
    st.sampled_from(
        [
            "a",
            "b",
            "..",
            ".",
            "",
            "/",
            ".wh.a",
            ".wh..wh..opq",
            ".wh...",
            "outside",
            "precious",
            "ABS",
        ]
    ),
    min_size=1,
    max_size=5,
).map("/".join)
MEMBERS = st.lists(
    st.builds(
        member,
        NAMES,
        st.sampled_from(
            [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]
        ),
        linkname=NAMES,
    ),
    min_size=1,
    max_size=8,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(MEMBERS)
def test_no_made_up_archive_changes_anything_outside(
    tmp_path_factory: pytest.TempPathFactory, members: list[Member]
) -> None:
    top = tmp_path_factory.mktemp("fuzz")
    layer = top / "layer"
    layer.mkdir()
    (top / "outside").mkdir()
    (top / "outside" / "precious").touch()
    before = world(layer)
    for info, _ in members:
        info.name = info.name.replace("ABS", str(top)[1:])
        info.linkname = info.linkname.replace("ABS", str(top))
    with contextlib.suppress(PierError):
        extract_layer([tar(*members)], layer)
    assert world(layer) == before


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_archives_are_refused_or_read_but_never_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    layer = tmp_path_factory.mktemp("damaged")
    archive = bytearray(
        tar(
            directory("d"),
            member("d/" + "n" * 120, data=b"data"),
            hard("h", "d/" + "n" * 120),
            link("l", "d"),
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(archive) - 1))
        archive[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(archive)))
    with contextlib.suppress(PierError):
        extract_layer([bytes(archive[:cut])], layer)


# Trees inside a root.

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


# docker diff.


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


def record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    return b"%d %b=%b\n" % (rest + len(str(length)), key, value)


def pax(*records: bytes) -> bytes:
    data = b"".join(records)
    header = Entry(PAX, b"pax", size=len(data), stored=len(data))
    return format_entry(header) + data + bytes(padding(len(data)))


SPARSE = record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0")


def endless(name: str) -> Iterator[bytes]:
    """Archives of a few kilobytes, once compressed, that ask for time or memory without end."""
    sized = Entry(REGULAR, b"file", size=1 << 20, stored=1 << 20)
    for number in range(100_000):
        match name:
            case "attributes of directories":
                value = b"%d" % number * 100_000
                yield pax(record(b"SCHILY.xattr.user.a", value))
                yield format_entry(Entry(DIRECTORY, b"%d" % number))
            case "records before one entry":
                yield pax(record(b"GNU.sparse.offset", b"1") * 40_000)
            case "a map without an end":
                yield pax(SPARSE, record(b"GNU.sparse.realsize", b"9"))
                yield format_entry(sized) + b"1" * (1 << 20)
            case "a size no file can have":
                yield pax(SPARSE, record(b"GNU.sparse.realsize", b"9" * 19))
                yield format_entry(sized) + b"0\n".ljust(1 << 20, b"\0")


@pytest.mark.parametrize(
    "name",
    [
        "attributes of directories",
        "records before one entry",
        "a map without an end",
        "a size no file can have",
    ],
)
def test_bombs_are_refused_in_bounded_time_and_memory(layer: Path, name: str) -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    with pytest.raises(InvalidArchive):
        extract_layer(endless(name), layer)
    assert time.process_time() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 200 * 1024
