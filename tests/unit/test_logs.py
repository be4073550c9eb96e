"""Reading logs: formats, tails, filters, rotation, following. The writer is the monitor's own."""

import asyncio
import gzip
import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.containers.log_files import LogFiles
from pier.containers.log_reading import follow, read_all
from pier.containers.log_records import Filter, Record, decode, format_details, full_width, moment
from pier.containers.requests import LogChunk, LogQuery
from pier.runtime.log_file import LogFile as Writer
from pier.runtime.log_file import compress
from pier.runtime.log_format import LINE_LIMIT, Blocks, JsonLines
from pier.runtime.orders import LogOrder

BOTH = LogQuery(stdout=True, stderr=True)
DRIVERS = ("json-file", "local")


def query(**more: object) -> LogQuery:
    return LogQuery(**{"stdout": True, "stderr": True, **more})  # type: ignore[arg-type]  # a table of keywords


def collect(chunks: AsyncIterator[LogChunk]) -> bytes:
    async def all_() -> bytes:
        return b"".join([chunk.data async for chunk in chunks])

    return asyncio.run(all_())


def write(path: Path, driver: str, *outputs: tuple[str, bytes, int]) -> None:
    encoder = JsonLines({"tag": "a b", "x": "1"}) if driver == "json-file" else Blocks()
    with path.open("ab") as file:
        for stream, data, time_ns in outputs:
            file.write(encoder.encode(stream, data, time_ns))
        for stream in ("stdout", "stderr"):
            file.write(encoder.finish(stream, 9))


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def log(tmp_path: Path, driver: str) -> Path:
    path = tmp_path / "log"
    write(
        path, driver,
        ("stdout", b"one\ntwo\n", 1_000_000_000),
        ("stderr", b"three\n", 2_000_000_000),
        ("stdout", b"four\nfive\n", 3_500_000_000),
        ("stdout", b"six", 4_000_000_000),
    )  # fmt: skip
    return path


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (BOTH, b"one\ntwo\nthree\nfour\nfive\nsix"),
        (query(stdout=False), b"three\n"),
        (query(stderr=False, tail=5), b"two\nfour\nfive\nsix"),
        (query(tail=0), b""),
        (query(tail=1), b"six"),
        (query(tail=2), b"five\nsix"),
        (query(tail=100), b"one\ntwo\nthree\nfour\nfive\nsix"),
        (query(since_ns=2_000_000_000, until_ns=3_500_000_000), b"three\nfour\nfive\n"),
    ],
)
def test_what_is_asked_for_is_shown(
    log: Path, driver: str, asked: LogQuery, expected: bytes
) -> None:
    if asked.until_ns == 3_500_000_000:
        log.unlink()
        write(
            log, driver, ("stdout", b"one\n", 1), ("stderr", b"three\n", 2_000_000_000),
            ("stdout", b"four\nfive\n", 3_500_000_000), ("stdout", b"late\n", 3_500_000_001),
        )  # fmt: skip
    assert collect(read_all(log, driver, asked)) == expected


def test_timestamps_have_nine_digits(tmp_path: Path, driver: str) -> None:
    write(tmp_path / "log", driver, ("stdout", b"a\nb\n", 3_500_000_000))
    assert collect(read_all(tmp_path / "log", driver, query(timestamps=True))) == (
        b"1970-01-01T00:00:03.500000000Z a\n1970-01-01T00:00:03.500000000Z b\n"
    )


def test_details_come_between_moment_and_line(tmp_path: Path) -> None:
    write(tmp_path / "log", "json-file", ("stdout", b"a\n", 1))
    asked = query(timestamps=True, details=True)
    assert collect(read_all(tmp_path / "log", "json-file", asked)) == (
        b"1970-01-01T00:00:00.000000001Z tag=a+b,x=1 a\n"
    )
    assert format_details({"b": "=", "a": "ü,~"}) == "a=%C3%BC%2C~,b=%3D"


