"""Whatever a hostile archive holds, nothing outside changes, and its cost bounded."""

import contextlib
import os
import resource
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pier.archive.compression import BrokenStream, decompressed, gzipped, zstandard
from pier.archive.entry import DIRECTORY, REGULAR, Entry, InvalidArchive
from pier.archive.header import PAX, format_entry, padding
from pier.archive.layer import extract_layer
from pier.archive.tarball import extract_tree
from pier.errors import PierError
from tests.root.archive_support import Member, directory, extract, hard, link, member, tar, world
from tests.root.hostile_archives import HOSTILE


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


@pytest.mark.parametrize("kind", ["gzip", "zstd", "skippable"])
def test_members_without_content_are_not_read_for_ever(kind: str) -> None:
    empty = {
        "gzip": b"".join(gzipped([])),
        "zstd": b"".join(zstandard([])),
        "skippable": b"\x50\x2a\x4d\x18" + bytes(4),
    }[kind]
    begun = time.process_time()
    with pytest.raises(BrokenStream, match="too many empty members"):
        for _ in decompressed([empty * (4 << 20 >> 4)]):
            pass
    assert time.process_time() - begun < 2


def test_many_small_members_are_one_stream() -> None:
    """eStargz has one for each file; bgzip and pigz end with an empty one."""
    member = b"".join(gzipped([bytes(512)]))
    stream = member * 4000 + b"".join(gzipped([])) + bytes(2 << 20)
    assert sum(map(len, decompressed([stream]))) == 4000 * 512
    pieces = [stream[place : place + 777] for place in range(0, len(stream), 777)]
    assert sum(map(len, decompressed(pieces))) == 4000 * 512
