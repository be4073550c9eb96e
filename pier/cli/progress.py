"""Progress of pulls, pushes, loads and builds: Docker's lines, redrawn in place on a terminal.

Engine API, the JSON messages of /images/create and its kin. Where nobody looks, one line per
change of status, as Docker writes it.
"""

from __future__ import annotations

import sys

from pier.cli.faults import Fault
from pier.cli.units import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TextIO

    Message = dict[str, Any]  # a JSON message

BAR = 50
NARROW = 110


def show_progress(
    messages: Iterable[Message],
    stream: TextIO,
    *,
    on_aux: Callable[[Message], None] | None = None,
) -> None:
    """Write `messages` to `stream` as they come; raise Fault at an error message."""
    screen = Screen(stream) if stream.isatty() else None
    for message in messages:
        if "aux" in message and message["aux"] is not None:
            if on_aux:
                on_aux(message)
            continue
        _raise_error(message)
        if screen:
            screen.show(message)
        else:
            _show_plainly(message, stream)
    stream.flush()


def _raise_error(message: Message) -> None:
    detail = message.get("errorDetail")
    if detail:
        code = detail.get("code") or 1
        raise Fault(str(detail.get("message", "")), code if isinstance(code, int) else 1)
    if message.get("error"):
        raise Fault(str(message["error"]))


def _show_plainly(message: Message, stream: TextIO) -> None:
    """One line per message, leaving out those that only move a bar."""
    if message.get("stream"):
        stream.write(message["stream"])
        stream.flush()
        return
    if message.get("progressDetail") or "status" not in message:
        return
    name = f"{message['id']}: " if message.get("id") else ""
    stream.write(f"{name}{message['status']}{message.get('progress', '')}\n")
    stream.flush()


class Screen:
    """A terminal where every ID keeps its line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: dict[str, int] = {}

    def show(self, message: Message) -> None:
        identity = message.get("id") or ""
        text = message.get("stream")
        if text or not identity:
            # Text without an ID ends the block: what was drawn stays as it is.
            self._lines.clear()
            self._stream.write(text or f"{message.get('status', '')}\n")
            self._stream.flush()
            return
        new = identity not in self._lines
        if new:
            self._lines[identity] = len(self._lines)
            self._stream.write("\n")
        up = len(self._lines) - self._lines[identity]
        line = f"{identity}: {message.get('status', '')} {format_progress(message)}".rstrip()
        self._stream.write(f"\x1b[{up}A\x1b[2K\r{line}\r\x1b[{up}B")
        self._stream.flush()


def format_progress(message: Message) -> str:
    """Return the bar and the figures of a message, '' if it has none."""
    from pier.cli.usage import columns

    detail = message.get("progressDetail") or {}
    current, total = detail.get("current", 0), detail.get("total", 0)
    if current <= 0 and total <= 0:
        return ""
    if detail.get("units"):
        return f"{current} {detail['units']}"
    done = format_size(current, 4)
    if total <= 0:
        return done
    total = max(total, current)
    filled = min(current * BAR // total, BAR)
    head = "=" * filled + ">" * (filled < BAR)
    bar = f"[{head:<{BAR}}]  " if columns() > NARROW else ""
    return f"{bar}{done:>8}/{format_size(total, 4)}"


def pick_stream(*, quiet: bool) -> TextIO | None:
    return None if quiet else sys.stderr


def raise_errors(messages: Iterable[Message]) -> None:
    """Read `messages` to the end without a word, unless one is an error."""
    for message in messages:
        _raise_error(message)
