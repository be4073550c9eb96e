"""A container's log on disk: append, rotate, compress.

Rotation renames and begins a new file, so a follower reads its descriptor to the end and then
opens the path again. Each file knows how much of the log was written before it, so that a reader
who was too slow knows what has been rotated away. Compression is a child's work: the monitor has
output to serve. What a loss of power left of a last record is ended or cut off before more is
appended.
"""

import contextlib
import os
import time
import zlib

from pier.runtime.log_format import (
    HEADER_BYTES,
    STDERR,
    STDOUT,
    Blocks,
    Encoder,
    JsonLines,
    block_bytes,
)
from pier.runtime.orders import LogOrder

_MODE = 0o640
_BEGIN = "trusted.pier.begin"
_COPY_BYTES = 1 << 18


class LogFile:
    """Open until `close`. A full disk loses records, never the container.

    `lost` counts their lines; with the next record that can be written, the log itself says so.
    """

    def __init__(self, order: LogOrder) -> None:
        self._order = order
        self._lines = order.driver == "json-file"
        self._encoder = self._new_encoder()
        self._compressor = 0
        self.lost = 0
        self._why = ""
        self._open()
        self._begin = read_begin(self._fd) or 0
        if not self._size:
            _set_begin(self._fd, self._begin)

    def _new_encoder(self) -> Encoder:
        return JsonLines(self._order.attributes) if self._lines else Blocks()

    def write(self, stream: str, data: bytes) -> None:
        self._append(self._encoder.encode(stream, data, time.time_ns()))

    def close(self) -> None:
        for stream in (STDOUT, STDERR):
            self._append(self._encoder.finish(stream, time.time_ns()))
        os.close(self._fd)

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._order.path, flags, _MODE)
        with contextlib.suppress(OSError):  # a full disk: the next record may be spoilt, too
            _mend_end(self._fd, lines=self._lines)
        self._size = os.fstat(self._fd).st_size

    def _append(self, records: bytes) -> None:
        limit = self._order.max_size_bytes
        while limit > 0 and self._size + len(records) > limit:
            cut = self._cut(records, limit - self._size)
            self._put(records[:cut])
            records = records[cut:]
            if not records:
                return
            self._rotate()
        self._put(records)

    def _cut(self, records: bytes, room: int) -> int:
        """Where to change files: behind the record that crosses the limit."""
        if room <= 0 and self._size > 0:
            return 0
        if not self._lines:
            return len(records)
        return records.find(b"\n", max(room, 0)) + 1

    def _put(self, records: bytes) -> None:
        if self._write_all(self._notice() + records):
            self.lost = 0
        else:
            self.lost += self._encoder.count(records)

    def _notice(self) -> bytes:
        if not self.lost:
            return b""
        lines = "1 line was" if self.lost == 1 else f"{self.lost} lines were"
        words = f"pier: {lines} lost here: {self._why}\n"
        return self._new_encoder().encode(STDERR, words.encode(), time.time_ns())

    def _write_all(self, records: bytes) -> bool:
        """All or nothing: half a record would spoil the next one too."""
        view, begin = memoryview(records), self._size
        while view:
            try:
                written = os.write(self._fd, view)
            except OSError as error:
                self._why = error.strerror or str(error)
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, begin)
                    self._size = begin
                return False
            self._size += written
            view = view[written:]
        return True

    def _rotate(self) -> None:
        """Failures (the directory is gone, read-only) leave the present file growing."""
        try:
            self._shift()
        except OSError:
            return
        os.close(self._fd)
        self._begin += self._size
        self._open()
        # Before anything is in it: readers look at files that have something to read.
        _set_begin(self._fd, self._begin)

    def _shift(self) -> None:
        path, oldest = self._order.path, self._order.max_files - 1
        self._wait_for_compressor()
        if oldest < 1:
            os.unlink(path)  # noqa: PTH108 - no pathlib in monitors
            return
        for suffix in ("", ".gz"):
            for number in range(oldest - 1, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    _replace(f"{path}.{number}{suffix}", f"{path}.{number + 1}{suffix}")
        # Either form may linger where `compress` was changed between two runs.
        for stale in (f"{path}.1", f"{path}.1.gz"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(stale)  # noqa: PTH108
        _replace(path, f"{path}.1")
        if self._order.compress:
            self._compressor = _start_compressor(f"{path}.1")

    def _wait_for_compressor(self) -> None:
        """The file must not move under it. Another may have reaped it already."""
        if self._compressor:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._compressor, 0)
        self._compressor = 0


def read_begin(fd: int) -> int | None:
    """How many bytes of the log (before compression) were written before the file's first.

    None where that is not known. A file that has something in it keeps what it says.
    """
    try:
        return int(os.getxattr(fd, _BEGIN))
    except (OSError, ValueError):
        return None


def _set_begin(fd: int, begin: int | None) -> None:
    if begin is None:
        return
    with contextlib.suppress(OSError):  # no space, or no such attributes here
        os.setxattr(fd, _BEGIN, b"%d" % begin)


def _mend_end(fd: int, *, lines: bool) -> None:
    """Have the file end with a whole record."""
    size = os.fstat(fd).st_size
    if not lines:
        os.ftruncate(fd, _end_of_blocks(fd, size))
    elif size and os.pread(fd, 1, size - 1) != b"\n":
        os.write(fd, b"\n")


def _end_of_blocks(fd: int, size: int) -> int:
    end = 0
    while (after := end + block_bytes(os.pread(fd, HEADER_BYTES, end))) > end and after <= size:
        end = after
    return end


def _replace(source: str, target: str) -> None:
    os.replace(source, target)  # noqa: PTH105 - no pathlib in monitors


def _start_compressor(path: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.nice(10)
        compress(path)
        status = 0
    finally:
        os._exit(status)


def compress(path: str) -> None:
    """Replace `path` by `path`.gz."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    with open(path, "rb") as source, open(f"{path}.tmp", "wb") as target:
        while data := source.read(_COPY_BYTES):
            target.write(packer.compress(data))
        target.write(packer.flush())
        _set_begin(target.fileno(), read_begin(source.fileno()))
    _replace(f"{path}.tmp", f"{path}.gz")
    os.unlink(path)  # noqa: PTH108
