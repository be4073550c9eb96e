"""Log files that rotate, on a real file system."""

import gzip
import json
import resource
from pathlib import Path
from typing import Any

import pytest

from pier.containers.log_records import decode
from pier.runtime.log_file import LogFile
from pier.runtime.log_format import STDOUT, decode_blocks
from pier.runtime.orders import LogOrder
from tests.daemon import wait_until


def write(path: Path, count: int, driver: str = "json-file", **options: Any) -> None:
    log = LogFile(LogOrder(driver, str(path), **options))
    for number in range(count):
        log.write(STDOUT, b"line %d\n" % number)
    log.close()
    assert log.lost == 0


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def numbers(path: Path) -> list[int]:
    data = path.read_bytes()
    lines = (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
    return [int(json.loads(line)["log"].split()[1]) for line in lines]


def test_without_a_limit_everything_is_in_one_file(tmp_path: Path) -> None:
    write(tmp_path / "log", 100)
    write(tmp_path / "log", 100)
    assert numbers(tmp_path / "log") == [*range(100), *range(100)]
    assert names_in(tmp_path) == ["log"]
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("compress", [False, True])
def test_rotation_keeps_the_newest_files_in_order(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "log"
    write(path, 200, max_size_bytes=2000, max_files=3, compress=compress)
    suffix = ".gz" if compress else ""
    names = ["log", f"log.1{suffix}", f"log.2{suffix}"]
    wait_until(lambda: names_in(tmp_path) == names, "the compressor has ended")
    kept = [n for name in reversed(names) for n in numbers(tmp_path / name)]
    assert kept == list(range(kept[0], 200))
    assert 2000 <= (tmp_path / "log.1").stat().st_size < 2200 if not compress else True


def test_one_file_begins_again(tmp_path: Path) -> None:
    write(tmp_path / "log", 200, max_size_bytes=2000, max_files=1)
    assert names_in(tmp_path) == ["log"]
    assert numbers(tmp_path / "log")[-1] == 199


def test_a_chunk_larger_than_the_limit_is_cut_between_records(tmp_path: Path) -> None:
    log = LogFile(LogOrder("json-file", str(tmp_path / "log"), max_size_bytes=5000, max_files=50))
    log.write(STDOUT, b"".join(b"line %d\n" % number for number in range(1000)))
    log.close()
    files = sorted(tmp_path.iterdir(), key=lambda path: -int(path.suffix[1:] or 0))
    assert [n for path in files for n in numbers(path)] == list(range(1000))
    assert all(path.stat().st_size < 5200 for path in files)


def test_local_blocks_rotate_whole(tmp_path: Path) -> None:
    write(tmp_path / "log", 200, driver="local", max_size_bytes=1000, max_files=100)
    files = sorted(tmp_path.iterdir(), key=lambda path: -int(path.suffix[1:] or 0))
    blocks = [block for path in files for block in decode_blocks(path.read_bytes())]
    assert [block.data for block in blocks] == [b"line %d\n" % number for number in range(200)]


def test_a_full_disk_loses_records_and_nothing_else() -> None:
    log = LogFile(LogOrder("json-file", "/dev/full"))
    log.write(STDOUT, b"lost\n")
    assert log.lost == 1
    log.close()


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_what_a_full_disk_cuts_spoils_nothing_else_and_is_counted(
    tmp_path: Path, driver: str
) -> None:
    path = tmp_path / "log"
    log = LogFile(LogOrder(driver, str(path)))
    log.write(STDOUT, b"before\n")
    size = path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
    try:
        log.write(STDOUT, b"this is too long\nand this\n")
        log.write(STDOUT, b"this too\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert log.lost == 3
    assert path.stat().st_size == size
    log.write(STDOUT, b"after\n")
    log.close()
    data = path.read_bytes()
    told = data.index(b"pier: 3 lines were lost here: File too large")
    assert data.index(b"before") < told < data.index(b"after")
    assert b"this is" not in data
    if driver == "local":
        assert [block.stream for block in decode_blocks(data)] == ["stdout", "stderr", "stdout"]


def test_a_log_that_is_closed_says_what_it_lost(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogFile(LogOrder("json-file", str(path)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        log.write(STDOUT, b"lost\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log.close()
    assert "pier: 1 line was lost here" in json.loads(path.read_text())["log"]


@pytest.mark.parametrize("torn", [b"\0" * 100, b'{"log":"ha'])
@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_what_a_loss_of_power_left_of_a_record_spoils_no_other(
    tmp_path: Path, driver: str, torn: bytes
) -> None:
    path = tmp_path / "log"
    for words in (b"one\n", b"two\n"):
        log = LogFile(LogOrder(driver, str(path)))
        log.write(STDOUT, words)
        log.close()
        with path.open("ab") as file:
            file.write(torn)
    if driver == "local":
        records = decode("local", path.read_bytes()).records
        assert [record.data for record in records] == [b"one\n", b"two\n"]
    else:
        lines = path.read_bytes().splitlines()
        assert [json.loads(line)["log"] for line in lines[::2]] == ["one\n", "two\n"]
