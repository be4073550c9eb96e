"""A build on a terminal: steps that are done scroll away, those under way stay at the bottom.

Each shows how long it takes and the last line it printed; of a step that fails, what it printed is
shown at the end. Stages that build side by side are shown side by side.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time

from pier.cli.faults import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any, TextIO

    Message = dict[str, Any]  # a JSON message

_KEPT_LINES = 200
_REDRAW_S = 0.2
_FREQUENT = ("StepOutput", "PullTold")
"""What comes by the thousand is drawn when it is time."""
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\-_])")
_CLEAR = "\x1b[2K"


class _Step:
    """One step under way."""

    __slots__ = ("began_s", "cached", "lines", "text", "total")

    def __init__(self, text: str, total: int) -> None:
        self.text = text
        self.total = total
        self.began_s = time.monotonic()
        self.cached = False
        self.lines: list[str] = []

    def hear(self, text: str) -> None:
        """Take output in: only whole lines count, and what a carriage return leaves."""
        if self.lines and not self.lines[-1].endswith("\n"):
            text = self.lines.pop() + text
        self.lines += text.splitlines(keepends=True)
        del self.lines[:-_KEPT_LINES]

    @property
    def last_line(self) -> str:
        shown = [line.strip() for line in self.lines[-3:] if line.strip()]
        return shown[-1] if shown else ""


class View:
    """Draws on `stream` for as long as the block lasts."""

    def __init__(self, stream: TextIO, size: os.terminal_size, *, explain: bool) -> None:
        self._stream = stream
        self._width = max(size.columns, 20)
        self._height = max(size.lines - 1, 2)
        self._explain = explain
        self._steps: dict[int, _Step] = {}
        self._drawn = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> View:
        self._clock.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._clock.join()
        with self._lock:
            self._erase()
            if kind is not None:
                self._show_failed()
            self._stream.flush()

    def _tick(self) -> None:
        while not self._over.wait(_REDRAW_S):
            with self._lock:
                self._redraw()

    def take(self, event: Message) -> None:
        with self._lock:
            self._take(event)
            if event["Kind"] not in _FREQUENT:
                self._redraw()

    def _take(self, event: Message) -> None:
        number, step = event.get("Step", 0), self._steps.get(event.get("Step", 0))
        match event["Kind"]:
            case "StepStarted":
                self._steps[number] = _Step(event["Text"], event["Total"])
            case "StepOutput" | "PullTold" if step:
                step.hear(event["Text"])
            case "StepCached" if step:
                step.cached = True
            case "StepRuns" if self._explain:
                self._print(_printable(f"[{number}] not cached: {event['Reason']}"))
            case "StepDone" if step:
                self._print(self._done(number, self._steps.pop(number)))
            case "Remark" | "ImageBuilt" | "ImageTagged" if event.get("Text"):
                self._print(_printable(event["Text"].rstrip("\n")))

    def _done(self, number: int, step: _Step) -> str:
        took = "CACHED" if step.cached else f"{time.monotonic() - step.began_s:.1f}s"
        return self._fitted(f"[{number}/{step.total}] {step.text}", took)

    def _fitted(self, text: str, right: str) -> str:
        text = _printable(text)
        room = self._width - len(right) - 2
        if len(text) > room:
            text = text[: room - 1] + "…"
        return f"{text:<{room}} {right}"

    def _print(self, text: str) -> None:
        """Above what is drawn, for good."""
        self._erase()
        self._stream.write(text + "\n")

    def _erase(self) -> None:
        self._stream.write(f"\x1b[1A\r{_CLEAR}" * self._drawn)
        self._drawn = 0

    def _redraw(self) -> None:
        self._erase()
        lines = [line for number, step in sorted(self._steps.items())
                 for line in self._drawing(number, step)]  # fmt: skip
        left_out = len(lines) - self._height
        if left_out > 0:  # what has scrolled away cannot be erased
            lines[self._height - 1 :] = [f"… and {left_out + 1} more lines"]
        for line in lines:
            self._stream.write(line + "\n")
        self._drawn = len(lines)
        self._stream.flush()

    def _drawing(self, number: int, step: _Step) -> list[str]:
        took = f"{time.monotonic() - step.began_s:.1f}s"
        lines = [self._fitted(f"=> [{number}/{step.total}] {step.text}", took)]
        return [*lines, self._fitted(f"   | {step.last_line}", "")] if step.last_line else lines

    def _show_failed(self) -> None:
        """What was under way when it ended: the step that failed, and those it took along."""
        for number, step in sorted(self._steps.items()):
            self._stream.write(f"[{number}/{step.total}] {step.text}\n")
            for line in step.lines:
                self._stream.write(f"   | {_printable(line.rstrip())}\n")


def _printable(text: str) -> str:
    """Without what would move the cursor or change its colour (ECMA-48)."""
    plain = _ESCAPES.sub("", text)
    return "".join(char if char.isprintable() else " " for char in plain)


def _size() -> os.terminal_size:
    try:
        return os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return os.terminal_size((80, 24))


def show_live(
    messages: Iterable[Message], on_aux: Callable[[Message], None], *, explain: bool
) -> None:
    """Draw the build on stdout's terminal; raise Fault at an error message."""
    with View(sys.stdout, _size(), explain=explain) as view:
        for message in messages:
            aux = message.get("aux") or {}
            if "Event" in aux:
                view.take(aux["Event"])
            elif aux:
                on_aux(message)
            detail = message.get("errorDetail")
            if detail or message.get("error"):
                code = (detail or {}).get("code") or 1
                raise Fault(str((detail or {}).get("message") or message["error"]), code)
