"""A real terminal for a client: a pty whose other end the test types on and reads."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from types import TracebackType


class Terminal:
    """Runs `argv` on a pty of `rows` × `columns`."""

    def __init__(
        self, argv: Sequence[str], env: dict[str, str], rows: int = 24, columns: int = 80
    ) -> None:
        self._master, slave = pty.openpty()
        self.resize(rows, columns)
        self.process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 -- a child of a test has no threads
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def enter(self, text: str) -> None:
        os.write(self._master, text.encode())

    def expect(self, text: str, patience_s: float = 15.0) -> str:
        """Read until `text` appears; everything seen since the last match."""
        deadline = time.monotonic() + patience_s
        while text not in self.seen:
            left = deadline - time.monotonic()
            if left < 0 or not select.select([self._master], [], [], left)[0]:
                raise AssertionError(f"{text!r} did not appear; saw {self.seen!r}")
            try:
                data = os.read(self._master, 65536)
            except OSError:
                data = b""
            if not data:
                raise AssertionError(f"the terminal closed before {text!r}; saw {self.seen!r}")
            self.seen += data.decode(errors="replace")
        found, _, self.seen = self.seen.partition(text)
        return found + text

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
