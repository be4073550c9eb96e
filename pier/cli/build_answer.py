"""The answer to a build as it comes: JSON messages, and between them the bytes of its outputs."""

from __future__ import annotations

import os
import sys

from pier.cli.build_extras import STDOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, BinaryIO

    from pier.cli.build_extras import Output
    from pier.cli.transport import Response

    Message = dict[str, Any]  # a JSON message

CHUNK = 256 * 1024


class BuildAnswer:
    """Reads the messages of `response`; puts the outputs where they belong on the way."""

    def __init__(self, response: Response, outputs: Sequence[Output]) -> None:
        self._response = response
        self._chunks = response.chunks()
        self._held = bytearray()
        self._outputs = [output for output in outputs if output.place]

    def messages(self) -> Iterator[Message]:
        from pier.cli.jsonlite import parse_json

        while line := self._line():
            if line.strip():
                message = parse_json(line)
                announced = (message.get("aux") or {}).get("Output")
                if announced:
                    self._receive(announced["Index"], announced["Size"])
                else:
                    yield message
        self._response.connection.release(reusable=self._response.reusable)

    def _line(self) -> bytes:
        """The next line; what is left at the end; b"" after it."""
        searched = 0
        while (end := self._held.find(b"\n", searched)) < 0:
            searched = len(self._held)
            chunk = next(self._chunks, b"")
            if not chunk:
                end = len(self._held) - 1
                break
            self._held += chunk
        line = bytes(self._held[: end + 1])
        del self._held[: end + 1]
        return line

    def _receive(self, index: int, size: int) -> None:
        output, part = self._outputs[index], _Part(self, size)
        if output.kind == "local":
            _unpack(part, output.place)
        elif output.place == STDOUT:
            _copy(part, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            _write(part, output.place)
        while part.read(CHUNK):
            pass

    def take(self, limit: int) -> bytes:
        """Up to `limit` of the bytes that come next; b"" when there are no more."""
        if not self._held:
            self._held += next(self._chunks, b"")
        data = bytes(self._held[:limit])
        del self._held[:limit]
        return data


class _Part:
    """So many bytes of the answer, as a file to read."""

    def __init__(self, answer: BuildAnswer, size: int) -> None:
        self._answer = answer
        self._left = size

    def read(self, limit: int = CHUNK) -> bytes:
        """As much as was asked for, unless the end comes first: tarfile wants whole blocks."""
        from pier.cli.transport import CutOff

        pieces, wanted = [], min(limit, self._left)
        while wanted:
            piece = self._answer.take(wanted)
            if not piece:
                raise CutOff("unexpected EOF")
            pieces.append(piece)
            wanted -= len(piece)
            self._left -= len(piece)
        return b"".join(pieces)


def _unpack(part: _Part, directory: str) -> None:
    from pier.cli.extraction import extract

    os.makedirs(directory, exist_ok=True)
    extract(part, directory, lambda name: name)  # type: ignore[arg-type] # it only reads


def _copy(part: _Part, file: BinaryIO) -> None:
    while chunk := part.read(CHUNK):
        file.write(chunk)


def _write(part: _Part, path: str) -> None:
    """Under its name only when it is whole."""
    unfinished = f"{path}.part"
    try:
        with open(unfinished, "wb") as file:
            _copy(part, file)
        os.replace(unfinished, path)
    except BaseException:
        if os.path.exists(unfinished):
            os.unlink(unfinished)
        raise
