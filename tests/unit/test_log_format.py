"""Log records: what Docker's readers must find in them, whatever a container writes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.runtime.log_format import (
    LINE_LIMIT,
    STDERR,
    STDOUT,
    Blocks,
    Clock,
    JsonLines,
    decode_blocks,
)

NOW_NS = 1_700_000_000_123_456_789


def encode(chunks: list[bytes], **attributes: str) -> list[dict[str, object]]:
    encoder = JsonLines(attributes)
    records = b"".join(encoder.encode(STDOUT, chunk, NOW_NS) for chunk in chunks)
    records += encoder.finish(STDOUT, NOW_NS)
    return [json.loads(line) for line in records.splitlines()]


def test_a_line_is_a_record_byte_for_byte() -> None:
    line = JsonLines({}).encode(STDOUT, b'say "hi"\t\\\n', NOW_NS)
    assert line == (
        rb'{"log":"say \"hi\"\t\\\n","stream":"stdout","time":"2023-11-14T22:13:20.123456789Z"}'
        b"\n"
    )


def test_attributes_come_before_the_time() -> None:
    line = JsonLines({"tag": "é"}).encode(STDERR, b"x\n", NOW_NS).decode()
    assert line.startswith('{"log":"x\\n","stream":"stderr","attrs":{"tag":"é"},"time":"')


def test_an_unfinished_line_waits_and_is_kept_at_the_end() -> None:
    encoder = JsonLines({})
    assert encoder.encode(STDOUT, b"be", NOW_NS) == b""
    assert json.loads(encoder.encode(STDOUT, b"gin\nre", NOW_NS))["log"] == "begin\n"
    assert json.loads(encoder.finish(STDOUT, NOW_NS))["log"] == "re"
    assert encoder.finish(STDOUT, NOW_NS) == b""


def test_streams_do_not_mix_their_unfinished_lines() -> None:
    encoder = JsonLines({})
    encoder.encode(STDOUT, b"out", NOW_NS)
    record = json.loads(encoder.encode(STDERR, b"err\n", NOW_NS))
    assert (record["log"], record["stream"]) == ("err\n", "stderr")


@pytest.mark.parametrize("length", [LINE_LIMIT - 1, LINE_LIMIT, LINE_LIMIT + 1, 3 * LINE_LIMIT + 5])
def test_long_lines_come_in_pieces_of_16_kib(length: int) -> None:
    logs = [str(record["log"]) for record in encode([b"a\n" + b"x" * length + b"\nb\n"])]
    assert logs[0] == "a\n"
    assert logs[-1] == "b\n"
    assert "".join(logs[1:-1]) == "x" * length + "\n"
    assert all(len(log) <= LINE_LIMIT + 1 for log in logs)
    assert [log.endswith("\n") for log in logs[1:-1]] == [False] * (len(logs) - 3) + [True]


def test_a_long_line_is_not_cut_inside_a_character() -> None:
    logs = [str(record["log"]) for record in encode([b"x" + "€".encode() * 12000 + b"\n"])]
    assert "".join(logs) == "x" + "€" * 12000 + "\n"


def test_invalid_utf8_becomes_the_replacement_character() -> None:
    assert encode([b"a\xff\xfeb\n"])[0]["log"] == "a\ufffd\ufffdb\n"


@given(st.lists(st.binary(max_size=200)))
def test_any_bytes_survive_as_json(chunks: list[bytes]) -> None:
    logs = "".join(str(record["log"]) for record in encode(chunks))
    assert logs == b"".join(chunks).decode(errors="replace")


@given(st.lists(st.text(alphabet='ab\n\\"é\x00\x1b\u2028', max_size=50)))
def test_records_end_where_lines_end(texts: list[str]) -> None:
    logs = [str(record["log"]) for record in encode([text.encode() for text in texts])]
    expected = "".join(texts).split("\n")
    assert logs == [line + "\n" for line in expected[:-1]] + [
        line for line in expected[-1:] if line
    ]


@pytest.mark.parametrize(
    ("fraction", "text"), [(0, b""), (5, b".000000005"), (120_000_000, b".12"), (10, b".00000001")]
)
def test_times_are_written_as_go_writes_them(fraction: int, text: bytes) -> None:
    assert Clock().format(1_700_000_000 * 10**9 + fraction) == b"2023-11-14T22:13:20" + text + b"Z"


@given(st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=300))))
def test_blocks_give_back_what_was_written(chunks: list[tuple[str, bytes]]) -> None:
    encoder = Blocks()
    data = b"".join(encoder.encode(stream, chunk, NOW_NS) for stream, chunk in chunks)
    data += encoder.finish(STDOUT, NOW_NS) + encoder.finish(STDERR, NOW_NS)
    blocks = list(decode_blocks(data))
    for name in (STDOUT, STDERR):
        written = b"".join(chunk for stream, chunk in chunks if stream == name)
        assert b"".join(block.data for block in blocks if block.stream == name) == written
    assert all(block.data.endswith(b"\n") != block.partial for block in blocks)


def test_an_unfinished_block_is_left_for_later() -> None:
    data = Blocks().encode(STDOUT, b"line\n", NOW_NS)
    assert list(decode_blocks(data[:-1])) == []
    [block] = decode_blocks(data + data[:7])
    assert (block.data, block.time_ns, block.partial) == (b"line\n", NOW_NS, False)
