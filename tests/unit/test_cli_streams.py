import errno
import io
import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.cli.client import encode_query, quote
from pier.cli.faults import Fault
from pier.cli.progress import format_progress, raise_errors, show_progress
from pier.cli.streams import Demultiplexer, Hijacked, Output
from pier.cli.terminal import DetachWatch, parse_detach_keys
from pier.cli.transport import Connection, CutOff, Response
from tests.clients.recording_daemon import frame

DETACH = parse_detach_keys("ctrl-p,ctrl-q")


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50))),
    st.integers(min_value=1, max_value=20),
)
def test_frames_are_split_however_they_arrive(pieces: list[tuple[int, bytes]], step: int) -> None:
    data = b"".join(frame(stream, payload) for stream, payload in pieces)
    frames = Demultiplexer()
    found = {1: b"", 2: b""}
    for start in range(0, len(data), step):
        for stream, payload in frames.feed(data[start : start + step]):
            found[stream] += payload
    for stream in (1, 2):
        assert found[stream] == b"".join(p for s, p in pieces if s == stream)


def test_a_stream_that_is_not_framed_is_an_error() -> None:
    with pytest.raises(Fault, match="Unrecognized input header"):
        list(Demultiplexer().feed(b"not a frame at all"))


@pytest.mark.parametrize(
    ("typed", "passed", "detached"),
    [
        ([b"abc"], b"abc", False),
        ([b"\x10\x11"], b"", True),
        ([b"a\x10", b"\x11b"], b"a", True),
        ([b"\x10", b"x"], b"\x10x", False),
        ([b"\x10\x10\x11"], b"\x10", True),
        ([b"\x11\x10"], b"\x11", False),
    ],
)
def test_detach_keys_are_watched_for_across_reads(
    typed: list[bytes], passed: bytes, detached: bool
) -> None:
    watch = DetachWatch(DETACH)
    assert b"".join(watch.pass_on(data) for data in typed) == passed
    assert watch.detached is detached


def test_detach_keys_have_names() -> None:
    assert parse_detach_keys("a,ctrl-a,ctrl-[,ctrl-@") == b"a\x01\x1b\x00"
    with pytest.raises(ValueError, match="unknown character"):
        parse_detach_keys("ctrl-%")


