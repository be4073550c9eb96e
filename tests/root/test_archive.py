"""Layers against a real file system, GNU tar and tarfile: written, read, compressed."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from pier.archive.compression import CHUNK, decompressed, gzipped, zstandard
from pier.archive.layer import extract_layer
from pier.archive.layer_writer import write_layer
from pier.errors import PierError
from pier.oci.digest import digest_of
from tests.root.archive_support import build, directory, extract, hard, member, tar, tree


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


def test_more_directories_than_are_kept_open_can_link_to_each_other(layer: Path) -> None:
    files = [member(f"{number}/file", data=b"%d" % number) for number in range(200)]
    links = [hard(f"{number}/link", f"{199 - number}/file") for number in range(200)]
    before = len(list(Path("/proc/self/fd").iterdir()))
    extract(layer, *files, *links)
    for number in range(200):
        assert (layer / str(number) / "link").read_bytes() == b"%d" % (199 - number)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
