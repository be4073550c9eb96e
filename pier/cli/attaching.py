"""Being attached to a container's process: streams, signals, the size of the terminal.

Shared by `run`, `start`, `attach` and `exec`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # `signal` without its enums: 4 ms less

from pier.cli.faults import Fault
from pier.cli.streams import Hijacked, Output
from pier.cli.terminal import (
    DEFAULT_DETACH_KEYS,
    DetachWatch,
    Raw,
    is_terminal,
    parse_detach_keys,
    size,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from pier.cli.client import Client
    from pier.cli.session import Session
    from pier.cli.transport import Response

_NOT_FORWARDED = ("CHLD", "CLD", "PIPE", "URG", "WINCH", "KILL", "STOP", "RTMIN", "RTMAX")
_FORWARDED: dict[int, str] = {
    getattr(_signal, name): name
    for name in dir(_signal)
    if name.startswith("SIG") and name[3] != "_" and name[3:] not in _NOT_FORWARDED
}


def detach_keys(session: Session, flag: str) -> str:
    """Return the detach keys in force, '' for the daemon's default."""
    return flag or session.settings.text("detachKeys")


def check_terminal(*, stdin: bool, tty: bool) -> None:
    """Raise Fault if a terminal is wanted and our input is none."""
    if stdin and tty and not is_terminal(0):
        raise Fault("the input device is not a TTY")


class Conversation:
    """An attached stream and what the user's end of it is made of."""

    def __init__(self, response: Response, *, streams: list[str], tty: bool, keys: str) -> None:
        output = Output(
            terminal=tty, stdout="stdout" in streams, stderr="stderr" in streams and not tty
        )
        stdin = "stdin" in streams
        self._raw = Raw(0 if stdin else 1) if tty else None
        watch = None
        if tty and stdin:
            watch = DetachWatch(parse_detach_keys(keys or DEFAULT_DETACH_KEYS))
        self.stream = Hijacked(response.connection, output, stdin=0 if stdin else -1, watch=watch)

    def __enter__(self) -> Conversation:
        """Make our terminal raw, so that what is typed early is not echoed here as well."""
        if self._raw:
            self._raw.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._raw:
            self._raw.__exit__(None, None, None)

    def run(self) -> bool:
        """Converse to the end; return whether the user detached."""
        self.stream.run()
        return self.stream.detached


def follow_size(client: Client, path: str) -> None:
    """Keep the terminal at `path` (`/containers/x`, `/exec/x`) as large as ours."""

    def resize(_number: int = 0, _frame: FrameType | None = None) -> None:
        height, width = size()
        if height or width:
            try:
                client.post(f"{path}/resize", {"h": height, "w": width})
            except Fault:
                return  # it has exited, or has not started yet

    _signal.signal(_signal.SIGWINCH, resize)
    resize()


class SignalProxy:
    """While the block lasts, signals we get go to the container instead."""

    def __init__(self, client: Client, container_id: str, *, enabled: bool) -> None:
        self._client = client
        self._path = f"/containers/{container_id}/kill"
        self._saved: dict[int, object] = {}
        self._enabled = enabled

    def __enter__(self) -> None:
        for number in _FORWARDED if self._enabled else ():
            try:
                self._saved[number] = _signal.signal(number, self._forward)
            except (OSError, ValueError):
                continue

    def __exit__(self, *_: object) -> None:
        for number, handler in self._saved.items():
            _signal.signal(number, handler)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        try:
            self._client.post(self._path, {"signal": _FORWARDED[number]})
        except (Fault, OSError):
            return  # it has exited: its exit code is on its way