def test_a_log_that_does_not_exist_is_empty(tmp_path: Path, driver: str) -> None:
    assert collect(read_all(tmp_path / "log", driver, BOTH)) == b""
    assert collect(read_all(tmp_path / "log", driver, query(tail=5))) == b""


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("tail", [None, 1, 2, 3, 5, 8, 50])
def test_rotated_files_are_read_in_order(
    tmp_path: Path, driver: str, tail: int | None, compress: bool
) -> None:
    for number in (3, 2, 1):
        path = tmp_path / f"log.{number}"
        write(path, driver, ("stdout", b"%d-a\n%d-b\n" % (number, number), number))
        if compress and number > 1:
            (tmp_path / f"log.{number}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    write(tmp_path / "log", driver, ("stdout", b"0-a\n0-b\n", 9))
    expected = b"3-a\n3-b\n2-a\n2-b\n1-a\n1-b\n0-a\n0-b\n".splitlines(keepends=True)
    found = collect(read_all(tmp_path / "log", driver, query(tail=tail)))
    assert found == b"".join(expected if tail is None else expected[-tail:])


def test_a_long_log_is_read_from_its_end(tmp_path: Path, driver: str) -> None:
    lines = [b"%07d\n" % number for number in range(30_000)]
    outputs = [("stdout", b"".join(lines[at : at + 100]), 5) for at in range(0, 30_000, 100)]
    write(tmp_path / "log", driver, *outputs)
    for tail in (1, 999, 12_345):
        found = collect(read_all(tmp_path / "log", driver, query(tail=tail)))
        assert found == b"".join(lines[-tail:])


def test_damage_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, "json-file", ("stdout", b"before\n", 1))
    with path.open("ab") as file:
        file.write(b"\0\0\0{half\n")
    write(path, "json-file", ("stdout", b"after\n", 2))
    assert collect(read_all(path, "json-file", BOTH)) == b"before\nafter\n"


class Following:
    """`docker logs -f`, beside a writer."""

    def __init__(self, path: Path, driver: str, asked: LogQuery) -> None:
        self.seen = b""
        self.ended = asyncio.Event()
        self._more = asyncio.Condition()
        self._chunks = follow(path, driver, asked, self.ended.wait)

    async def run(self) -> None:
        async for chunk in self._chunks:
            async with self._more:
                self.seen += chunk.data
                self._more.notify_all()

    async def until(self, condition: Callable[[bytes], bool]) -> None:
        async with asyncio.timeout(10), self._more:
            await self._more.wait_for(lambda: condition(self.seen))


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("files", [1, 3])
def test_following_survives_rotation_and_ends_with_the_container(
    tmp_path: Path, driver: str, files: int, compress: bool
) -> None:
    path = tmp_path / "log"
    order = LogOrder(driver, str(path), {}, 2000, files, compress)

    async def life() -> bytes:
        writer = Writer(order)
        writer.write("stdout", b"first\n")
        following = Following(path, driver, BOTH)
        async with asyncio.TaskGroup() as group:
            group.create_task(following.run())
            await following.until(lambda seen: seen == b"first\n")
            for number in range(60):
                line = b"%03d %s\n" % (number, b"x" * 90)
                writer.write("stderr", line)
                await following.until(lambda seen, line=line: seen.endswith(line))  # type: ignore[misc]
            writer.write("stdout", b"last\nunended")
            writer.close()
            following.ended.set()
        return following.seen

    seen = asyncio.run(life())
    numbers = [int(line[:3]) for line in seen.splitlines() if line[:1].isdigit()]
    assert numbers == list(range(60))
    assert seen.endswith(b"last\nunended")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for trusted attributes")