Connect = Callable[[bytes], Connection]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make connections on which the daemon has said something and hung up."""
    ends = []

    def make(data: bytes) -> Connection:
        ours, theirs = socket.socketpair()
        theirs.sendall(data)
        theirs.close()
        ends.append(ours)
        return Connection(ours, lambda _connection: None)

    yield make
    for end in ends:
        end.close()


@pytest.mark.parametrize(
    ("head", "body", "text"),
    [
        ("Content-Length: 5", b"helloXX", b"hello"),
        ("Transfer-Encoding: chunked", b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", b"hello"),
        ("Connection: close", b"hello", b"hello"),
    ],
)
def test_bodies_end_as_their_header_says(
    head: str, body: bytes, text: bytes, connect: Connect
) -> None:
    raw = f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + body
    assert Response(connect(raw), head=False).read() == text


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 9\r\n\r\nhello",
        CHUNKED,
        CHUNKED + b"3\r\nhel\r\n",
        CHUNKED + b"3\r\nhel\r\n0",
        CHUNKED + b"3\r\nhel\r\n0\r\n",
        CHUNKED + b"9\r\nhel",
        b"Content-Le",
        b"",
    ],
)
def test_an_answer_that_breaks_off_is_an_error_wherever_it_does(
    rest: bytes, connect: Connect
) -> None:
    with pytest.raises(CutOff, match=r"^unexpected EOF$"):
        Response(connect(b"HTTP/1.1 200 OK\r\n" + rest), head=False).read()


def test_no_answer_at_all_is_an_end_of_file(connect: Connect) -> None:
    with pytest.raises(CutOff, match=r"^EOF$"):
        Response(connect(b""), head=False)


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n", b"HTTP/1.1 OK\r\n\r\n"])
def test_what_is_no_http_is_an_error(answer: bytes, connect: Connect) -> None:
    with pytest.raises(Fault, match="malformed HTTP response"):
        Response(connect(answer), head=False)


@pytest.mark.parametrize("size", [b"", b"-3", b"zz", b"0x3", b"1_0"])
def test_a_chunk_without_a_size_is_an_error(size: bytes, connect: Connect) -> None:
    raw = b"HTTP/1.1 200 OK\r\n" + CHUNKED + size + b"\r\nhel\r\n0\r\n\r\n"
    with pytest.raises(Fault, match="malformed chunked encoding"):
        Response(connect(raw), head=False).read()


def test_a_request_that_cannot_be_sent_whole_never_looks_whole() -> None:
    ours, theirs = socket.socketpair()
    connection = Connection(ours, lambda _connection: None)

    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise OSError(errno.EIO, "the disk broke")

    with ours, theirs:
        connection.send_chunks(chunks())
        assert theirs.makefile("rb").read() == b"4\r\nhalf\r\n"
        with pytest.raises(OSError, match="the disk broke"):
            Response(connection, head=False)


def test_a_connection_that_the_daemon_has_ended_is_not_used_again() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        connection = Connection(ours, lambda _connection: None)
        assert not connection.stale
        theirs.close()
        assert connection.stale


def test_a_conversation_goes_both_ways_without_either_side_waiting_for_the_other() -> None:
    """Our input is far larger than any buffer, and every byte of it comes back."""
    ours, theirs = socket.socketpair()
    source, sink = os.pipe(), os.pipe()
    data = os.urandom(1 << 20)

    def echo() -> None:
        while chunk := theirs.recv(65536):
            theirs.sendall(chunk)
        theirs.close()

    def feed() -> None:
        with open(source[1], "wb") as file:
            file.write(data)

    found = []

    def drain() -> None:
        with open(sink[0], "rb") as file:
            found.append(file.read())

    threads = [threading.Thread(target=work) for work in (echo, feed, drain)]
    for thread in threads:
        thread.start()
    output = Output(terminal=True)
    output._fds[1] = sink[1]
    Hijacked(Connection(ours, lambda _c: None), output, stdin=source[0]).run()
    os.close(sink[1])
    for thread in threads:
        thread.join(10)
    os.close(source[0])
    assert found == [data]


def test_queries_leave_out_what_is_not_said() -> None:
    assert encode_query({"a": None, "b": False, "c": True, "d": ["x", "y z"], "e": 0}) == (
        "?c=1&d=x&d=y%20z&e=0"
    )
    assert quote("a/b:c@d é", "/:@") == "a/b:c@d%20%C3%A9"


def test_progress_without_a_terminal_is_one_line_a_change() -> None:
    stream = io.StringIO()
    show_progress(
        [
            {"status": "Pulling from x", "id": "latest"},
            {"status": "Downloading", "id": "a", "progressDetail": {"current": 1, "total": 2}},
            {"status": "Pull complete", "id": "a", "progressDetail": {}},
            {"stream": "Step 1\n"},
            {"status": "Done"},
        ],
        stream,
    )
    assert stream.getvalue() == ("latest: Pulling from x\na: Pull complete\nStep 1\nDone\n")


def test_an_error_in_the_stream_ends_it_with_its_code() -> None:
    with pytest.raises(Fault) as caught:
        raise_errors([{"errorDetail": {"code": 7, "message": "no"}, "error": "no"}])
    assert (caught.value.text, caught.value.code) == ("no", 7)


def test_progress_has_figures() -> None:
    message = {"progressDetail": {"current": 1_000_000, "total": 2_000_000}}
    assert format_progress(message).endswith("1MB/2MB")
    assert format_progress({"progressDetail": {"current": 3, "units": "s"}}) == "3 s"
    assert format_progress({}) == ""
