r"""The first output of a process: where the program cannot be executed, it is the runtime's.

crun finds out when it is the container already, and writes a line of its log to what is the
container's stderr by then:
    {"msg":"exec container process `/bin/sh`: Exec format error","level":"error","time":".."}
(in colour to a terminal), and exits with 1. runc says "exec /bin/sh: exec format error" and exits
with 255, as Docker's users know it. Said here in runc's words.
"""

import json
import re
from collections.abc import Callable

from pier.runtime.loop import Loop

HOLD_S = 1.0
"""How long what begins as the runtime's message would is held back: its process ends at once."""
NOT_EXECUTED_CODE = 255
_RUNTIMES_CODE = 1
_LIMIT = 8192
_COLOUR, _PLAIN = b"\x1b[1;31m", b"\x1b[0m"
_HEAD = b'{"msg":"exec container process '
_SENTENCE = re.compile(r"exec container process (?:\(.*?\) )?`(.*)`: (.*)", re.DOTALL)


class FirstWords:
    """Passes output on; of the very first, what may be crun's message waits for a moment."""

    def __init__(self, loop: Loop, on_data: Callable[[str, bytes], None]) -> None:
        self._loop = loop
        self._on_data = on_data
        self._open = True
        self._stream = ""
        self._held = b""
        self._timer = 0

    def feed(self, stream: str, data: bytes) -> None:
        if self._open and self._hold(stream, data):
            return
        self._release()
        self._on_data(stream, data)

    def finish(self, code: int) -> int:
        """The process has ended with `code`, its output is read: what counts as its code."""
        said = not_executed(self._held) if code == _RUNTIMES_CODE else b""
        self._held = said or self._held
        self._release()
        return NOT_EXECUTED_CODE if said else code

    def _hold(self, stream: str, data: bytes) -> bool:
        held = self._held + data
        if (self._held and stream != self._stream) or not _may_be_crun(held):
            return False
        if not self._held:
            self._timer = self._loop.after(HOLD_S, self._release)
        self._stream, self._held = stream, held
        return True

    def _release(self) -> None:
        if not self._open:
            return
        self._open = False
        if self._held:
            self._loop.cancel(self._timer)
            held, self._held = self._held, b""
            self._on_data(self._stream, held)


def _may_be_crun(held: bytes) -> bool:
    text = held.removeprefix(_COLOUR)
    begun = text.startswith(_HEAD) or _HEAD.startswith(text) or _COLOUR.startswith(held)
    return begun and len(held) <= _LIMIT and b"\n" not in held[:-1]


def not_executed(line: bytes) -> bytes:
    r"""Crun's line in runc's words, with the same end (\n, \r\n); b"" if it is another."""
    text = line.removeprefix(_COLOUR).rstrip(b"\r\n")
    end = line[len(line.rstrip(b"\r\n")) :]
    try:
        found = _SENTENCE.fullmatch(json.loads(text.removesuffix(_PLAIN))["msg"])
    except (ValueError, TypeError, KeyError):
        return b""
    return f"exec {found[1]}: {found[2].lower()}".encode() + end if found else b""