@pytest.mark.parametrize("compress", [False, True])
def test_who_is_slower_than_rotation_hears_how_much_was_missed(
    tmp_path: Path, driver: str, compress: bool
) -> None:
    """Three files are kept: what is in them is shown, all before is counted."""
    path = tmp_path / "log"
    order = LogOrder(driver, str(path), {}, 2000, 3, compress)
    lines = [b"%03d %s\n" % (number, b"x" * 90) for number in range(100)]

    async def life() -> bytes:
        writer = Writer(order)
        writer.write("stdout", b"first\n")
        ended = asyncio.Event()
        chunks = follow(path, driver, BOTH, ended.wait)
        assert (await anext(chunks)).data == b"first\n"
        for line in lines:  # while nobody reads
            writer.write("stdout", line)
        writer.close()
        ended.set()
        return b"".join([chunk.data async for chunk in chunks])

    seen = asyncio.run(life()).splitlines(keepends=True)
    while seen[0] in lines:  # in the file that was open
        lines.remove(seen.pop(0))
    found = re.fullmatch(rb"pier: (\d+) bytes of this log were rotated away before .*\n", seen[0])
    assert found
    assert seen[1:] == lines[-len(seen) + 1 :]
    missed = len(lines) - len(seen) + 1
    assert missed > 10
    record = (JsonLines({}) if driver == "json-file" else Blocks()).encode("stdout", lines[0], 1)
    assert int(found[1]) == pytest.approx(missed * len(record), abs=10 * missed)
    assert len(seen) > 20  # not of the last file only


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for trusted attributes")
def test_a_rotation_that_is_half_done_shows_nothing_twice(tmp_path: Path, driver: str) -> None:
    """The file that was read is compressed before the next one is there."""
    path = tmp_path / "log"
    writer = Writer(LogOrder(driver, str(path)))
    writer.write("stdout", b"first\n")
    writer.close()
    files = LogFiles(path, driver)
    assert files.read() is not None
    assert files.read() is None
    size = path.stat().st_size
    path.rename(f"{path}.1")
    compress(f"{path}.1")
    assert files.read() is None
    path.touch()
    os.setxattr(path, "trusted.pier.begin", b"%d" % size)
    write(path, driver, ("stdout", b"second\n", 1))
    assert [record.data for record in files.read() or ()] == [b"second\n"]
    files.close()


def test_a_file_on_its_way_to_the_next_number_hides_no_older_one(
    tmp_path: Path, driver: str
) -> None:
    path = tmp_path / "log"
    write(tmp_path / "log.2", driver, ("stdout", b"old\n", 1))
    write(path, driver, ("stdout", b"new\n", 2))
    assert collect(read_all(path, driver, BOTH)) == b"old\nnew\n"


def test_following_ends_when_until_has_passed(tmp_path: Path, driver: str) -> None:
    write(tmp_path / "log", driver, ("stdout", b"old\n", 1))

    async def life() -> bytes:
        following = Following(tmp_path / "log", driver, query(until_ns=5))
        async with asyncio.timeout(5):
            await following.run()
        return following.seen

    assert asyncio.run(life()) == b"old\n"


def test_a_reader_that_leaves_closes_everything(tmp_path: Path, driver: str) -> None:
    write(tmp_path / "log", driver, ("stdout", b"old\n", 1))

    async def life() -> None:
        chunks = follow(tmp_path / "log", driver, BOTH, asyncio.Event().wait)
        assert (await anext(chunks)).data == b"old\n"
        await chunks.aclose()

    asyncio.run(life())


@given(st.binary(max_size=300))
def test_any_file_can_be_read(data: bytes) -> None:
    for name in DRIVERS:
        decoded = decode(name, data)
        Filter(query(timestamps=True, details=True)).chunks(decoded.records)


@given(st.integers(0, 2**62))
def test_moments_compare_as_times_do(time_ns: int) -> None:
    assert moment(time_ns) < moment(time_ns + 1) or len(moment(time_ns)) != len(moment(time_ns + 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2006-01-02T15:04:05Z", "2006-01-02T15:04:05.000000000Z"),
        ("2006-01-02T15:04:05.12Z", "2006-01-02T15:04:05.120000000Z"),
        ("2006-01-02T15:04:05.123456789Z", "2006-01-02T15:04:05.123456789Z"),
    ],
)
def test_moments_have_one_width(text: str, expected: str) -> None:
    assert full_width(text) == expected


