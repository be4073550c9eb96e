"""Docker's stream framing, as bytes: stdcopy frames and the header blocks of hijacked connections.

Pure. A multiplexed stream is a row of frames `[stream, 0, 0, 0][length, big-endian][payload]`;
a terminal's stream is raw, without frames.
"""

from collections.abc import Iterable
from struct import Struct

STDIN, STDOUT, STDERR, SYSTEM_ERROR = range(4)
STREAM_NUMBERS = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR}

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"

_HEADER = Struct(">B3xL")


def frame(stream: int, payload: bytes) -> bytes:
    """One stdcopy frame. The payload must be shorter than 4 GiB."""
    return _HEADER.pack(stream, len(payload)) + payload


def frames(stream: int, payloads: Iterable[bytes]) -> bytes:
    """A frame for each: clients iterate over a log's lines by its frames."""
    return b"".join([_HEADER.pack(stream, len(each)) + each for each in payloads])


def upgraded_head(media_type: str) -> bytes:
    """The answer to a request with `Upgrade: tcp`."""
    return (
        f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {media_type}\r\n"
        "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    ).encode()


def plain_head() -> bytes:
    """The answer without `Upgrade`: docker-py's way; the connection is two-way all the same."""
    return f"HTTP/1.1 200 OK\r\nContent-Type: {RAW}\r\n\r\n".encode()


def error_head(status: int, reason: str) -> bytes:
    """The answer of a failed attach: Docker has taken the connection over by then."""
    return f"HTTP/1.1 {status} {reason}\r\nContent-Type: {RAW}\r\n\r\n".encode()


def error_text(message: str, *, mux: bool) -> bytes:
    """What a failure after the upgrade looks like in the stream: output, as in Docker."""
    text = f"{message}\r\n".encode()
    return frame(STDOUT, text) if mux else text
