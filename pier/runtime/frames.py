"""The way back from stdcopy frames: [stream,0,0,0][length, u32 big endian][payload]. Pure."""

from collections.abc import Iterator
from struct import Struct

STDOUT, STDERR, SYSTEM_ERROR = 1, 2, 3
_HEADER = Struct(">B3xL")


class Deframer:
    """Splits a multiplexed stream, however it was cut on its way, into (stream, payload)."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            stream, length = _HEADER.unpack_from(self._buffer)
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield stream, payload