def test_neighbours_come_together() -> None:
    records = [Record("stdout", moment(1), b"a\n", {}), Record("stdout", moment(2), b"b\n", {}),
               Record("stderr", moment(3), b"c\n", {})]  # fmt: skip
    assert Filter(BOTH).chunks(records) == [
        LogChunk("stdout", [b"a\n", b"b\n"]),
        LogChunk("stderr", [b"c\n"]),
    ]


def test_a_line_ends_where_docker_ends_it(tmp_path: Path, driver: str) -> None:
    """At a newline and nowhere else; a long one comes in parts."""
    long = b"x" * (2 * LINE_LIMIT + 5) + b"\n"
    write(tmp_path / "log", driver, ("stdout", b"1%\r50%\r100%\nend\n" + long + b"rest", 1))

    async def lines() -> list[bytes]:
        chunks = read_all(tmp_path / "log", driver, BOTH)
        return [line async for chunk in chunks for line in chunk.lines]

    pieces = [b"x" * LINE_LIMIT, b"x" * LINE_LIMIT, b"x" * 5 + b"\n"]
    assert asyncio.run(lines()) == [b"1%\r50%\r100%\n", b"end\n", *pieces, b"rest"]
    stamped = collect(read_all(tmp_path / "log", driver, query(timestamps=True)))
    assert stamped.startswith(b"1970-01-01T00:00:00.000000001Z 1%\r50%\r100%\n1970-")


def test_reading_goes_on_after_the_end(tmp_path: Path, driver: str) -> None:
    path = tmp_path / "log"
    write(path, driver, ("stdout", b"a\n", 1))
    files = LogFiles(path, driver)
    try:
        assert [record.data for record in files.read() or ()] == [b"a\n"]
        assert files.read() is None
        path.rename(tmp_path / "log.1")
        write(tmp_path / "log.1", driver, ("stdout", b"b\n", 2))
        write(path, driver, ("stdout", b"c\n", 3))
        assert [record.data for record in files.read() or ()] == [b"b\n"]
        assert [record.data for record in files.read() or ()] == [b"c\n"]
        assert files.read() is None
    finally:
        files.close()


@given(st.binary(max_size=200), st.sampled_from(["json-file", "local"]))
def test_any_bytes_are_read_as_something(data: bytes, driver: str) -> None:
    Filter(BOTH).chunks(decode(driver, data).records)
    Filter(LogQuery(stdout=True, stderr=True, timestamps=True, details=True, since_ns=1)).chunks(
        decode(driver, data).records
    )


@given(st.binary(min_size=1, max_size=20).filter(lambda data: b"\n" not in data))
def test_bytes_that_are_no_text_spoil_no_other_record(data: bytes) -> None:
    whole = b'{"log":"one\\n","stream":"stdout","time":"2020-01-01T00:00:00Z"}\n'
    odd = b'{"log":"' + data + b'\\n","stream":"stdout","time":"2020-01-01T00:00:00Z"}\n'
    shown = b"".join(record.data for record in decode("json-file", whole + odd + whole).records)
    assert shown.startswith(b"one\n")
    assert shown.endswith(b"one\n")
    assert len(shown) >= 8


def test_a_record_that_is_not_text_is_shown_as_far_as_it_is() -> None:
    odd = b'{"log":"caf\xe9 \xff\\n","stream":"stdout","time":"2020-01-01T00:00:00Z"}\n'
    (record,) = decode("json-file", odd).records
    assert record.data == "caf\ufffd \ufffd\n".encode()


def test_a_block_without_end_is_not_waited_for() -> None:
    damaged = b"\xff\xff\xff\x7f" + bytes(7) + b"\0\1" + bytes(40)
    assert decode("local", damaged).rest == b""
    assert decode("json-file", b"x" * (20 << 20)).rest == b"x" * (16 << 20)
