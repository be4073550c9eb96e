"""How `build` tells what the daemon says, and what it remembers of it for afterwards."""

from __future__ import annotations

import sys
from io import StringIO

from pier.cli.faults import Fault
from pier.cli.jsonlite import format_json
from pier.cli.session import err

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from pier.cli.build_extras import Output
    from pier.cli.command import Options
    from pier.cli.transport import Response

    Query = dict[str, Any]
    Message = dict[str, Any]  # a JSON message

_PROGRESS = ("auto", "plain", "tty", "quiet", "rawjson")


class Manner:
    """How the build is told, and where: to stderr if an output takes stdout."""

    def __init__(self, options: Options) -> None:
        progress = options.text("progress")
        if progress not in _PROGRESS:
            raise Fault(f"invalid progress mode {progress!r}: use {', '.join(_PROGRESS)}")
        self.checks = _checks(options)
        self.quiet = not self.checks and (options.on("quiet") or progress == "quiet")
        self.explain = options.on("explain")
        self.raw = progress == "rawjson"
        piped = any(text == "-" or "dest=-" in text for text in options.texts("output"))
        self.stream = sys.stderr if piped else sys.stdout
        terminal = progress == "tty" or (progress == "auto" and sys.stdout.isatty())
        self.live = terminal and not piped and not self.quiet and not self.checks

    @property
    def announces(self) -> bool:
        return not (self.quiet or self.raw or self.stream is sys.stderr)

    def query(self) -> Query:
        return {
            "q": self.quiet,
            "explain": self.explain,
            "lines": True,
            "events": self.live,
            "check": self.checks,
        }


def _checks(options: Options) -> bool:
    """Whether the Dockerfile is only to be checked."""
    call = options.text("call")
    if call not in ("build", "check"):
        raise Fault(f"--call={call} is not supported: use check or build")
    return options.on("check") or call == "check"


class Watch:
    """Shows what the daemon says; remembers the ID of the image, and whether checks failed."""

    def __init__(self, manner: Manner, dockerfile: str, outputs: Sequence[Output]) -> None:
        self._manner = manner
        self._dockerfile = dockerfile
        self._outputs = outputs
        self._line = 0
        self.image_id = ""
        self.found = False

    def show(self, response: Response) -> None:
        from pier.cli.build_answer import BuildAnswer

        messages = BuildAnswer(response, self._outputs).messages()
        try:
            if self._manner.quiet:
                self._show_quietly(messages)
            else:
                self._show(messages)
        except Fault as fault:
            if self._line:
                err(f"{self._dockerfile}:{self._line}")
            raise fault

    def _show(self, messages: Iterator[Message]) -> None:
        if self._manner.live:
            from pier.cli.build_view import show_live

            show_live(messages, self._take, explain=self._manner.explain)
            return
        from pier.cli.progress import show_progress

        if self._manner.raw:
            messages = self._printed(messages)
        stream = StringIO() if self._manner.raw else self._manner.stream
        show_progress(messages, stream, on_aux=self._take)

    def _printed(self, messages: Iterator[Message]) -> Iterator[Message]:
        for message in messages:
            print(format_json(message), file=self._manner.stream, flush=True)
            yield message

    def _show_quietly(self, messages: Iterator[Message]) -> None:
        from pier.cli.progress import show_progress

        stream = StringIO()
        try:
            show_progress(messages, stream, on_aux=self._take)
        except Fault:
            sys.stderr.write(stream.getvalue())
            raise
        said = stream.getvalue().strip() or self.image_id
        if said:
            print(said, file=self._manner.stream)

    def _take(self, message: Message) -> None:
        aux = message["aux"] if isinstance(message["aux"], dict) else {}
        self.image_id = aux.get("ID") or self.image_id
        self.found = self.found or bool(aux.get("Check"))
        self._line = aux.get("Failed", {}).get("Line", self._line)
